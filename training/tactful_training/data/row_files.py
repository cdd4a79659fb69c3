"""Files of rows, in three formats: each record is taken out and made a labelled row."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tactful.reading.tasks import Tasks
from tactful_training.data.labelled_row import Row, RowError, RowParser, parse_json
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


def read_rows(path: Path, tasks: Tasks, *, require_labels: bool = True) -> list[Row]:
    """Read the rows of a .jsonl, .csv or .parquet file, all of which must be usable.

    The format of a pipe, whose name does not say it, is told by how its content begins.

    Args:
        path: the file.
        tasks: the tasks that labels and evidence may name.
        require_labels: whether a row must say something of its labels, be it null for a task.

    Raises:
        DataError: the file or a row cannot be used; the first ten rows are listed by line.
    """
    rows, problems = scan_rows(path, tasks, require_labels=require_labels)
    if problems:
        listed = "".join(f"\n  - {problem}" for problem in problems[:MAX_LISTED])
        if len(problems) > MAX_LISTED:
            listed += f"\n  - and {len(problems) - MAX_LISTED} more"
        raise DataError(f"{path}: {len(problems)} rows cannot be used:{listed}")
    if not rows:
        raise DataError(f"{path} holds no rows")
    return rows


def scan_rows(
    path: Path, tasks: Tasks, *, require_labels: bool = True
) -> tuple[list[Row], list[str]]:
    """Read the rows of a file as `read_rows` does, however many are not usable.

    Returns:
        The usable rows, and for each other one ``file:line: what is wrong``.

    Raises:
        DataError: the file as a whole cannot be read.
    """
    rows: list[Row] = []
    places: dict[str, str] = {}
    problems: list[str] = []
    suffix, records = _records(path)
    parser = RowParser(tasks, flat=suffix != ".jsonl", require_labels=require_labels)
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
    return rows, problems


def _records(path: Path) -> tuple[str, Iterator[_Record]]:
    """The suffix that says a file's format, and its records in order; blank lines are skipped."""
    readers = {".jsonl": _jsonl, ".csv": _csv, ".parquet": _parquet}
    suffix = path.suffix.lower()
    if suffix not in readers and suffix and path.is_file():
        raise DataError(f"{path}: rows are read from files ending in {', '.join(SUFFIXES)}")
    try:
        content = path.read_bytes()  # once: a pipe gives its rows to the first who asks
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    if suffix not in readers:
        suffix = _suffix_of(content)
    return suffix, readers[suffix](path, content)


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
            if isinstance(values, dict):
                yield _Record(place, values)
            else:
                yield _Record(place, None, 'each line must be a JSON object like {"id": …}')


def _csv(path: Path, content: bytes) -> Iterator[_Record]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}:{line}: not UTF-8 text; save the file as 'CSV UTF-8'") from error
    before = csv.field_size_limit(_LONGEST_CELL)
    try:
        return iter(_csv_records(path, text))
    finally:
        csv.field_size_limit(before)


def _csv_records(path: Path, text: str) -> list[_Record]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next((cells for cells in reader if cells), None)
        if header is None:
            raise DataError(f"{path} is empty; its first line must name the columns")
        if repeated := sorted({name for name in header if header.count(name) > 1}):
            raise DataError(f"{path}: columns named twice: {', '.join(repeated)}")
        records = []
        start = reader.line_num + 1  # a record may span lines; name the one it starts on
        for cells in reader:
            place, start = f"{path}:{start}", reader.line_num + 1
            if not cells:
                continue
            if len(cells) == len(header):
                records.append(_Record(place, dict(zip(header, cells, strict=True))))
            else:
                problem = f"{len(cells)} cells, but {len(header)} columns are named"
                records.append(_Record(place, None, problem))
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: not valid CSV: {error}") from error
    return records


def _parquet(path: Path, content: bytes) -> Iterator[_Record]:
    import pyarrow
    import pyarrow.parquet

    try:
        rows = pyarrow.parquet.read_table(pyarrow.BufferReader(content)).to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} is not a readable Parquet file: {error}") from error
    for number, values in enumerate(rows, start=1):
        yield _Record(f"{path}: row {number}", values)
