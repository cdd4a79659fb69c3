"""Runs a job whose parts are known: commits them in order, then puts OUTPUT in its place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from tactful.batch.assembly import Assembler
from tactful.batch.durable import writing
from tactful.batch.errors import ColumnTakenError, JobError, TooManyErrorsError
from tactful.batch.layout import check_columns
from tactful.batch.outputs import check_replaceable
from tactful.batch.parts import Part
from tactful.batch.progress import JobProgress
from tactful.batch.readers import check_unchanged, plan_parts
from tactful.batch.report import PartReport
from tactful.batch.scorer import PartScorer
from tactful.batch.spec import JobSpec
from tactful.batch.summary import Summary, summarize
from tactful.batch.workspace import Workspace

if TYPE_CHECKING:
    from tactful.classifier import Classifier

Write = Callable[[BinaryIO], PartReport]
"""Writes the content of a part and says what became of its rows."""

Run = Callable[[Iterable[Part]], Iterator[tuple[Part, Write]]]
"""An engine: takes parts as it needs them, gives them back in the same order."""


def scored_here(
    spec: JobSpec, classifier: Classifier, parts: Iterable[Part]
) -> Iterator[tuple[Part, Write]]:
    """The engine ``local``: one part after the other in this process."""
    scorer = PartScorer(spec, classifier)
    try:
        for part in parts:
            yield part, partial(scorer.score, part)
    finally:
        scorer.close()


class Job:
    """One job.

    Args:
        spec: what it is.
        classifier: its bundle.
        workspace: where it keeps its parts.
        progress: who is told how far it is.
        output: the file or folder to make.
    """

    def __init__(
        self,
        spec: JobSpec,
        classifier: Classifier,
        workspace: Workspace,
        progress: JobProgress,
        output: Path,
    ) -> None:
        self._spec, self._workspace = spec, workspace
        self._progress, self._output = progress, output
        self._bundle, self._tasks = classifier.bundle.id, classifier.bundle.heads.tasks

    def run(self, engine: Run, *, max_errors: int | None, overwrite: bool) -> Summary:
        """Do what is left of the job.

        Args:
            engine: scores the parts.
            max_errors: stop when more rows than this have failed.
            overwrite: replace OUTPUT, and drop what another job began there.

        Raises:
            JobError: it cannot start or go on.
            TooManyErrorsError: too many rows failed.
        """
        workspace, fingerprint = self._workspace, self._spec.fingerprint()
        done = workspace.finished(fingerprint)
        if done is not None:
            return summarize(done, self._tasks, output="", bundle=self._bundle, already_done=True)
        check_replaceable(self._output, workspace.made_files(), overwrite=overwrite)
        check_columns(self._spec, self._tasks)
        workspace.begin(fingerprint, overwrite=overwrite)
        before = workspace.report.rows
        self._progress.start(self._spec.sources, workspace.last, before)
        try:
            self._check_errors(max_errors)
            for part, write in engine(plan_parts(self._spec, workspace.last)):
                workspace.commit(part, partial(self._write_unchanged, part, write))
                self._progress.advance(part)
                self._check_errors(max_errors)
            for source in self._spec.sources:
                check_unchanged(source)
            seconds = self._progress.seconds
            self._progress.say("putting the parts together")
            self._make(fingerprint, overwrite=overwrite)
        except ColumnTakenError:
            workspace.forget()  # the same command would always end here
            raise
        except JobError as error:
            if workspace.last is not None:
                rows = f"{workspace.report.rows:,}"
                kept = f"{rows} rows are done and kept; the same command goes on after them"
                error.args = (f"{error}\n{kept}",)
            raise
        return summarize(
            workspace.report, self._tasks, output="", bundle=self._bundle,
            resumed_rows=before, seconds=seconds,
        )  # fmt: skip

    def _write_unchanged(self, part: Part, write: Write, sink: BinaryIO) -> PartReport:
        report = write(sink)
        check_unchanged(self._spec.sources[part.source])  # or else the rows may be of neither
        return report

    def _check_errors(self, allowed: int | None) -> None:
        failed = self._workspace.report.errors.total()
        if allowed is not None and failed > allowed:
            causes = ", ".join(
                f"{cause} {count:,}" for cause, count in self._workspace.report.errors.most_common()
            )
            raise TooManyErrorsError(
                f"stopped: {failed:,} rows failed ({causes}), --max-errors allows {allowed:,}"
            )

    def _make(self, fingerprint: dict[str, object], *, overwrite: bool) -> None:
        """Write OUTPUT aside, then put it in its place."""
        workspace, made = self._workspace, self._workspace.made
        assembler = Assembler(self._spec, workspace, self._tasks, self._bundle)
        files = {}
        for target in self._spec.targets:
            path = made / target.name if target.name else made
            with writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
            files[target.name] = assembler.write(target, path)
        check_replaceable(self._output, workspace.made_files(), overwrite=overwrite)
        workspace.finish(fingerprint, files)
