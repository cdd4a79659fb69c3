"""What somebody said of a reply, with who, when and why; from files of rows and of feedback.

A file of rows may say so in columns ``by``, ``at`` and ``why``. A file of feedback, which ``tactful
serve --feedback`` writes, says so in every line. Where a label had another name when a file was
written, its old name is read as the new one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tactful.batch.csv_format import defused
from tactful.reading.tasks import Task, Tasks
from tactful_training.data.label_cells import RowError, listed, parse_json
from tactful_training.data.labelled_row import Row, RowParser
from tactful_training.data.row_files import ScannedRows, scan_rows
from tactful_training.errors import DataError

FEEDBACK = "feedback"
"""Key of a line of feedback; its value is the number of the format."""
FEEDBACK_FORMAT = 1
WHO, WHEN, WHY = "by", "at", "why"
DISPUTED, SAID_BY = "disputed", "said by "
"""Columns of a file of disagreements: for whoever decides, not for the set."""
SUGGESTED_BY, UNCERTAINTY = "suggested_by", "uncertainty"
"""Columns of a file of ``tactful data next``: who labelled a row that no person has looked at."""
_HEAD = 1 << 16


@dataclass(frozen=True)
class Labelling:
    """What somebody said of one reply.

    Attributes:
        row: what was said; a task of which nothing was said is None.
        place: ``file:line``, for messages.
        who: the person, or None.
        when: an ISO 8601 time, or None.
        why: the reason, or None.
        event: an id that no other one has, where there is one; what has it is merged once.
        by_text: whether the row is to be found by its texts, as it has no id of its own.
    """

    row: Row
    place: str
    who: str | None = None
    when: str | None = None
    why: str | None = None
    event: str | None = None
    by_text: bool = False


@dataclass(frozen=True)
class LabelledFile:
    """What a file says.

    Attributes:
        labellings: in the order of the file.
        torn: for each line that a crash or a full disk cut off, which one and what was done.
        unconfirmed: rows of which a model alone has spoken, and which are left out.
    """

    labellings: list[Labelling]
    torn: list[str] = field(default_factory=list)
    unconfirmed: int = 0


def read_rows(
    path: Path,
    known: Tasks,
    tasks: Tasks,
    *,
    suggestions: bool = False,
    delimiter: str | None = None,
) -> LabelledFile:
    """Read a file of rows; one with a name in ``suggested_by`` waits for a person.

    Args:
        path: .jsonl, .csv or .parquet.
        known: the tasks that it may speak of, with old names of labels.
        tasks: the same with the names of today, for messages.
        suggestions: whether what a model suggested counts as if a person had said it.
        delimiter: of a CSV file; None finds it.

    Raises:
        DataError: the file cannot be read, or a row cannot be used (all are named by line).
    """
    scan = scan_rows(path, known, delimiter=delimiter)
    check_scan(scan, tasks)
    is_table = path.suffix.lower() == ".csv"
    rows = [row for row in scan.rows if suggestions or not row.columns.get(SUGGESTED_BY)]
    return LabelledFile(
        [_of_row(undefused(row) if is_table else row, str(path)) for row in rows],
        unconfirmed=len(scan.rows) - len(rows),
    )


def check_scan(scan: ScannedRows, tasks: Tasks) -> None:
    """Refuse a file of which a row cannot be used; say what may help.

    Raises:
        DataError: a row cannot be used, or there is none.
    """
    try:
        scan.usable()
    except DataError as error:
        if "unknown label" not in str(error):
            raise
        raise DataError(
            f"{error}\nWhere a label was renamed since the file was written: --rename OLD=NEW; the "
            f"labels are {listed(label for task in tasks for label in task.labels)}"
        ) from error


def with_old_names(tasks: Tasks, renamed: Mapping[str, str]) -> Tasks:
    """The tasks, with labels of their old names beside them.

    Raises:
        DataError: a new name is no label, or an old one is a label still.
    """
    labels = {label for task in tasks for label in task.labels}
    for old, new in renamed.items():
        if new not in labels:
            raise DataError(f"--rename {old}={new}: no label {new!r}; there are {listed(labels)}")
        if old in labels:
            raise DataError(f"--rename {old}={new}: {old!r} is a label of the set itself")
    return Tasks(
        tuple(
            Task(
                task.name,
                task.kind,
                {**task.labels, **{old: "" for old, new in renamed.items() if new in task.labels}},
            )
            for task in tasks
        )
    )


def with_new_names(row: Row, renamed: Mapping[str, str]) -> Row:
    """A row whose labels have their new names."""
    if not renamed:
        return row
    labels = {
        task: tuple(dict.fromkeys(renamed.get(label, label) for label in said))
        if isinstance(said, tuple)
        else renamed.get(said, said)
        if said is not None
        else None
        for task, said in row.labels.items()
    }
    spans = (span._replace(label=renamed.get(span.label, span.label)) for span in row.evidence)
    return replace(row, labels=labels, evidence=tuple(dict.fromkeys(spans)))


def is_feedback(path: Path) -> bool:
    """Whether a file holds feedback rather than rows."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return False  # whoever reads it says why
    return any(
        line.lstrip().startswith(f'{{"{FEEDBACK}":'.encode()) for line in head.split(b"\n")[:2]
    )


