"""``tactful score``: the command of a batch job."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from tactful.batch.job_spec import STANDARD, ResultOptions, RunOptions
from tactful.bundle.addresses import DEFAULT_BUNDLE
from tactful.errors import InputError
from tactful.options import BundleOption, JsonOption, takes_options


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
