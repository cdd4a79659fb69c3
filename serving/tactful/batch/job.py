"""A batch job from its first check to its summary."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from tactful.batch.durable import writing
from tactful.batch.errors import JobError
from tactful.batch.formats import FORMATS, Format
from tactful.batch.inputs import STANDARD, described, find_files, keep_standard_input
from tactful.batch.outputs import check_replaceable, find_targets
from tactful.batch.progress import JobProgress
from tactful.batch.running import Job, Run, scored_here
from tactful.batch.spec import DEFAULT_CONTEXT, JobSpec, Options
from tactful.batch.summary import Summary
from tactful.batch.workspace import Workspace
from tactful.options import DEFAULT_BUNDLE
from tactful.output.flat_rows import SCORES, Scores

if TYPE_CHECKING:
    from rich.console import Console

Engine = Literal["local", "ray"]
ENGINES: tuple[Engine, ...] = get_args(Engine)


def score(
    input: str | Path,
    output: str | Path,
    bundle: str | Path = DEFAULT_BUNDLE,
    *,
    reply_column: str = "reply",
    context_column: str = DEFAULT_CONTEXT,
    scores: Scores = "all",
    prefix: str = "",
    input_format: Format | None = None,
    output_format: Format | None = None,
    csv_escape: bool = True,
    part_rows: int = 1000,
    max_errors: int | None = None,
    overwrite: bool = False,
    engine: Engine = "local",
    ray_address: str | None = None,
    ray_actors: int | None = None,
    console: Console | None = None,
) -> Summary:
    """Label every row of a table and write the table with what was added.

    A row that cannot be read gets an ``error``; the job goes on. A job that was interrupted goes
    on after its last committed part when it is called again with the same arguments.

    Args:
        input: a JSONL, CSV or Parquet file, a folder or glob of such files, or ``-`` for stdin.
        output: a file, a folder (one file for each input file), or ``-`` for stdout.
        bundle: a bundle's folder or archive.
        reply_column: the column of the reply.
        context_column: the column of the context; it may be missing unless another is named.
        scores: which score columns are filled: ``none``, ``decided`` or ``all``.
        prefix: put before the names of the added columns.
        input_format: where INPUT's name does not say it; stdin is JSONL otherwise.
        output_format: where OUTPUT's name does not say it; stdout is JSONL otherwise.
        csv_escape: whether CSV cells that a spreadsheet would run get a leading ``'``.
        part_rows: rows of a part, the unit of commits.
        max_errors: stop when more rows than this have failed.
        overwrite: replace OUTPUT, and drop what another job began there.
        engine: ``local``, or ``ray`` for Ray Data.
        ray_address: the Ray cluster to join; by default one is started on this machine.
        ray_actors: how many classifiers Ray keeps; by default one a processor.
        console: where progress goes; None shows none.

    Raises:
        JobError: input or output cannot be used, or OUTPUT belongs to another job.
        TooManyErrorsError: ``max_errors`` was passed; what was committed is kept.
        BundleError: the bundle cannot be used.
        MissingExtraError: a format or the engine needs an extra.
    """
    _check_choice("scores", scores, SCORES)
    _check_choice("engine", engine, ENGINES)
    for name, given in (("input_format", input_format), ("output_format", output_format)):
        if given is not None:
            _check_choice(name, given, FORMATS)
    if part_rows < 1:
        raise JobError(f"part_rows is {part_rows}; at least 1")
    if max_errors is not None and max_errors < 0:
        raise JobError(f"max_errors is {max_errors}; at least 0")
    if engine == "ray":
        from tactful.batch.ray_engine import require_ray

        require_ray()
    options = Options(reply_column, context_column, scores, prefix, csv_escape, part_rows)
    given_input, given_output = str(input), str(output)
    files = [] if given_input == STANDARD else find_files(given_input, input_format)
    many = given_input != STANDARD and not Path(given_input).is_file()
    from tactful.classifier import Classifier  # brings onnxruntime: not before it is needed

    with contextlib.ExitStack() as stack:
        path = Path(given_output)
        if given_output == STANDARD:
            path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "stdout"
        elif files:
            find_targets(given_output, files, output_format, many=many)  # before anything is made
        workspace = stack.enter_context(Workspace(path))
        progress = stack.enter_context(JobProgress(console))
        if given_input == STANDARD:
            progress.say("reading standard input")
            with writing(workspace.folder):
                files = [keep_standard_input(workspace.stdin, input_format)]
        if not workspace.has_record:
            check_replaceable(path, set(), overwrite=overwrite)
        targets = find_targets(given_output, files, output_format, many=many)
        progress.say(f"loading {bundle}")
        classifier = Classifier.load(bundle)
        progress.say("reading the input's digest")
        digest = classifier.bundle.manifest["digest"]
        spec = JobSpec(described(files), targets, options, str(Path(bundle).resolve()), digest)
        if engine == "ray":
            from tactful.batch.ray_engine import scored_by_ray

            run: Run = partial(scored_by_ray, spec, address=ray_address, actors=ray_actors)
        else:
            run = partial(scored_here, spec, classifier)
        summary = Job(spec, classifier, workspace, progress, path).run(
            run, max_errors=max_errors, overwrite=overwrite
        )
        if given_output == STANDARD:
            with path.open("rb") as made:
                shutil.copyfileobj(made, sys.stdout.buffer)
    return replace(summary, output=given_output)


def _check_choice(name: str, given: str, allowed: Sequence[str]) -> None:
    if given not in allowed:
        raise JobError(f"{name} is {given!r}; allowed: {', '.join(allowed)}")
