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
from tactful_training.commands.annotate import agreement, export, import_, init, merge
from tactful_training.commands.shared_options import SetOption, require_train_extra, show

app = typer.Typer(no_args_is_help=True, help="Look after data sets.")
app.command()(init)
app.command("import")(import_)
app.command()(export)
app.command()(agreement)
app.command()(merge)


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
    html: Annotated[
        Path | None,
        typer.Option(metavar="OUT.html", help="Write the report as a page, with charts, too."),
    ] = None,
    doubtful: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT.csv",
            help="Write the rows with findings (.csv or .jsonl), to be edited and merged back.",
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 for warnings too, not only for problems.")
    ] = False,
    delimiter: DelimiterOption = None,
    json_output: JsonOption = False,
) -> None:
    """Check rows, labels and texts, duplicates and leakage between splits; count the labels.

    Exit code 1 if there is a problem (not for warnings), 2 if there is nothing to check.
    """
    require_train_extra("tactful data check", "data")
    from tactful_training.config.config_file import load_config
    from tactful_training.data.check_page import check_page_path, write_check_page
    from tactful_training.data.data_check import check_data, render_report, write_doubtful_rows
    from tactful_training.data.row_records import check_table_path

    if html is not None:
        check_page_path(html)
    if doubtful is not None:
        check_table_path(doubtful)
    allowed = () if config is None else load_config(config).data.allow_missing_tasks
    report = check_data(path, delimiter=delimiter, allowed=allowed)
    if html is not None:
        write_check_page(report, html)
    if doubtful is not None:
        write_doubtful_rows(report, doubtful)
    show(json_output, report.to_dict, lambda: render_report(report), soft_wrap=True)
    if not report.ok or (strict and report.findings):
        raise typer.Exit(1)


def _shares(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}: give three numbers such as 0.8,0.1,0.1") from error


@app.command()
def split(
    rows: Annotated[
        Path, typer.Argument(metavar="ROWS", help="A .jsonl, .csv or .parquet file of rows.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="The data set they go to; without it, the folder of ROWS."
        ),
    ] = None,
    shares: Annotated[
        str, typer.Option(help="Shares of train, validation and test.")
    ] = "0.8,0.1,0.1",
    seed: Annotated[int, typer.Option(help="Of what nothing else decides.")] = 13,
    delimiter: DelimiterOption = None,
    json_output: JsonOption = False,
) -> None:
    """Share rows out among train, validation and test: by group, with all labels in each.

    A row that the data set holds never changes its split; new rows of its group join it. A column
    named split is followed.
    """
    require_train_extra("tactful data split")
    from tactful_training.data.splitting import render_splitting, split_data

    done = split_data(rows, out, shares=_shares(shares), seed=seed, delimiter=delimiter)
    show(json_output, done.to_dict, lambda: render_splitting(done), soft_wrap=True)


@app.command()
def errors(
    path: Annotated[
        str, typer.Argument(metavar="FOLDER_OR_FILE", help="A data set, or one file of rows.")
    ],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="The doubtful rows, worst first: .csv or .jsonl.")
    ],
    split_: Annotated[
        list[str] | None,
        typer.Option("--split", help="Only this split (may be repeated); without it, all."),
    ] = None,
    share: Annotated[float, typer.Option(help="Of all labels, how many are told.")] = 0.05,
    folds: Annotated[int, typer.Option(help="Folds of the cross-validation.")] = 5,
    seed: Annotated[int, typer.Option(help="Of the folds.")] = 13,
    bundle: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="A bundle whose scores are asked for too."),
    ] = None,
    delimiter: DelimiterOption = None,
    json_output: JsonOption = False,
) -> None:
    """Rank labels by how wrong they look, by models that never saw the row.

    Correct the rows in OUT and merge it. With --json, each doubted label by itself.
    """
    require_train_extra("tactful data errors", "data")
    from rich.console import Console
    from rich.progress import track

    from tactful_training.data.row_records import check_table_path
    from tactful_training.triage.label_errors import (
        find_label_errors,
        render_label_errors,
        write_label_errors,
    )

    check_table_path(out)
    progress = Console(stderr=True)
    found = find_label_errors(
        path,
        splits=split_ or (),
        share=share,
        folds=folds,
        seed=seed,
        bundle=bundle,
        delimiter=delimiter,
        follow=lambda parts, count: track(
            parts, "Cross-validation", count, console=progress, transient=True
        ),
    )
    write_label_errors(found, out)
    show(json_output, found.to_dict, lambda: render_label_errors(found, out), soft_wrap=True)


@app.command("next")
def choose(
    pool: Annotated[
        Path,
        typer.Argument(metavar="REPLIES", help="Unlabelled replies: .jsonl, .csv or .parquet."),
    ],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="The replies to label next: .csv or .jsonl.")
    ],
    data: Annotated[
        str, typer.Option(metavar="FOLDER", help="The data set that they are to join.")
    ],
    count: Annotated[int, typer.Option(help="How many to choose.")] = 50,
    seed: Annotated[int, typer.Option(help="Of what nothing else decides.")] = 13,
    bundle: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="A bundle that suggests labels and evidence; without it, light heads do.",
        ),
    ] = None,
    delimiter: DelimiterOption = None,
    json_output: JsonOption = False,
) -> None:
    """Choose what to label next: unsure, unlike each other, likely to have rare labels.

    OUT holds each reply with the labels that a model suggests, marked as suggested.
    """
    require_train_extra("tactful data next", "data")
    from tactful_training.data.row_records import check_table_path
    from tactful_training.triage.next_replies import choose_next, render_next, write_next

    check_table_path(out)
    batch = choose_next(pool, data, count=count, seed=seed, bundle=bundle, delimiter=delimiter)
    write_next(batch, out)
    show(json_output, batch.to_dict, lambda: render_next(batch, out), soft_wrap=True)


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
        list[str] | None,
        typer.Option(
            metavar="RUN_VERSION_OR_FOLDER",
            help="runs:/ID, models:/NAME@ALIAS or a folder `weights`; of several the mean counts.",
        ),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            min=2,
            metavar="N",
            help="Instead of --teacher: train N models, each without one part of the rows, which "
            "it is then asked about.",
        ),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(
            metavar="CONFIG", help="Names the data and how long texts are read; trains the folds."
        ),
    ] = None,
    set_: SetOption = None,
    json_output: JsonOption = False,
) -> None:
    """Write down what trained models say of the training split, for `distill.soft_labels`.

    The same models and rows give the same bytes on one machine.
    """
    require_train_extra("tactful data soften")
    from tactful_training.config.config_file import load_config

    if bool(teacher) == (folds is not None):
        raise typer.BadParameter("give either --teacher (once or more) or --folds")
    settings = load_config(config, set_ or ())
    with _terminated_like_interrupted():
        if folds is None:
            from tactful_training.fitting.softening import soften as run

            softened = run(settings, teacher or (), out)
        else:
            from rich.console import Console

            from tactful_training.cross_fitting import soften_by_folds

            softened = soften_by_folds(settings, folds, out, console=Console(stderr=True))
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
