"""``tactful data``: look after data sets."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from tactful.options import DelimiterOption, JsonOption
from tactful_training.commands.shared_options import SetOption, require_train_extra, show

app = typer.Typer(no_args_is_help=True, help="Look after data sets.")


@app.command()
def check(
    path: Annotated[
        Path, typer.Argument(metavar="FOLDER_OR_FILE", help="A data set, or one file of rows.")
    ],
    config: Annotated[
        str | None,
        typer.Option(
            metavar="CONFIG",
            help="A config whose data.allow_missing_tasks names tasks that files may lack.",
        ),
    ] = None,
    delimiter: DelimiterOption = None,
    json_output: JsonOption = False,
) -> None:
    """Check schema, offsets, labels, duplicates and leakage between splits; count the labels.

    Exit code 1 if there is a problem (not for warnings), 2 if there is nothing to check.
    """
    require_train_extra("tactful data check")
    from tactful_training.config.config_file import load_config
    from tactful_training.data.data_check import check_data, render_report

    allowed = () if config is None else load_config(config).data.allow_missing_tasks
    report = check_data(path, delimiter=delimiter, allowed=allowed)
    show(json_output, report.to_dict, lambda: render_report(report), soft_wrap=True)
    if not report.ok:
        raise typer.Exit(1)


@app.command()
def prepare(
    name: Annotated[
        str, typer.Argument(metavar="SET", help="A public set: goemotions, esconv or epitome.")
    ],
    source: Annotated[
        str,
        typer.Option(
            metavar="PATH_OR_HUB_ID",
            help="The folder of its original files, or what its card calls it on the hub.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where it goes; without it, data_cards/SET here."),
    ] = None,
    fold: Annotated[
        int | None,
        typer.Option(
            help="Which fold of a set without an official split (epitome: 1 to 5; default 1)."
        ),
    ] = None,
    accept_differences: Annotated[
        bool,
        typer.Option(
            "--accept-differences",
            help="Go on where digests or counts are not those that the card states.",
        ),
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Turn the original files of a public set into rows, after checking them against its card.

    From a folder nothing is downloaded. A refused run, or one that is stopped by Ctrl-C or SIGTERM,
    leaves nothing behind; what one leaves that is killed (SIGKILL), hidden beside FOLDER, the next
    run removes.
    """
    require_train_extra("tactful data prepare")
    from tactful_training.data.public.prepare import prepare as run
    from tactful_training.data.public.prepare import render_prepared

    with _terminated_like_interrupted():
        prepared = run(name, source, out, fold=fold, accept_differences=accept_differences)
    show(json_output, prepared.to_dict, lambda: render_prepared(prepared), soft_wrap=True)


@app.command()
def croissant(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A data set, its splits JSONL.")],
) -> None:
    """Write croissant.json, what machines read of the set, beside its card (extra croissant)."""
    require_train_extra("tactful data croissant")
    from tactful_training.data.croissant import write_croissant

    typer.echo(f"wrote {write_croissant(folder)}")


@app.command()
def soften(
    out: Annotated[
        Path, typer.Argument(metavar="OUT.jsonl[.gz]", help="Where the soft labels go.")
    ],
    teacher: Annotated[
        list[str],
        typer.Option(
            metavar="RUN_VERSION_OR_FOLDER",
            help="runs:/ID, models:/NAME@ALIAS or a folder `weights`; of several the mean counts.",
        ),
    ],
    config: Annotated[
        str | None,
        typer.Option(metavar="CONFIG", help="Names the data and how long texts are read."),
    ] = None,
    set_: SetOption = None,
    json_output: JsonOption = False,
) -> None:
    """Write down what trained models say of the training split, for `distill.soft_labels`.

    The same models and rows give the same bytes on one machine.
    """
    require_train_extra("tactful data soften")
    from tactful_training.config.config_file import load_config
    from tactful_training.fitting.softening import soften as run

    with _terminated_like_interrupted():
        softened = run(load_config(config, set_ or ()), teacher, out)
    show(json_output, softened.to_dict, lambda: str(softened), soft_wrap=True)


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Have SIGTERM unwind as Ctrl-C does, so that what is half written is removed."""
    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield  # somebody else decides what it does
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
