"""Rows as they are written: records of JSONL, and cells of a table that a person may edit."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tactful.batch.csv_format import defused
from tactful.reading.tasks import Tasks
from tactful.storage import write_file
from tactful_training.data.label_cells import FIELDS, UNKNOWN
from tactful_training.data.labelled_row import Decided, Row
from tactful_training.errors import DataError

TABLES = (".csv", ".jsonl")
"""Endings of the files that `write_table` writes."""


def row_record(row: Row, tasks: Tasks) -> dict[str, Any]:
    """A row as a record of JSONL, which is read back as the same row.

    Args:
        row: the row.
        tasks: all tasks; evidence names its task only where several have a label of its name.
    """
    owners = [label for task in tasks for label in task.labels]
    record: dict[str, Any] = {"id": row.id}
    if row.group != row.id:
        record["group"] = row.group
    if row.context is not None:
        record["context"] = row.context
    record["reply"] = row.reply
    record["labels"] = {
        task: list(decided) if isinstance(decided, tuple) else decided
        for task, decided in row.labels.items()
    }
    if row.evidence:
        record["evidence"] = [
            ({"task": span.task} if owners.count(span.label) > 1 else {})
            | {"label": span.label, "start": span.start, "end": span.end}
            for span in row.evidence
        ]
    return record | dict(row.columns)


def jsonl(records: Iterable[Mapping[str, Any]]) -> bytes:
    """Records, one a line; half of a surrogate pair stays escaped, as JSON may name it."""
    return b"".join(_line(record) for record in records)


def _line(record: Mapping[str, Any]) -> bytes:
    try:
        return f"{json.dumps(record, ensure_ascii=False)}\n".encode()
    except UnicodeEncodeError:
        return f"{json.dumps(record)}\n".encode()


def check_table_path(path: Path) -> None:
    """Check that a table can be written there, before the work that it takes.

    Raises:
        DataError: it ends in neither .csv nor .jsonl, or its folder is not there.
    """
    if path.suffix.lower() not in TABLES:
        raise DataError(f"{path}: a table is written as {' or '.join(TABLES)}; name it so")
    if not path.parent.is_dir():
        raise DataError(f"{path} cannot be written: {path.parent} is no folder; make it first")
    if path.is_dir():
        raise DataError(f"{path} is a folder; name a file")


def write_table(
    path: Path, rows: Sequence[tuple[Row, Mapping[str, Any]]], tasks: Tasks, extra: Sequence[str]
) -> None:
    """Write rows with what was found of them, to be opened, edited and read as rows again.

    Args:
        path: ends in .csv (for a spreadsheet: UTF-8 with its mark, labels as ``a|b``) or .jsonl.
        rows: each with the values of ``extra``.
        tasks: of which a CSV file gets a column each.
        extra: the further columns, which stand between id and reply.

    Raises:
        DataError: it cannot be written, or ``path`` ends otherwise.
    """
    check_table_path(path)
    if path.suffix.lower() == ".jsonl":
        content = jsonl(
            {"id": row.id}
            | {name: values.get(name) for name in extra}
            | {name: value for name, value in row_record(row, tasks).items() if name not in extra}
            for row, values in rows
        )
    else:
        content = _csv(rows, tasks, extra)
    try:
        write_file(path, content)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}") from error


def _csv(
    rows: Sequence[tuple[Row, Mapping[str, Any]]], tasks: Tasks, extra: Sequence[str]
) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    names = [task.name for task in tasks]
    others = list(dict.fromkeys(name for row, _ in rows for name in row.columns))
    others = [name for name in others if name not in (*FIELDS, *names, *extra)]
    writer.writerow(["id", *extra, "reply", "context", *names, "evidence", "group", *others])
    for row, values in rows:
        spans = row_record(row, tasks).get("evidence")
        cells = [
            row.id,
            *(values.get(name) for name in extra),
            row.reply,
            row.context,
            *(_cell(row.labels[name]) for name in names),
            None if spans is None else json.dumps(spans, ensure_ascii=False),
            row.group,
            *(row.columns.get(name) for name in others),
        ]
        writer.writerow([defused(_text(cell)) for cell in cells])
    return b"\xef\xbb\xbf" + text.getvalue().encode("utf-8", "replace")


def _cell(decided: Decided) -> str:
    if decided is None:
        return UNKNOWN
    return decided if isinstance(decided, str) else "|".join(decided)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:.4f}"
    return json.dumps(value, ensure_ascii=False)
