"""CSV: every record is taken apart and decoded on its own, every cell is text."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tactful.batch.arrow_values import well_formed
from tactful.batch.job_spec import Part, Row
from tactful.batch.jsonl_format import ByteLines, json_text, unreadable
from tactful.batch.table_formats import Compression, first_bytes
from tactful.csv_dialect import (
    LONGEST_RECORD,
    CsvDialectError,
    CsvRecords,
    read_dialect,
)
from tactful.errors import InputError, JobError

# What makes a spreadsheet run a cell as a formula (OWASP, "CSV Injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


class _Record(NamedTuple):
    """Cells, each byte a character; or the line that is no record and why."""

    cells: list[str]
    line: bytes
    problem: str


class _Records:
    """Takes records apart from any offset on.

    On text in which every character is one byte (Latin-1), so that offsets are known and a byte
    that is not UTF-8 costs only its own cell.
    """

    def __init__(self, lines: ByteLines, delimiter: str) -> None:
        csv.field_size_limit(max(csv.field_size_limit(), LONGEST_RECORD))
        self._lines = lines
        self._delimiter = delimiter
        self.seek(lines.position, 1)

    def seek(self, offset: int, number: int) -> None:
        """Go to where a record starts; ``number`` is that of its line."""
        self._lines.seek(offset)
        self.position, self.number = offset, number
        self._records = CsvRecords(lambda: self._lines.line()[0].decode("latin-1"), self._delimiter)

    def __iter__(self) -> Iterator[_Record]:
        for cells, lines, problem in self._records:
            content = "".join(lines).encode("latin-1")
            self.position += len(content)
            self.number += len(lines)
            if cells or problem:  # no blank line
                yield _Record(cells, content, problem)


class CsvReader:
    """Reads a file whose first record names the columns; blank lines are no rows.

    Args:
        path: the file.
        compression: what its bytes went through.
        reply_column: the column of the reply.
        context_column: the column of the context.
        delimiter: stands between two cells; None finds it from the names of the columns.
        called: what messages call it where it has no name of its own.

    Raises:
        JobError: it is no CSV file in UTF-8, or its first record cannot name columns.
    """

    columns: tuple[str, ...]

    def __init__(
        self,
        path: Path,
        compression: Compression,
        reply_column: str,
        context_column: str,
        delimiter: str | None = None,
        *,
        called: str | None = None,
    ) -> None:
        try:
            head = first_bytes(path, compression)
            self._dialect = read_dialect(called or path, head, {reply_column}, delimiter)
        except CsvDialectError as error:
            raise JobError(str(error)) from error
        self.columns = self._dialect.columns
        self._lines = ByteLines(path, compression, self._dialect.line_end)
        self._records = _Records(self._lines, self._dialect.delimiter)
        next(iter(self._records), None)  # the names of the columns
        self._start, self._first = self._records.position, self._records.number
        self._reply, self._context = reply_column, context_column

    def plan(self, start: int, first: int, part_rows: int) -> Iterator[tuple[int, int, int, int]]:
        """From a part's end on: (stop, next_first, rows, read) of each further part."""
        self._go(start, first)
        rows = 0
        for _ in self._records:
            rows += 1
            if rows == part_rows:
                yield self._records.position, self._records.number, rows, self._lines.read
                rows = 0
        if rows:
            yield self._records.position, self._records.number, rows, self._lines.read

    def rows(self, part: Part) -> Iterator[Row]:
        """The rows of a part, lazily."""
        self._go(part.start, part.first)
        records = iter(self._records)
        for _ in range(part.rows):
            number = self._records.number
            record = next(records, None)
            if record is None:
                raise EOFError(f"it ends before line {number}")
            yield self._row(record, number)

    def _go(self, start: int, first: int) -> None:
        if start == 0:  # the header is no row
            start, first = self._start, self._first
        if start != self._records.position:
            self._records.seek(start, first)

    def _row(self, record: _Record, number: int) -> Row:
        if problem := record.problem or self._dialect.problem(record.cells):
            line = record.line.removesuffix(b"\n").removesuffix(b"\r")
            return unreadable(line, f"line {number}: {problem}", "row_malformed")
        error = None
        columns = {}
        for name, cell in zip(self.columns, record.cells, strict=False):
            if not cell.isascii():
                content = cell.encode("latin-1")
                try:
                    cell = content.decode()
                except UnicodeDecodeError:
                    cell = content.decode(errors="backslashreplace")
                    message = f"line {number}: the cell of {name!r} is not UTF-8"
                    error = error or InputError("not_utf8", message)
            columns[name] = cell
        return Row(columns[self._reply], columns.get(self._context), columns, error=error)

    def close(self) -> None:
        """Release the file."""
        self._lines.close()


def write_csv(
    stream: Any,
    names: Sequence[str],
    rows: Iterable[Mapping[str, Any]],
    *,
    joined: Collection[str],
    escape: bool,
) -> None:
    """Write a table as CSV in UTF-8.

    Args:
        stream: gets the bytes; stays open.
        names: of the columns, in order; they are the first record.
        rows: name to JSON value; what is missing is empty.
        joined: the columns whose lists of labels become ``a|b``.
        escape: whether cells that a spreadsheet would run get a leading ``'``.
    """
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="", write_through=False)
    writer = csv.writer(text)
    last = defused if escape else str
    writer.writerow([last(well_formed(name)) for name in names])
    for row in rows:
        cells = [last(_cell_text(row.get(name), joined=name in joined)) for name in names]
        try:
            "".join(cells).encode()
        except UnicodeEncodeError:
            cells = well_formed(cells)
        writer.writerow(cells)
    text.flush()
    text.detach()


def _cell_text(value: Any, *, joined: bool = False) -> str:
    """A JSON value as the text of a cell.

    Args:
        value: text stays as it is, null is empty, the rest is JSON.
        joined: whether a list of labels becomes ``a|b``.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return repr(value)  # as JSON has it
    if joined and isinstance(value, list):
        return "|".join(value)
    return json_text(value)


def defused(text: str) -> str:
    """A cell that no spreadsheet takes for a formula: plain numbers stay, others get a ``'``."""
    if text.startswith(_FORMULA) and not _NUMBER.fullmatch(text):
        return "'" + text
    return text


def as_it_was(value: object, *, csv: bool) -> str:
    """A text as it was before `defused`, where it is a cell of CSV; empty for what is no text."""
    if not isinstance(value, str):
        return ""
    if csv and value[:1] == "'" and defused(value[1:]) == value:
        return value[1:]
    return value
