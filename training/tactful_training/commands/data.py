"""``tactful data``: look after data sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from tactful.options import JsonOption
from tactful_training.extra import require_train_extra

app = typer.Typer(no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Look after data sets."""  # a callback keeps `check` a sub-command while it is the only one


@app.command()
def check(
    path: Annotated[
        Path, typer.Argument(metavar="FOLDER_OR_FILE", help="A data set, or one file of rows.")
    ],
    json_output: JsonOption = False,
) -> None:
    """Check schema, offsets, labels, duplicates and leakage between splits; count the labels.

    Exit code 1 if there is a problem (not for warnings), 2 if there is nothing to check.
    """
    require_train_extra("tactful data check")
    from rich.console import Console

    from tactful_training.data.check import check_data
    from tactful_training.data.rendering import render_report

    report = check_data(path)
    if json_output:
        typer.echo(json.dumps(report.to_dict(), ensure_ascii=False, indent=2))
    else:
        Console().print(render_report(report), soft_wrap=True)
    if not report.ok:
        raise typer.Exit(1)
