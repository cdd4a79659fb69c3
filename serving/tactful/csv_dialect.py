"""What a CSV file is, told from its first bytes: encoding, line ends, delimiter and columns.

Batch jobs and data sets both ask here, so that a file which one of them reads, the other reads too.
"""

from __future__ import annotations

import csv
import io
import re
import shlex
import unicodedata
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

HEAD_BYTES = 1 << 16
"""How much of a file `read_dialect` wants to see: more than any names of columns need."""
LONGEST_RECORD = 1 << 24
"""Characters; a quote that is never closed would swallow the rest of the file."""
DELIMITERS = (",", ";", "\t", "|")
"""Those that are found by themselves, the usual one first."""
_QUOTED = re.compile(r'"[^"]*(?:"|\Z)')
_JSON = re.compile(r'\s*(\[\s*)?\{\s*"')
_LINE_END = re.compile(r"\r\n|\r|\n")
_OTHER_KINDS = {
    b"PK\x03\x04": "a ZIP archive, perhaps an Excel workbook; save its sheet as 'CSV UTF-8'",
    b"\x1f\x8b": "compressed with gzip; unpack it with gunzip, or name it .csv.gz for a batch job",
    b"PAR1": "a Parquet file; name it .parquet",
    b"\xd0\xcf\x11\xe0": "an Excel workbook of the old kind; save its sheet as 'CSV UTF-8'",
}
_MARKS = {  # the longer ones first, one begins with another
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}


class CsvDialectError(ValueError):
    """A file that cannot be read as CSV as it is; says what it is and what to do."""


@dataclass(frozen=True, slots=True)
class CsvDialect:
    """How the records of a file are taken apart.

    Attributes:
        delimiter: stands between two cells.
        line_end: ``\\n`` (which ends ``\\r\\n`` too), or ``\\r`` as old Macs wrote it.
        columns: their names.
        nameless: how many empty names follow; their cells must be empty.
    """

    delimiter: str
    line_end: bytes
    columns: tuple[str, ...]
    nameless: int

    def problem(self, cells: Sequence[str]) -> str:
        """Why a record's cells are not those of the columns; empty where they are."""
        known = len(self.columns)
        if not known <= len(cells) <= known + self.nameless:
            return f"{len(cells)} cells, but {known} columns are named"
        filled = [place for place, cell in enumerate(cells, start=1) if cell.strip()]
        beyond = filled and filled[-1] > known
        return f"cell {filled[-1]} is not empty, but its column has no name" if beyond else ""


def read_dialect(
    file: Path | str, head: bytes, wanted: Collection[str], delimiter: str | None = None
) -> CsvDialect:
    """Find out how a CSV file is written.

    Args:
        file: the file, for messages; text where it came through a pipe and has no name.
        head: its first `HEAD_BYTES`, uncompressed.
        wanted: columns that it must have: the delimiter that parts them off is the right one.
        delimiter: the one it is known to have, see `parse_delimiter`; None finds it.

    Raises:
        CsvDialectError: it is no CSV file in UTF-8, or its first record cannot name columns.
    """
    text = _decoded(file, head)
    bare = _QUOTED.sub("", text).lstrip("\r\n")
    if not bare and not text.strip("\r\n"):
        raise CsvDialectError(f"{file} is empty; the first line of a CSV file names its columns")
    if _JSON.match(text):
        raise CsvDialectError(
            f"{file} is no CSV file but JSON; write one object a line, and name it .jsonl"
        )
    if mark := re.match(r"sep=(.?)\r?\n", bare):
        raise CsvDialectError(
            f"{file} begins with the line {mark[0].strip()!r}, which only Excel understands; "
            "remove that line"
        )
    first_end = _LINE_END.search(bare)
    line_end = b"\r" if first_end and first_end[0] == "\r" else b"\n"
    if line_end == b"\r" and "\n" in bare:
        remedy = _sent_through("tr '\\r' '\\n'", file, "lines")
        raise CsvDialectError(
            f"{file}: some lines end with a carriage return alone, others with a line feed; make "
            f"them alike{remedy}"
        )
    delimiter = delimiter or _delimiter(file, text, wanted)
    columns, nameless = _columns(file, _first_record(file, text, delimiter))
    return CsvDialect(delimiter, line_end, columns, nameless)


class CsvRecord(NamedTuple):
    """One record: its cells, the lines that it stands on, and why they are none, if they are."""

    cells: list[str]
    lines: list[str]
    problem: str


class _RunawayError(Exception):
    pass


class CsvRecords:
    """Takes records apart; lines that are none cost the first of them, and the rest is read on.

    Args:
        line: gives the next line with its end; empty after the last one.
        delimiter: stands between two cells.
    """

    def __init__(self, line: Callable[[], str], delimiter: str) -> None:
        self._line = line
        self._delimiter = delimiter
        self._again: deque[str] = deque()  # lines that were read ahead
        self._held: list[str] = []
        self._reader = self._new_reader()

    def _new_reader(self) -> Iterator[list[str]]:
        return csv.reader(self._feed(), delimiter=self._delimiter, strict=True)

    def _feed(self) -> Iterator[str]:
        held = 0
        while line := (self._again.popleft() if self._again else self._line()):
            held = held + len(line) if self._held else len(line)
            self._held.append(line)
            if held > LONGEST_RECORD:
                raise _RunawayError
            yield line

    def __iter__(self) -> Iterator[CsvRecord]:
        """Every record in order, blank ones (without a cell) too."""
        while True:
            self._held = []
            cells, problem = None, ""
            try:
                cells = next(self._reader, None)
            except csv.Error as error:
                problem = _why_no_record(error)
            except _RunawayError:
                problem = f"a quote that is not closed within {LONGEST_RECORD} characters"
            if not self._held:
                return
            if problem:
                self._again.extendleft(reversed(self._held[1:]))
                del self._held[1:]
                self._reader = self._new_reader()
            yield CsvRecord(cells or [], self._held, problem)


