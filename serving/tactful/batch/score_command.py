"""``tactful score``: a batch job from the command line."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from tactful.errors import InputError
from tactful.options import DEFAULT_BUNDLE, BundleOption, JsonOption


def score(
    input_: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="JSONL, CSV or Parquet (.gz, .zst), a folder or glob of files, or - for stdin.",
        ),
    ],
    output: Annotated[
        str,
        typer.Argument(
            help="A file for all rows, a folder (ending in /) for one file each, or - for stdout."
        ),
    ],
    bundle: BundleOption = DEFAULT_BUNDLE,
    reply_column: Annotated[str, typer.Option(help="The column of the reply.")] = "reply",
    context_column: Annotated[
        str, typer.Option(help="The column of what the customer said; may be missing.")
    ] = "context",
    scores: Annotated[
        str, typer.Option(help="Which score columns are filled: none, decided or all.")
    ] = "all",
    prefix: Annotated[str, typer.Option(help="Put before the names of added columns.")] = "",
    input_format: Annotated[
        str | None,
        typer.Option(help="jsonl, csv or parquet, where INPUT's name does not say it."),
    ] = None,
    output_format: Annotated[
        str | None,
        typer.Option(help="jsonl, csv or parquet, where OUTPUT's name does not say it."),
    ] = None,
    csv_escape: Annotated[
        bool,
        typer.Option(
            "--csv-escape/--no-csv-escape",
            help="Put ' before CSV cells that a spreadsheet would run as a formula.",
        ),
    ] = True,
    part_rows: Annotated[
        int, typer.Option(min=1, help="Rows of a part: what is committed at once.")
    ] = 1000,
    max_errors: Annotated[
        int | None, typer.Option(min=0, help="Stop when more rows than this have failed.")
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace OUTPUT, and drop what another job began there."),
    ] = False,
    engine: Annotated[str, typer.Option(help="local, or ray for Ray Data (extra ray).")] = "local",
    ray_address: Annotated[
        str | None, typer.Option(help="The Ray cluster to join; by default one is started here.")
    ] = None,
    ray_actors: Annotated[
        int | None,
        typer.Option(min=1, help="Classifiers that Ray keeps; by default one a processor."),
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Label every row of a table; a job that was killed goes on with the same command."""
    from rich.console import Console

    from tactful import batch
    from tactful.batch.inputs import STANDARD
    from tactful.batch.summary import render_summary

    if json_output and output == STANDARD:
        raise InputError(
            "output_twice", "--json and OUTPUT - would both write to stdout; leave one out"
        )
    log = Console(stderr=True)
    summary = batch.score(
        input_,
        output,
        bundle,
        reply_column=reply_column,
        context_column=context_column,
        scores=scores,  # type: ignore[arg-type]  # these are checked there
        prefix=prefix,
        input_format=input_format,  # type: ignore[arg-type]
        output_format=output_format,  # type: ignore[arg-type]
        csv_escape=csv_escape,
        part_rows=part_rows,
        max_errors=max_errors,
        overwrite=overwrite,
        engine=engine,  # type: ignore[arg-type]
        ray_address=ray_address,
        ray_actors=ray_actors,
        console=log,
    )
    if json_output:
        typer.echo(json.dumps(summary.to_dict(), ensure_ascii=False))
    else:
        (log if output == STANDARD else Console()).print(
            render_summary(summary), highlight=False, soft_wrap=True
        )
    if summary.failed and not summary.already_done:
        raise typer.Exit(1)
