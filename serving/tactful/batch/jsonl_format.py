"""JSONL: every line is decoded and parsed on its own, and passed on to the letter."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from tactful.batch.job_spec import Part, Row
from tactful.batch.table_formats import Compression, uncompressed
from tactful.errors import InputError
from tactful.strict_json import strict_json

# A longer line is no row of a table: a JSON array in one line, a file of another kind.
LONGEST_LINE = 1 << 26
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# Deeper than any table, and well within what Python's JSON reads and writes from any caller.
_DEEPEST_LINE = 500
_SKIP = 1 << 20
_encoded = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
# Kept: json.dumps with an option makes an encoder each time, and rows have dozens of cells.
_encoded_text = json.JSONEncoder(ensure_ascii=False, default=str).encode


class ByteLines:
    """Reads lines; knows its place in the uncompressed bytes. A byte order mark is passed over.

    Args:
        path: the file.
        compression: what its bytes went through.
        end: what ends a line, ``\\n`` or the ``\\r`` of old Macs.

    Attributes:
        position: offset of the next line, uncompressed bytes.
    """

    def __init__(self, path: Path, compression: Compression, end: bytes = b"\n") -> None:
        self._path = path
        self._compression = compression
        self._end = end
        self._open()

    def _open(self) -> None:
        self._raw = self._path.open("rb")
        self._stream = uncompressed(self._raw, self._compression)
        marked = self._stream.peek(3)[:3] == BYTE_ORDER_MARK
        self._origin = self.position = len(self._stream.read(3)) if marked else 0

    @property
    def read(self) -> int:
        """How many bytes of the file itself have been read, roughly."""
        return self._raw.tell()

    def seek(self, offset: int) -> None:
        """Go to an offset in the uncompressed bytes; backwards in a compressed file is slow."""
        offset = max(offset, self._origin)
        if offset == self.position:
            return
        if not self._compression:
            self._stream.seek(offset)
            self.position = offset
            return
        if offset < self.position:
            self.close()
            self._open()
        while self.position < offset:
            skipped = len(self._stream.read(min(_SKIP, offset - self.position)))
            if not skipped:
                raise EOFError(f"it ends at byte {self.position} of its content")
            self.position += skipped

    def line(self) -> tuple[bytes, bool]:
        """The next line with its end, and whether it is whole; empty at the end of the file.

        Of a line longer than `LONGEST_LINE` the beginning is given, the rest is skipped.
        """
        line = self._piece()
        whole = len(line) < LONGEST_LINE or line.endswith(self._end)
        rest = b"" if whole else line
        while rest and not rest.endswith(self._end):
            rest = self._piece()
        return line, whole

    def _piece(self) -> bytes:
        """Up to `LONGEST_LINE` bytes of the line at hand."""
        if self._end == b"\n":
            piece = self._stream.readline(LONGEST_LINE)
        else:
            taken, stop = bytearray(), 0
            while not stop and len(taken) < LONGEST_LINE and (ahead := self._stream.peek(1)):
                ahead = ahead[: LONGEST_LINE - len(taken)]
                stop = ahead.find(self._end) + 1
                taken += self._stream.read(stop or len(ahead))
            piece = bytes(taken)
        self.position += len(piece)
        return piece

    def close(self) -> None:
        """Release the file."""
        self._stream.close()
        self._raw.close()


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
            values = strict_json(line, number=exact_number)
            if not isinstance(values, dict):
                raise ValueError(f"not a JSON object but {type(values).__name__}")
            if line.count(b"[") + line.count(b"{") > _DEEPEST_LINE and _too_deep(values):
                raise ValueError(f"nested more than {_DEEPEST_LINE} levels deep")
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


class LongNumber:
    """A number of a JSON text that no float holds: beyond all floats, or of too many digits."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        """As it was written."""
        return self._text


def exact_number(text: str) -> float | LongNumber:
    """A ``parse_float`` that loses nothing."""
    value = float(text)
    if repr(value) == text:
        return value
    if math.isinf(value) or (not value and set(text.lower().split("e")[0]) & set("123456789")):
        return LongNumber(text)
    return value if Decimal(text) == Decimal(repr(value)) else LongNumber(text)


def json_text(value: Any) -> str:
    """A JSON value as text that UTF-8 can hold; it says the same when it is parsed."""
    if isinstance(value, LongNumber):
        return str(value)
    text = _encoded_text(value)
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair: JSON can say it in ASCII only
        return json.dumps(value, default=str)
    return text


def _too_deep(value: Any) -> bool:
    level: list[Any] = [value]
    for _ in range(_DEEPEST_LINE):
        level = [
            entry
            for each in level
            for entry in (each.values() if isinstance(each, dict) else each)
            if isinstance(entry, dict | list)
        ]
    return bool(level)


def json_line(columns: bytes | Mapping[str, Any], added: Mapping[str, Any]) -> bytes:
    """One JSON object of both; JSON text is passed on to the letter."""
    tail = _dumped(added)
    head = columns.rstrip() if isinstance(columns, bytes) else _dumped(columns)
    body = head[:-1].rstrip()
    comma = b"" if body == b"{" else b","
    return b"".join((body, comma, tail[1:], b"\n"))


def _dumped(value: Mapping[str, Any]) -> bytes:
    try:
        return _encoded(value).encode()
    except UnicodeEncodeError:  # half a surrogate pair: JSON can say it in ASCII only
        return json.dumps(value, separators=(",", ":")).encode()