def _why_no_record(error: csv.Error) -> str:
    """What is wrong with a record, in words for the author of the file."""
    if "unexpected end" in str(error):
        return "a quote that is not closed"
    if "expected after" in str(error):
        return "a quote within a cell; write it twice, or close the cell"
    if "new-line character" in str(error):
        return "a carriage return stands alone in it; put quotes around the cell, or a line feed"
    return str(error)


def parse_delimiter(text: str) -> str:
    """The delimiter that an option names: one ASCII character, or ``tab``.

    Raises:
        ValueError: it is none.
    """
    if text in ("tab", "\\t"):
        return "\t"
    if len(text) != 1 or not text.isascii() or text in '"\r\n\0':
        raise ValueError(
            f"delimiter {text!r}: allowed is one character such as ';', or tab (no quote, no line "
            "end)"
        )
    return text


def _decoded(file: Path | str, head: bytes) -> str:
    for magic, what in _OTHER_KINDS.items():
        if head.startswith(magic):
            raise CsvDialectError(f"{file} is no CSV file but {what}")
    encoding = next((name for mark, name in _MARKS.items() if head.startswith(mark)), None)
    names = re.split(rb"[\r\n]", head, maxsplit=1)[0]
    if encoding is None and b"\0" in names:
        # Of an ASCII text in UTF-16 every second byte is zero.
        even, odd = names[::2].count(0), names[1::2].count(0)
        if max(even, odd) <= len(names) // 4:
            raise CsvDialectError(f"{file} holds zero bytes: it is no text")
        encoding = "UTF-16BE" if even > odd else "UTF-16LE"
    if encoding is not None:
        raise CsvDialectError(
            f"{file} is {encoding} text, and CSV is read as UTF-8: save it as 'CSV UTF-8', or "
            f"convert it{_sent_through(f'iconv -f {encoding} -t UTF-8', file, 'utf8')}"
        )
    return head.removeprefix(b"\xef\xbb\xbf").decode(errors="surrogateescape")


def _delimiter(file: Path | str, text: str, wanted: Collection[str]) -> str:
    """The delimiter by which the first record has the wanted columns."""
    names = {unicodedata.normalize("NFC", name) for name in wanted}
    parted = {}
    for each in DELIMITERS:
        try:
            cells = _first_record(file, text, each)
            parted[each] = [unicodedata.normalize("NFC", cell) for cell in cells]
        except CsvDialectError:  # said of the one that is chosen
            parted[each] = []
    usual, *others = DELIMITERS
    if names <= set(parted[usual]):
        return usual
    fitting = [each for each in others if names <= set(parted[each])]
    if len(fitting) > 1:
        allowed = " or ".join(map(repr, fitting))
        raise CsvDialectError(f"{file}: its columns may be parted by {allowed}; name --delimiter")
    if not fitting and len(parted[usual]) == 1:
        # A wanted column is lacking either way, but its names can be told.
        fitting = [each for each in others if len(parted[each]) > 1]
    return fitting[0] if len(fitting) == 1 else usual


def _first_record(file: Path | str, text: str, delimiter: str) -> list[str]:
    records = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        return next((cells for cells in records if cells), [])
    except csv.Error as error:
        raise CsvDialectError(f"{file}, line 1: no names of columns: {error}") from error


def _columns(file: Path | str, cells: list[str]) -> tuple[tuple[str, ...], int]:
    """The names of the columns, and how many without a name follow them."""
    named = len(cells)
    while named and not cells[named - 1].strip():
        named -= 1
    names = tuple(cells[:named])
    if not names:
        raise CsvDialectError(f"{file}: the first line names no column")
    if any("\ud800" <= letter <= "\udfff" for name in names for letter in name):
        raise CsvDialectError(
            f"{file}, line 1: the names of columns are not UTF-8; save it as 'CSV UTF-8'"
        )
    blank = [str(place) for place, name in enumerate(names, start=1) if not name.strip()]
    if len(blank) > 1:
        raise CsvDialectError(f"{file}: the columns {', '.join(blank)} have no name; name them")
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise CsvDialectError(f"{file}: columns named twice: {', '.join(repeated)}")
    return names, len(cells) - named


def _sent_through(command: str, file: Path | str, change: str) -> str:
    """How a command makes a usable file of one, or of what comes through a pipe."""
    if isinstance(file, str):
        return f", by sending it through {command}"
    new = file.with_name(f"{file.stem}.{change}{file.suffix or '.csv'}")
    return f": {command} < {shlex.quote(str(file))} > {shlex.quote(str(new))}"
