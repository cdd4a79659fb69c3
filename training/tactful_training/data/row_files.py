"""Files of rows, in three formats: each record is taken out and made a labelled row."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tactful.batch.arrow_values import column_values, is_broken
from tactful.csv_dialect import HEAD_BYTES, CsvDialectError, CsvRecords, read_dialect
from tactful.reading.tasks import Tasks, one_form
from tactful_training.data.label_cells import LabelColumns, RowError, nearest, parse_json
from tactful_training.data.labelled_row import Row, RowParser
from tactful_training.errors import DataError

MAX_LISTED = 10
SUFFIXES = (".jsonl", ".csv", ".parquet")
# A cell may hold a whole e-mail thread; the csv module's own limit is 128 KiB.
_LONGEST_CELL = 2**31 - 1


def are_rows(path: Path) -> bool:
    """Whether a path is a file of rows, or a pipe that gives some; a folder is a data set."""
    return not os.path.isdir(path) and (path.suffix.lower() in SUFFIXES or os.path.exists(path))


class _Record(NamedTuple):
    """One row as it stands in its file.

    Attributes:
        place: ``file:line`` (JSONL, CSV) or ``file: row N`` (Parquet), for messages.
        values: column to value; None where the record cannot be decoded.
        problem: why it cannot be decoded; None where it can.
    """

    place: str
    values: dict[str, Any] | None
    problem: str | None = None


class ScannedRows(NamedTuple):
    """What a file of rows holds.

    Attributes:
        path: the file.
        rows: the usable rows.
        problems: for each other row ``file:line: what is wrong``.
        lacking: for each task of which the file says nothing at all, that and what may be meant.
        one_hot: for each task that has a column for each of its labels, those columns.
        unlike: for each task whose own column and those of its labels disagree, where they do.
    """

    path: Path
    rows: list[Row]
    problems: list[str]
    lacking: dict[str, str]
    one_hot: dict[str, tuple[str, ...]]
    unlike: dict[str, str]

    def usable(self) -> list[Row]:
        """All rows.

        Raises:
            DataError: there are none, or not all are usable; the first ten are listed by line.
        """
        if self.problems:
            hints = "".join(f"\n  - {hint}" for hint in self.lacking.values())
            listed = "".join(f"\n  - {problem}" for problem in self.problems[:MAX_LISTED])
            if len(self.problems) > MAX_LISTED:
                listed += f"\n  - and {len(self.problems) - MAX_LISTED} more"
            count = len(self.problems)
            raise DataError(f"{self.path}: {count} rows cannot be used:{listed}{hints}")
        if not self.rows:
            raise DataError(f"{self.path} holds no rows")
        return self.rows


def scan_rows(
    path: Path,
    tasks: Tasks,
    *,
    require_labels: bool = True,
    delimiter: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> ScannedRows:
    """Read the rows of a .jsonl, .csv or .parquet file, however many are not usable.

    The format of a pipe, whose name does not say it, is told by how its content begins.

    Args:
        path: the file.
        tasks: the tasks that labels and evidence may name.
        require_labels: whether a row must say something of its labels, be it null for a task.
        delimiter: of a CSV file; None finds it.
        columns: name of a column to what it is to be called, where a file has its own names.

    Raises:
        DataError: the file as a whole cannot be read, or lacks a column that was named.
    """
    rows: list[Row] = []
    places: dict[str, str] = {}
    problems: list[str] = []
    own = {new: one_form(old) for old, new in (columns or {}).items()}
    wanted = {own.get(name, name) for name in (("id", "reply") if require_labels else ("reply",))}
    names, records = _open(path, wanted, delimiter)
    if own:
        names, records = _with_names(path, names, records, own)
    table = None if names is None else LabelColumns(tasks, names)
    parser = RowParser(tasks, table, require_labels=require_labels)
    for record in records:
        try:
            if record.values is None:
                raise RowError(record.problem)
            row = parser.parse(record.values, record.place)
            if row.id in places:
                raise RowError(f"id {row.id!r} was used before, at {places[row.id]}")
        except RowError as error:
            problems.append(f"{record.place}: {error}")
        else:
            places[row.id] = record.place
            rows.append(row)
    lacking = {}
    if rows or (names is not None and "labels" not in names):
        others = parser.others if names is None else names
        for task in tasks:
            if task.name not in parser.stated:
                hint = "" if table is None else table.hint(task)
                lacking[task.name] = _lacking(path, task.name, hint, others)
            elif rows and table is not None and all(row.labels[task.name] is None for row in rows):
                lacking[task.name] = (
                    f"{path} has no labels of the task {task.name!r}: it is unknown in every row"
                )
    if table is None:
        return ScannedRows(path, rows, problems, lacking, {}, {})
    return ScannedRows(path, rows, problems, lacking, table.one_hot, table.unlike())


def _with_names(
    path: Path, names: list[str] | None, records: Iterator[_Record], own: Mapping[str, str]
) -> tuple[list[str] | None, Iterator[_Record]]:
    """Call columns by the names that rows have; another column of such a name gets a ``_``."""
    new = {old: name for name, old in own.items()}

    def called(name: str) -> str:
        return new.get(name, f"{name}_" if name in own else name)

    if names is not None and (lacking := [old for old in new if old not in names]):
        raise DataError(
            f"{path} has no column {', '.join(map(repr, lacking))}; its columns: {', '.join(names)}"
        )
    renamed = (
        record
        if record.values is None
        else record._replace(values={called(k): v for k, v in record.values.items()})
        for record in records
    )
    return None if names is None else [called(name) for name in names], renamed


def _lacking(path: Path, task: str, hint: str, columns: Sequence[str] | dict[str, None]) -> str:
    text = f"{path} has no labels of the task {task!r}"
    near = nearest(task, columns)
    if hint:
        return f"{text}: {hint}"
    if near == task:
        return f"{text}: {task!r} stands beside 'labels'; it belongs in there"
    if near is not None:
        return f"{text}; its column {near!r} is like it: rename it to {task!r}"
    return f"{text}; its columns: {', '.join(columns) or 'none but the labels'}"


def _open(
    path: Path, wanted: set[str], delimiter: str | None
) -> tuple[list[str] | None, Iterator[_Record]]:
    """The columns of a table, and its records in order; blank lines are skipped."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES and suffix and path.is_file():
        raise DataError(f"{path}: rows are read from files ending in {', '.join(SUFFIXES)}")
    try:
        content = path.read_bytes()  # once: a pipe gives its rows to the first who asks
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    if suffix not in SUFFIXES:
        suffix = _suffix_of(content)
    if suffix == ".jsonl":
        return None, _jsonl(path, content)
    if suffix == ".parquet":
        return _parquet(path, content)
    return _csv(path, content, wanted, delimiter)


