"""``tactful sweep``: search for better settings."""

from __future__ import annotations

from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from tactful.errors import MissingExtraError
from tactful.options import JsonOption
from tactful_training.commands.shared_options import SetOption, require_train_extra, show


def sweep(
    config: Annotated[
        str, typer.Argument(metavar="CONFIG", help="A configuration with a sweep.space.")
    ],
    trials: Annotated[
        int | None, typer.Option(min=1, help="Trainings in all; without it, the config's.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where the best settings go; CONFIG-best.yaml."),
    ] = None,
    set_: SetOption = None,
    json_output: JsonOption = False,
) -> None:
    """Search the space of a config for the best validation score, as nested MLflow runs.

    The study is kept in sweeps.db here; the same command goes on with an interrupted one. The best
    settings are written as a config that extends CONFIG.
    """
    require_train_extra("tactful sweep")
    if find_spec("optuna") is None:
        raise MissingExtraError("tactful sweep", "sweep")
    from rich.console import Console

    progress = Console(stderr=True)
    with progress.status("loading PyTorch"):
        from tactful_training.sweep_study import sweep as run

    found = run(config, set_ or [], trials=trials, out=out, console=progress)
    show(json_output, lambda: asdict(found) | {"out": str(found.out)}, lambda: str(found))
