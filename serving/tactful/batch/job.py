"""A batch job from its first check to its summary."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, cast

from tactful.batch.column_types import (
    MOST_COLUMNS,
    TEXT,
    ColumnType,
    bounded_columns,
    merged,
)
from tactful.batch.csv_format import write_csv
from tactful.batch.job_files import (
    can_be_read_once,
    check_replaceable,
    described,
    find_files,
    find_targets,
    keep_stream,
)
from tactful.batch.job_parts import (
    LINE,
    PartScorer,
    Run,
    Write,
    check_columns,
    check_unchanged,
    open_reader,
    plan_parts,
)
from tactful.batch.job_progress_and_summary import JobProgress, PartReport, Summary, summarize
from tactful.batch.job_spec import STANDARD, JobSpec, Part, ResultOptions, RunOptions, Target
from tactful.batch.job_workspace import DamagedError, Workspace, was_made, writing
from tactful.batch.jsonl_format import exact_number
from tactful.batch.parquet_format import ParquetReader, stored_tables, typed_tables, write_parquet
from tactful.batch.table_formats import Format, compressing
from tactful.bundle.addresses import DEFAULT_BUNDLE
from tactful.errors import ColumnTakenError, JobError, TooManyErrorsError
from tactful.options import declared
from tactful.output.flat_rows import FlatRows, Scores
from tactful.own_words.formats import Format as ReplyFormat
from tactful.storage import SyncedFile, written_aside

if TYPE_CHECKING:
    from rich.console import Console

    from tactful.bundle.loading import Bundle
    from tactful.classifier import Classifier


def score(
    input: str | Path,
    output: str | Path,
    bundle: str | Path = DEFAULT_BUNDLE,
    *,
    reply_column: str = ResultOptions.reply_column,
    context_column: str = ResultOptions.context_column,
    format: ReplyFormat = ResultOptions.format,
    notes: bool = ResultOptions.notes,
    scores: Scores = ResultOptions.scores,
    prefix: str = ResultOptions.prefix,
    csv_escape: bool = ResultOptions.csv_escape,
    part_rows: int = ResultOptions.part_rows,
    delimiter: str | None = ResultOptions.delimiter,
    input_format: Format | None = RunOptions.input_format,
    output_format: Format | None = RunOptions.output_format,
    max_errors: int | None = RunOptions.max_errors,
    overwrite: bool = RunOptions.overwrite,
    engine: Literal["local", "ray"] = RunOptions.engine,
    ray_address: str | None = RunOptions.ray_address,
    ray_actors: int | None = RunOptions.ray_actors,
    console: Console | None = None,
) -> Summary:
    """Label every row of a table and write the table with what was added.

    A row that cannot be read gets an ``error``; the job goes on. A job that was interrupted goes
    on after its last committed part when it is called again with the same arguments.

    Args:
        input: a JSONL, CSV or Parquet file, a folder or glob of such files, or ``-`` for stdin.
        output: a file, a folder (one file for each input file), or ``-`` for stdout.
        bundle: a bundle's folder, archive or address.
        reply_column: this and the following are the options of ``tactful score``, where
            `ResultOptions` and `RunOptions` say what they are for.
        console: where progress goes; None shows none.

    Raises:
        JobError: input or output cannot be used, or OUTPUT belongs to another job.
        TooManyErrorsError: ``max_errors`` was passed; what was committed is kept.
        BundleError: the bundle cannot be used.
        MissingExtraError: a format or the engine needs an extra.
    """
    given = locals()
    results = ResultOptions(**{one.name: given[one.name] for one in declared(ResultOptions)})
    running = RunOptions(**{one.name: given[one.name] for one in declared(RunOptions)})
    if running.engine == "ray":
        from tactful.batch.ray_engine import require_ray

        require_ray()
    given_input, given_output = str(input), str(output)
    path = Path(given_output)
    once = can_be_read_once(given_input)
    files = [] if once else find_files(given_input, input_format, path)
    many = not once and not Path(given_input).is_file()
    find_targets(given_output, files, output_format, many=many)  # before anything is made
    from tactful.classifier import Classifier  # brings onnxruntime: not before it is needed

    with contextlib.ExitStack() as stack:
        if given_output == STANDARD:
            path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "stdout"
        workspace = stack.enter_context(Workspace(path))
        progress = stack.enter_context(JobProgress(console))
        if once:
            progress.say("reading standard input" if given_input == STANDARD else "reading a pipe")
            with writing(workspace.folder):
                files = [keep_stream(given_input, workspace.stream, input_format, reply_column)]
        if not was_made(path):
            check_replaceable(path, set(), overwrite=overwrite)
        targets = find_targets(given_output, files, output_format, many=many)
        progress.say(f"loading {bundle}")
        classifier = Classifier.load(bundle)
        progress.say("reading the input's digest")
        spec = JobSpec(described(files), targets, results, classifier.bundle.digest)
        if running.engine == "ray":
            from tactful.batch.ray_engine import scored_by_ray

            run: Run = partial(
                scored_by_ray, spec, classifier.bundle, address=ray_address, actors=ray_actors
            )
        else:
            run = partial(_scored_here, spec, classifier)
        summary = _Job(spec, classifier.bundle, workspace, progress, path, running).run(run)
        if given_output == STANDARD:
            with path.open("rb") as made:
                shutil.copyfileobj(made, sys.stdout.buffer)
    return replace(summary, output=given_output)


def _scored_here(
    spec: JobSpec, classifier: Classifier, parts: Iterable[Part]
) -> Iterator[tuple[Part, Write]]:
    """The engine ``local``: one part after the other in this process."""
    scorer = PartScorer(spec, classifier)
    with contextlib.closing(scorer):
        for part in parts:
            yield part, partial(scorer.score, part)


class _TooManyColumnsError(JobError):
    pass


@dataclass(frozen=True)
class _Job:
    """Commits the parts of one job in order, then puts OUTPUT in its place."""

    spec: JobSpec
    bundle: Bundle
    workspace: Workspace
    progress: JobProgress
    output: Path
    running: RunOptions

    @cached_property
    def flat(self) -> FlatRows:
        """The columns that are added."""
        options = self.spec.options
        tasks = self.bundle.heads.tasks
        return FlatRows(
            tasks,
            self.bundle.id,
            scores=options.scores,
            prefix=options.prefix,
            notes=options.notes,
        )

    def run(self, engine: Run) -> Summary:
        """Do what is left of the job.

        Args:
            engine: scores the parts.

        Raises:
            JobError: it cannot start or go on.
            TooManyErrorsError: too many rows failed.
        """
        workspace, fingerprint = self.workspace, self.spec.fingerprint()
        summary = partial(summarize, bundle=self.bundle)
        done = workspace.finished(fingerprint)
        if done is not None:
            return summary(done, already_done=True)
        self._check_replaceable()
        check_columns(self.spec, self.flat)
        workspace.begin(fingerprint, overwrite=self.running.overwrite)
        before = workspace.report.rows
        self.progress.start(self.spec.sources, workspace.last, before)
        try:
            self._check_limits()
            for part, write in engine(plan_parts(self.spec, workspace.last)):
                workspace.commit(part, partial(self._write_unchanged, part, write))
                self.progress.advance(part)
                self._check_limits()
            for source in self.spec.sources:
                check_unchanged(source)
            seconds = self.progress.seconds
            self.progress.say("putting the parts together")
            self._make(fingerprint)
        except (ColumnTakenError, _TooManyColumnsError):
            workspace.forget()  # the same command would always end here
            raise
        except DamagedError:
            raise
        except JobError as error:
            if workspace.last is not None:
                rows = f"{workspace.report.rows:,}"
                kept = f"{rows} rows are done and kept; the same command goes on after them"
                error.args = (f"{error}\n{kept}",)
            raise
        return summary(workspace.report, resumed_rows=before, seconds=seconds)

    def _check_replaceable(self) -> None:
        made = self.workspace.made_files()
        check_replaceable(self.output, made, overwrite=self.running.overwrite)

    def _write_unchanged(self, part: Part, write: Write, sink: BinaryIO) -> PartReport:
        report = write(sink)
        check_unchanged(self.spec.sources[part.source])  # or else the rows may be of neither
        return report

    def _check_limits(self) -> None:
        if len(self.workspace.report.columns) > MOST_COLUMNS:
            for target in self.spec.targets:
                if len(self._input_columns(target)) > MOST_COLUMNS:
                    raise _TooManyColumnsError(
                        f"the rows have more than {MOST_COLUMNS:,} different keys, each of which "
                        f"is a column of {target.kind.format}; name a .jsonl OUTPUT, which has no "
                        "columns, or put them under one key: its value is then JSON text"
                    )
        failed, allowed = self.workspace.report.errors.total(), self.running.max_errors
        if allowed is not None and failed > allowed:
            causes = ", ".join(
                f"{cause} {count:,}" for cause, count in self.workspace.report.errors.most_common()
            )
            raise TooManyErrorsError(
                f"stopped: {failed:,} rows failed ({causes}), --max-errors allows {allowed:,}"
            )

    def _make(self, fingerprint: Mapping[str, Any]) -> None:
        """Write OUTPUT aside, then put it in its place; the same parts give the same bytes."""
        made = self.workspace.made
        files = {}
        for target in self.spec.targets:
            path = made / target.name if target.name else made
            with writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                files[target.name] = self._written(target, path)
        self._check_replaceable()
        self.workspace.finish(fingerprint, files)

    def _written(self, target: Target, path: Path) -> SyncedFile:
        options = self.spec.options
        with written_aside(path) as file:
            sink = cast(BinaryIO, file)
            if target.kind.format == "parquet":
                metadata = {
                    b"tactful.bundle": self.bundle.id.encode(),
                    b"tactful.bundle_digest": self.spec.digest.encode(),
                }
                write_parquet(sink, self._tables(target), metadata)
            elif target.kind.format == "csv":
                lists = (task.name for task in self.bundle.heads.tasks if task.kind == "multilabel")
                with compressing(sink, target.kind.compression) as stream:
                    write_csv(
                        stream,
                        [*self._input_columns(target), *self.flat.columns],
                        self._rows(target),
                        joined={options.prefix + name for name in lists},
                        escape=options.csv_escape,
                    )
            else:
                for part in self._parts(target):
                    for chunk in part:
                        sink.write(chunk)
        return file

    def _parts(self, target: Target) -> Iterator[Iterator[bytes]]:
        """The contents of the parts of a file, in pieces."""
        for entry in self.workspace.entries():
            if entry.part.source in target.sources:
                yield self.workspace.content(entry)

    def _rows(self, target: Target) -> Iterator[dict[str, Any]]:
        for part in self._parts(target):
            rest = b""
            for chunk in part:
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    yield json.loads(line, parse_float=exact_number)

    def _input_columns(self, target: Target) -> dict[str, ColumnType]:
        """The input columns of a file whose parts are JSON lines."""
        report = PartReport()
        for entry in self.workspace.entries():
            if entry.part.source in target.sources:
                report.add(entry.report)
        columns = report.columns
        source = self.spec.sources[target.sources[0]]
        if source.kind.format != "jsonl":
            with contextlib.closing(open_reader(source, self.spec.options)) as reader:
                columns = dict.fromkeys(reader.columns or (), TEXT)
        if report.lines:
            line = self.spec.options.prefix + LINE
            columns = {**columns, line: merged(columns.get(line, TEXT), TEXT)}
        return columns

    def _tables(self, target: Target) -> Iterator[Any]:
        source = target.sources[0]
        if self.spec.part_format(source) == "parquet":
            reader = open_reader(self.spec.sources[source], self.spec.options)
            with contextlib.closing(cast(ParquetReader, reader)) as file:
                schema = file.schema
            parts = map(b"".join, self._parts(target))
            return stored_tables(schema, self.flat, self.bundle.heads.tasks, parts)
        return typed_tables(
            bounded_columns(self._input_columns(target)),
            self.flat,
            self.bundle.heads.tasks,
            self._rows(target),
            self.spec.options.part_rows,
        )