def _suffix_of(content: bytes) -> str:
    """The format of what has no name that says it, as of a pipe."""
    if content.startswith(b"PAR1"):
        return ".parquet"
    start = content.removeprefix(b"\xef\xbb\xbf").lstrip()
    return ".jsonl" if not start or start.startswith(b"{") else ".csv"


def _jsonl(path: Path, content: bytes) -> Iterator[_Record]:
    content = content.removeprefix(b"\xef\xbb\xbf")
    # Lines end at \n alone: JSON text may hold U+2028 and others that str.splitlines splits at.
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        place = f"{path}:{number}"
        try:
            values = parse_json(line.decode("utf-8"))
        except UnicodeDecodeError as error:
            yield _Record(place, None, f"not UTF-8 text (byte {error.start + 1} of the line)")
        except json.JSONDecodeError as error:
            yield _Record(place, None, f"not valid JSON: {error.msg} (column {error.colno})")
        except (ValueError, RecursionError) as error:
            yield _Record(place, None, f"not usable JSON: {error}")
        else:
            if not isinstance(values, dict):
                yield _Record(place, None, 'each line must be a JSON object like {"id": …}')
                continue
            named = {one_form(name): value for name, value in values.items()}
            twice = "keys given twice, in two Unicode forms" if len(named) < len(values) else None
            yield _Record(place, None if twice else named, twice)


def _csv(
    path: Path, content: bytes, wanted: set[str], delimiter: str | None
) -> tuple[list[str], Iterator[_Record]]:
    try:
        file = path if path.is_file() else str(path)
        dialect = read_dialect(file, content[:HEAD_BYTES], wanted, delimiter)
        text = content.decode("utf-8-sig")
    except CsvDialectError as error:
        raise DataError(str(error)) from error
    except UnicodeDecodeError as error:
        line = content.count(dialect.line_end, 0, error.start) + 1
        raise DataError(f"{path}:{line}: not UTF-8 text; save the file as 'CSV UTF-8'") from error
    columns = [one_form(name) for name in dialect.columns]
    records = []
    before = csv.field_size_limit(_LONGEST_CELL)
    # Lines end as the first one does, as for a batch job: no other end begins a row.
    newline = "\n" if dialect.line_end == b"\n" else ""
    lines = io.StringIO(text, newline=newline)
    names, number = False, 1
    try:
        for cells, there, problem in CsvRecords(lines.readline, dialect.delimiter):
            place, number = f"{path}:{number}", number + len(there)
            if problem or (cells and names and (problem := dialect.problem(cells))):
                records.append(_Record(place, None, problem))
            elif cells and names:
                records.append(_Record(place, dict(zip(columns, cells, strict=False))))
            names = names or bool(cells)
    finally:
        csv.field_size_limit(before)
    return columns, iter(records)


def _parquet(path: Path, content: bytes) -> tuple[list[str], Iterator[_Record]]:
    import pyarrow
    import pyarrow.parquet

    try:
        # Microseconds, as in batch jobs: nanoseconds of INT96 would wrap outside 1677 to 2262.
        table = pyarrow.parquet.ParquetFile(
            pyarrow.BufferReader(content), coerce_int96_timestamp_unit="us"
        ).read()
        columns = [one_form(name) for name in table.column_names]
        if repeated := sorted({name for name in columns if columns.count(name) > 1}):
            raise DataError(f"{path}: columns named twice: {', '.join(repeated)}")
        cells = [column_values(table, name) for name in table.column_names]
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} is not a readable Parquet file: {error}") from error

    def records() -> Iterator[_Record]:
        for number, row in enumerate(zip(*cells, strict=True), start=1):
            values = dict(zip(columns, row, strict=True))
            broken = [name for name, value in values.items() if is_broken(value)]
            problem = f"the text of {broken[0]!r} is not UTF-8" if broken else None
            yield _Record(f"{path}: row {number}", None if broken else values, problem)

    return columns, records()
