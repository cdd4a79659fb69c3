"""``tactful explain``: the receipt of one reading, and its replay."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, cast

import typer

import tactful
from tactful.bundle.addresses import DEFAULT_BUNDLE
from tactful.errors import InputError
from tactful.options import (
    BundleOption,
    ContextOption,
    FormatOption,
    JsonOption,
    ReplyArgument,
    given_reply,
)
from tactful.own_words.formats import Format
from tactful.reading.decision_receipt import Receipt, compare_receipts
from tactful.strict_json import strict_json

_SCORED = "A row of a scored file"


def explain(
    reply: ReplyArgument = None,
    context: ContextOption = None,
    scored: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="What `tactful score` wrote (or read): explain one of its rows.",
            rich_help_panel=_SCORED,
        ),
    ] = None,
    row: Annotated[
        str | None,
        typer.Option(
            metavar="ID_OR_NUMBER",
            help="Which row: what its column `id` holds, or else its number, from 1.",
            rich_help_panel=_SCORED,
        ),
    ] = None,
    reply_column: Annotated[
        str, typer.Option(help="The column of the reply.", rich_help_panel=_SCORED)
    ] = "reply",
    context_column: Annotated[
        str,
        typer.Option(
            help="The column of what the customer said; may be missing.", rich_help_panel=_SCORED
        ),
    ] = "context",
    prefix: Annotated[
        str,
        typer.Option(
            help="What `tactful score --prefix` put before the columns it added.",
            rich_help_panel=_SCORED,
        ),
    ] = "",
    data: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER_OR_FILE",
            help="The data set that the bundle learned from: shows the nearest rows with text.",
        ),
    ] = None,
    replay: Annotated[
        Path | None,
        typer.Option(
            metavar="RECEIPT.json",
            help="Read the text of a receipt again and compare; exit code 1 where it differs.",
        ),
    ] = None,
    format_: FormatOption = "auto",
    tokens: Annotated[int, typer.Option(help="Tokens shown of each label.", min=0)] = 5,
    nearest: Annotated[int, typer.Option(help="Training replies shown.", min=0)] = 5,
    bundle: BundleOption = DEFAULT_BUNDLE,
    json_output: JsonOption = False,
) -> None:
    """Show how one reading came about: logits, thresholds, tokens, nearest training replies.

    With --json this is a receipt, which --replay reads again.
    """
    from rich.console import Console

    from tactful.output.terminal import render_receipt, render_replay

    if (scored is None) != (row is None):
        raise InputError("usage", "--scored FILE and --row ID_OR_NUMBER go together; give both")
    others = [name for name, given in (("--scored", scored), ("--replay", replay)) if given]
    texts = [name for name, given in (("REPLY", reply), ("--context", context)) if given]
    if len(others) + bool(texts) > 1:
        raise InputError("usage", f"give one of {', '.join(texts + others)}, not all of them")
    if replay is not None:
        before = read_receipt(replay)
        classifier = tactful.Classifier.load(bundle)
        tolerance = classifier.bundle.manifest["golden_tolerance"]
        found = compare_receipts(before, _read_again(classifier, before), tolerance)
        if json_output:
            typer.echo(json.dumps(found.to_dict(), ensure_ascii=False))
        else:
            Console().print(render_replay(found), soft_wrap=True)
        raise typer.Exit(1 if found.differences else 0)
    columns: Mapping[str, Any] = {}
    if scored is not None and row is not None:
        text, context, columns = find_row(scored, row, reply_column, context_column)
    else:
        text = given_reply(reply, "explain")
    receipt = tactful.Classifier.load(bundle).explain(
        text, context, format=cast(Format, format_), tokens=tokens, nearest=nearest
    )
    for line in read_otherwise(columns, receipt, prefix):
        typer.echo(f"warning: {line}", err=True)
    if data is not None:
        receipt = with_rows(receipt, data)
    if json_output:
        typer.echo(json.dumps(receipt.to_dict(), ensure_ascii=False))
    else:
        Console().print(render_receipt(receipt))


def _read_again(classifier: tactful.Classifier, before: Receipt) -> Receipt:
    """Read the text of a receipt, which does not say for what it was taken, as it was read then."""
    # Entities are read as what they mean, and nothing is left out then.
    formats: tuple[Format, ...] = (
        ("auto", "email", "html") if before.reading.skipped else ("text", "html")
    )
    usual = None
    for format_ in formats:
        try:
            now = classifier.explain(before.reply, before.context, format=format_)
        except InputError:
            if format_ == "text":
                raise
            continue
        usual = usual or now
        if (now.unread, now.tokens) == (before.unread, before.tokens):
            return now
    return usual or classifier.explain(before.reply, before.context, format="text")


def read_receipt(path: Path) -> Receipt:
    """The receipt in a file.

    Raises:
        InputError: there is none.
    """
    try:
        return Receipt.from_dict(strict_json(path.read_bytes()))
    except OSError as error:
        reason = error.strerror or str(error)
    except ValueError as error:
        reason = str(error)
    raise InputError(
        "no_receipt", f"{path} cannot be replayed: {reason}; make it with: tactful explain --json"
    )


def find_row(
    scored: str, wanted: str, reply_column: str, context_column: str
) -> tuple[str, str | None, Mapping[str, Any]]:
    """Reply, context and all columns of one row.

    Args:
        scored: a file, a folder or a glob.
        wanted: what the row's column ``id`` holds; where no row has that, its number, from 1.
        reply_column: the column of the reply.
        context_column: the column of the context.

    Raises:
        InputError: there is no such row, or nothing can be read of it.
        JobError: a file cannot be read.
    """
    from tactful.batch.csv_format import as_it_was

    number, found = 0, None
    for number, (csv, each) in enumerate(_rows(scored, reply_column, context_column), start=1):
        named = each.columns is not None and str(each.columns.get("id")) == wanted
        if named or str(number) == wanted:
            found = csv, each
        if named:
            break
    if found is None:
        raise InputError(
            "row_unknown",
            f"{scored} has no row {wanted!r}: none whose column id is so, and {number} rows in all",
        )
    csv, each = found
    if each.error is not None:
        raise each.error
    reply, context = (
        as_it_was(value, csv=csv) if isinstance(value, str) else value
        for value in (each.reply, each.context)
    )
    return reply, context or None, each.columns or {}


def read_otherwise(columns: Mapping[str, Any], receipt: Receipt, prefix: str) -> list[str]:
    """What a scored row says that the receipt does not; empty where they agree.

    Args:
        columns: of the row; empty where there is none.
        receipt: of reading it here.
        prefix: of the columns that scoring added.
    """
    bundle, lines = columns.get(f"{prefix}bundle"), []
    if bundle and bundle != receipt.reading.bundle:
        lines.append(
            f"the row was read by {bundle}, the receipt is of {receipt.reading.bundle}; name the "
            "other one with --bundle"
        )
    for task in receipt.labels:
        said = columns.get(prefix + task)
        labels = said.split("|") if isinstance(said, str) else said
        decided = [label.label for label in receipt.reading.decided(task)]
        if isinstance(labels, list) and [each for each in labels if each] != decided:
            lines.append(
                f"the row says {task}: {', '.join(labels) or 'none'}; read alone it is "
                f"{', '.join(decided) or 'none'}"
            )
    return lines


def with_rows(receipt: Receipt, data: str) -> Receipt:
    """A receipt whose nearest replies have their texts and labels.

    Args:
        receipt: the receipt.
        data: a folder with a data set, of which the training split is looked at, or a file.

    Raises:
        JobError: a file cannot be read.
    """
    wanted = {each.id for each in receipt.nearest or ()}
    found: dict[str, dict[str, Any]] = {}
    for _, row in _rows(data, "reply", "context", split="train"):
        columns = row.columns or {}
        if (name := str(columns.get("id"))) in wanted:
            labels = columns.get("labels") or {
                task: columns[task] for task in receipt.labels if task in columns
            }
            found[name] = {"reply": row.reply, "context": row.context, "labels": labels}
    nearest = [replace(each, row=found.get(each.id, {})) for each in receipt.nearest or ()]
    return replace(receipt, nearest=receipt.nearest and tuple(nearest))


def _rows(address: str, reply: str, context: str, split: str = "") -> Iterator[tuple[bool, Any]]:
    """Each row of some files, and whether it is of CSV."""
    from tactful.batch.job_files import described, find_files
    from tactful.batch.job_parts import rows_of
    from tactful.batch.job_spec import ResultOptions

    files = find_files(address, None, Path(address, "none"))
    files = [file for file in files if file.path.name.startswith(split)] or files
    for source, row in rows_of(described(files), ResultOptions(reply, context)):
        yield source.kind.format == "csv", row
