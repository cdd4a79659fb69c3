"""``tactful train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tactful.bundle.addresses import DEFAULT_BUNDLE
from tactful_training.commands.shared_options import SetOption, require_train_extra


def train(
    config: Annotated[
        str | None,
        typer.Argument(
            metavar="CONFIG",
            help="A configuration: a path or a name such as smoke; without it, default.yaml.",
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Where the bundle goes; an older one is replaced.")
    ] = Path(DEFAULT_BUNDLE),
    set_: SetOption = None,
) -> None:
    """Train a model on labelled replies and write it as a verified bundle.

    The run is tracked in MLflow ($MLFLOW_TRACKING_URI, else sqlite:///mlflow.db here). A run that
    was interrupted goes on where it was when the same command is given again.
    """
    require_train_extra("tactful train")
    from rich.console import Console

    from tactful_training.config.config_file import load_config

    settings = load_config(config, set_ or [])
    progress = Console(stderr=True)
    with progress.status("loading PyTorch"):  # some seconds
        from tactful_training.run_summary import print_summary
        from tactful_training.training_run import train as run

    print_summary(run(settings, out, console=progress), Console())