def _of_row(row: Row, path: str) -> Labelling:
    said = {name: row.columns.get(name) for name in (WHO, WHEN, WHY)}
    columns = {
        name: value
        for name, value in row.columns.items()
        if name not in (*said, DISPUTED, SUGGESTED_BY, UNCERTAINTY) and not name.startswith(SAID_BY)
    }
    who, when, why = (str(value) if value not in (None, "") else None for value in said.values())
    return Labelling(replace(row, columns=columns), f"{path}: {row.id!r}", who, when, why)


def read_feedback(path: Path, tasks: Tasks) -> LabelledFile:
    """Lines of feedback; those that were cut off are left out and named.

    Raises:
        DataError: a whole line cannot be used.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    parser = RowParser(tasks, None, require_labels=True)
    found: list[Labelling] = []
    torn: list[str] = []
    problems: list[str] = []
    lines = content.split(b"\n")
    for number, line in enumerate(lines, start=1):
        place = f"{path}:{number}"
        if not line.strip():
            continue
        try:
            values = parse_json(line.decode())
        except (ValueError, RecursionError):
            end = "the file ends in the middle of it" if number == len(lines) else "it is not whole"
            torn.append(f"{place}: {end}; it is left out, the others are taken")
            continue
        try:
            found.append(_of_feedback(values, place, parser))
        except RowError as error:
            problems.append(f"{place}: {error}")
    scan = ScannedRows(path, [each.row for each in found], problems, {}, {}, {})
    if problems or not torn:
        check_scan(scan, tasks)
    return LabelledFile(found, torn)


def _of_feedback(values: Any, place: str, parser: RowParser) -> Labelling:
    if not isinstance(values, dict) or FEEDBACK not in values:
        raise RowError(f'no feedback: a line must begin with {{"{FEEDBACK}": {FEEDBACK_FORMAT}')
    if values[FEEDBACK] != FEEDBACK_FORMAT:
        raise RowError(
            f"feedback of format {values[FEEDBACK]!r}, known is {FEEDBACK_FORMAT}; use the tactful "
            "that wrote it, or a later one"
        )
    texts = {name: values.get(name) for name in ("id", WHO, WHEN, WHY, "bundle")}
    if wrong := [name for name, value in texts.items() if not isinstance(value, str | None)]:
        raise RowError(f"{wrong[0]} must be text")
    row = parser.parse(
        {"id": texts["id"] or place}
        | {name: values[name] for name in ("reply", "context", "labels") if name in values},
        place,
    )
    bundle = f"disagrees with {texts['bundle']}" if texts["bundle"] else "feedback"
    why = bundle if texts[WHY] is None else f"{texts[WHY]} ({bundle})"
    return Labelling(row, place, texts[WHO], texts[WHEN], why, event=texts["id"], by_text=True)


def undefused(row: Row) -> Row:
    """A row as it was before a table for spreadsheets put a ``'`` before what is no formula."""

    def plain(value: Any) -> Any:
        if isinstance(value, str) and value.startswith("'") and defused(value[1:]) == value:
            return value[1:]
        return value

    texts = {name: plain(getattr(row, name)) for name in ("id", "group", "reply", "context")}
    columns = {name: plain(value) for name, value in row.columns.items()}
    return replace(row, **texts, columns=columns)


def raw_records(content: bytes) -> list[bytes]:
    """The lines of a JSONL file that hold a record, as they are read as rows."""
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    return [line for line in lines if line.strip()]
