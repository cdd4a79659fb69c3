"""``tactful score``: everything that can be set about a batch job, and its command."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Annotated, Literal

import typer

from tactful.batch.table_formats import Format
from tactful.bundle.addresses import DEFAULT_BUNDLE
from tactful.csv_dialect import parse_delimiter
from tactful.errors import InputError, JobError
from tactful.options import (
    DELIMITER_HELP,
    BundleOption,
    JsonOption,
    check_options,
    option,
    takes_options,
)
from tactful.output.flat_rows import Scores

STANDARD = "-"
DEFAULT_CONTEXT = "context"


@dataclass(frozen=True)
class ResultOptions:
    """What the rows of OUTPUT depend on: a job goes on with the same ones only.

    Raises:
        JobError: names the value that is not allowed.
    """

    reply_column: str = option("reply", "The column (JSON key) of the reply.")
    context_column: str = option(
        DEFAULT_CONTEXT,
        "The column of what the customer said; it may be missing unless another one is named.",
    )
    scores: Scores = option(
        "all", "Which score columns are filled: none, those of decided labels, or all."
    )
    prefix: str = option("", "Put before the names of the added columns.")
    csv_escape: bool = option(
        True, "Put ' before CSV cells that a spreadsheet would run as a formula."
    )
    part_rows: int = option(1000, "Rows of a part: what is committed at once.", least=1)
    delimiter: str | None = option(None, DELIMITER_HELP, metavar="CHARACTER")

    def __post_init__(self) -> None:
        check_options(self, JobError)
        if self.delimiter is not None:
            try:
                object.__setattr__(self, "delimiter", parse_delimiter(self.delimiter))
            except ValueError as error:
                raise JobError(str(error)) from error


@dataclass(frozen=True)
class RunOptions:
    """How a job is run; its rows are the same with all of them.

    Raises:
        JobError: names the value that is not allowed.
    """

    input_format: Format | None = option(
        None, "jsonl, csv or parquet, where INPUT's name does not say it; stdin is JSONL otherwise."
    )
    output_format: Format | None = option(
        None, "The same for OUTPUT; stdout is JSONL otherwise, a folder has the formats of INPUT."
    )
    max_errors: int | None = option(None, "Stop when more rows than this have failed.", least=0)
    overwrite: bool = option(
        False, "Replace OUTPUT, and drop what another job began there or what was damaged."
    )
    engine: Literal["local", "ray"] = option("local", "local, or ray for Ray Data (extra ray).")
    ray_address: str | None = option(
        None, "The Ray cluster to join; by default one is started on this machine."
    )
    ray_actors: int | None = option(
        None, "Classifiers that Ray keeps; by default as many as it sees fit.", least=1
    )

    def __post_init__(self) -> None:
        check_options(self, JobError)


@takes_options
def score(
    input_: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="JSONL, CSV or Parquet (.gz, .zst), a pipe, a folder or glob, or - for stdin.",
        ),
    ],
    output: Annotated[
        str,
        typer.Argument(
            metavar="OUTPUT",
            help="A file for all rows, a folder (ending in /) for one file each, or - for stdout.",
        ),
    ],
    *,
    bundle: BundleOption = DEFAULT_BUNDLE,
    results: ResultOptions,
    running: RunOptions,
    json_output: JsonOption = False,
) -> None:
    """Label every row of a table; a job that was killed goes on with the same command."""
    from rich.console import Console

    from tactful import batch
    from tactful.batch.job_progress_and_summary import render_summary

    if json_output and output == STANDARD:
        raise InputError(
            "output_twice", "--json and OUTPUT - would both write to stdout; leave one out"
        )
    log = Console(stderr=True)
    summary = batch.score(input_, output, bundle, **asdict(results), **asdict(running), console=log)
    if json_output:
        typer.echo(json.dumps(summary.to_dict(), ensure_ascii=False))
    else:
        (log if output == STANDARD else Console()).print(
            render_summary(summary), highlight=False, soft_wrap=True
        )
    if summary.failed and not summary.already_done:
        raise typer.Exit(1)
