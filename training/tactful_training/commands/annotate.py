"""``tactful data``: what people say of replies goes into data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tactful.options import DelimiterOption, JsonOption
from tactful_training.commands.shared_options import require_train_extra, show
from tactful_training.errors import DataError

SetArgument = Annotated[str, typer.Argument(metavar="SET", help="The folder of a data set.")]
RenameOption = Annotated[
    list[str] | None,
    typer.Option(
        "--rename",
        metavar="OLD=NEW",
        help="A label that has another name in the files than in the set; may be repeated.",
    ),
]


def merge(
    data: SetArgument,
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE…", help="Rows (.jsonl, .csv, .parquet), or feedback of the service."
        ),
    ],
    by: Annotated[
        str | None,
        typer.Option(help="Who says so, where a file does not; without it, the user's name."),
    ] = None,
    why: Annotated[str | None, typer.Option(help="The reason, where a file gives none.")] = None,
    rename: RenameOption = None,
    split: Annotated[
        str, typer.Option(help="Where new rows go that name no split and whose group is in none.")
    ] = "train",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")
    ] = False,
    delimiter: DelimiterOption = None,
    json_output: JsonOption = False,
) -> None:
    """Merge corrections, new rows or feedback into a data set: all of a file's rows, or none.

    Each change is written down with who, when, why and the previous value; the card gets a new
    version. Exit code 1 if a line of feedback was cut off and left out.
    """
    require_train_extra("tactful data merge")
    from tactful_training.annotation.merging import merge_data, render_merged

    merged = merge_data(
        data,
        files,
        who=by,
        why=why,
        renamed=_renamed(rename or []),
        split=split,
        delimiter=delimiter,
        dry_run=dry_run,
    )
    show(
        json_output, merged.to_dict, lambda: render_merged(merged, dry_run=dry_run), soft_wrap=True
    )
    if merged.torn:
        raise typer.Exit(1)


def _renamed(given: list[str]) -> dict[str, str]:
    renamed = {}
    for text in given:
        old, sign, new = (part.strip() for part in text.partition("="))
        if not (old and sign and new):
            raise DataError(
                f"--rename {text!r}: write OLD=NEW, the label's name in the files first"
            )
        renamed[old] = new
    return renamed


def init(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the data set goes.")],
    source: Annotated[
        Path,
        typer.Argument(
            metavar="REPLIES", help="A .csv, .jsonl or .parquet table, or a folder of .txt files."
        ),
    ],
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES_OR_FILE",
            help="The labels, with commas between them, or a file with one a line. Without it, "
            "those that the column of labels holds.",
        ),
    ] = None,
    label_column: Annotated[
        str | None,
        typer.Option(help="The column of labels (a|b); without it, one for each label, or none."),
    ] = None,
    task: Annotated[
        str, typer.Option(help="What the labels are, in one word: topics, mood, intents.")
    ] = "strategies",
    single: Annotated[
        bool, typer.Option("--single", help="A reply has exactly one of the labels.")
    ] = False,
    reply_column: Annotated[str, typer.Option(help="The column of the agent's words.")] = "reply",
    context_column: Annotated[
        str | None, typer.Option(help="The column of the customer's words before them.")
    ] = None,
    id_column: Annotated[
        str | None, typer.Option(help="The column that tells rows apart; without it, a number.")
    ] = None,
    group_column: Annotated[
        str | None,
        typer.Option(help="The column (conversation, customer) whose rows stay in one split."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the splits.")] = 13,
    delimiter: DelimiterOption = None,
    json_output: JsonOption = False,
) -> None:
    """Make a data set of replies: card, guide to fill in, splits, and files to label in.

    What is labelled already is ready for tactful train.
    """
    require_train_extra("tactful data init")
    from tactful_training.annotation.new_set import Columns, render_new_set, start_data_set

    made = start_data_set(
        folder,
        source,
        labels=_labels(labels),
        task=task,
        single=single,
        columns=Columns(reply_column, context_column, label_column, id_column, group_column),
        seed=seed,
        delimiter=delimiter,
    )
    show(json_output, made.to_dict, lambda: render_new_set(made), soft_wrap=True)


def _labels(given: str | None) -> list[str]:
    if given is None:
        return []
    path = Path(given)
    try:
        is_file = path.is_file()
    except OSError:  # too long for a name
        is_file = False
    if not is_file:
        return given.split(",")
    try:
        return path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"--labels {path} cannot be read: {error}") from error


SuggestionsOption = Annotated[
    bool,
    typer.Option(
        "--suggestions", help="Take what a model suggested, where nobody has answered, too."
    ),
]


def import_(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="Label Studio's JSON, Prodigy's JSONL, a table, or feedback."
        ),
    ],
    data: SetArgument,
    out: Annotated[Path, typer.Argument(metavar="OUT.jsonl", help="The file of rows.")],
    rename: RenameOption = None,
    suggestions: SuggestionsOption = False,
    delimiter: DelimiterOption = None,
) -> None:
    """Turn what people labelled in another tool into rows, for tactful data split or merge.

    The tasks are those of the card of SET.
    """
    require_train_extra("tactful data import")
    from tactful_training.annotation.exchange import import_rows

    count = import_rows(
        file,
        data,
        out,
        renamed=_renamed(rename or []),
        suggestions=suggestions,
        delimiter=delimiter,
    )
    typer.echo(f"{out}: {count} rows")


def export(
    data: SetArgument,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The file.")],
    to: Annotated[
        str,
        typer.Option(
            help="label-studio (.json, the labelling config beside it as .xml), "
            "prodigy (.jsonl), csv (.csv) or jsonl (.jsonl)."
        ),
    ] = "label-studio",
    split: Annotated[
        list[str] | None, typer.Option(help="Only these rows (may be repeated).")
    ] = None,
    suggested: Annotated[
        bool,
        typer.Option("--suggested", help="Labels go as suggestions, for somebody to confirm."),
    ] = False,
) -> None:
    """Write the rows of a data set for another tool; import and merge read what comes back."""
    require_train_extra("tactful data export")
    from tactful_training.annotation.exchange import export_rows

    count = export_rows(data, out, to, splits=split or (), suggested=suggested)
    typer.echo(f"{out}: {count} rows")


def agreement(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE…", help="What people said of the same rows, in any form."),
    ],
    card: Annotated[
        str, typer.Option(metavar="SET", help="The data set whose card names the tasks.")
    ],
    disagreements: Annotated[
        Path | None,
        typer.Option(metavar="OUT.csv", help="Write the rows in dispute, to be decided."),
    ] = None,
    consensus: Annotated[
        Path | None,
        typer.Option(metavar="OUT.jsonl", help="Write what more than half agree on, and who."),
    ] = None,
    rename: RenameOption = None,
    delimiter: DelimiterOption = None,
    json_output: JsonOption = False,
) -> None:
    """Measure how far people agree: kappa, alpha and marked words, with 95% intervals.

    Of one person each, or told apart by a column 'by' or by the tool.
    """
    require_train_extra("tactful data agreement")
    from tactful_training.annotation.adjudication import write_consensus, write_disagreements
    from tactful_training.annotation.agreement import measure_agreement, render_agreement
    from tactful_training.data.data_set import load_data_set

    found = measure_agreement(
        files, load_data_set(card).tasks, renamed=_renamed(rename or []), delimiter=delimiter
    )
    show(json_output, found.to_dict, lambda: render_agreement(found))
    if disagreements is not None:
        count = write_disagreements(disagreements, found)
        typer.echo(f"{disagreements}: {count} rows to decide", err=True)
    if consensus is not None:
        count = write_consensus(consensus, found)
        typer.echo(f"{consensus}: {count} rows", err=True)
