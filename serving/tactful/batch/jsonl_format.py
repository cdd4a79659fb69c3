"""Rows of a JSONL file: every line is decoded and parsed on its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tactful.batch.byte_lines import LONGEST_LINE, ByteLines
from tactful.batch.formats import Compression
from tactful.batch.parts import Part, Row
from tactful.errors import InputError
from tactful.strict_json import strict_json


class JsonlReader:
    """Reads a file of one JSON object a line; blank lines are no rows.

    Args:
        path: the file.
        compression: what its bytes went through.
        reply_column: the key of the reply.
        context_column: the key of the context.
    """

    columns: tuple[str, ...] | None = None

    def __init__(
        self, path: Path, compression: Compression, reply_column: str, context_column: str
    ) -> None:
        self._lines = ByteLines(path, compression)
        self._reply, self._context = reply_column, context_column

    def plan(self, start: int, first: int, part_rows: int) -> Iterator[tuple[int, int, int, int]]:
        """From a part's end on: (stop, next_first, rows, read) of each further part."""
        self._lines.seek(start)
        rows, number = 0, first
        while line := self._lines.line()[0]:
            number += 1
            if line.strip():
                rows += 1
            if rows == part_rows:
                yield self._lines.position, number, rows, self._lines.read
                rows = 0
        if rows:
            yield self._lines.position, number, rows, self._lines.read

    def rows(self, part: Part) -> Iterator[Row]:
        """The rows of a part, lazily."""
        self._lines.seek(part.start)
        number, given = part.first, 0
        while given < part.rows:
            line, whole = self._lines.line()
            if not line:
                raise EOFError(f"it ends before line {number}")
            if line := line.strip():
                given += 1
                yield self._row(line, number) if whole else _too_long(line, number)
            number += 1

    def _row(self, line: bytes, number: int) -> Row:
        try:
            values = strict_json(line)
            if not isinstance(values, dict):
                raise ValueError(f"not a JSON object but {type(values).__name__}")
        except ValueError as error:
            return unreadable(line, f"line {number}: {error}", "line_not_json")
        return Row(values.get(self._reply), values.get(self._context), values, raw=line)

    def close(self) -> None:
        """Release the file."""
        self._lines.close()


def unreadable(line: bytes, message: str, code: str) -> Row:
    """A row that could not be taken apart; its bytes stay readable, whatever they are."""
    try:
        text = line.decode()
    except UnicodeDecodeError:
        text, code = line.decode(errors="backslashreplace"), "not_utf8"
    return Row(line=text, error=InputError(code, message))


def _too_long(line: bytes, number: int) -> Row:
    message = (
        f"line {number}: longer than {LONGEST_LINE} bytes; a JSONL file has one object a line "
        "(only the beginning of this one is kept)"
    )
    return unreadable(line[:1000], message, "line_too_long")
