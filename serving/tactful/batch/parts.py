"""Parts: the stretches of input that are scored, committed and resumed as one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from tactful.errors import InputError


@dataclass(frozen=True, slots=True)
class Part:
    """Where some rows of one input file stand; small enough to be sent anywhere.

    Attributes:
        index: its place in the job, from 0.
        source: which input file, from 0.
        start: where it starts in its file: uncompressed bytes, or rows of a Parquet file.
        stop: where the next part starts.
        first: number of its first line, from 1 (Parquet: row).
        next_first: number of the first line after it.
        rows: how many rows it holds, blank lines not counted.
        read: bytes of the (compressed) file up to its end, roughly; for progress.
    """

    index: int
    source: int
    start: int
    stop: int
    first: int
    next_first: int
    rows: int
    read: int


@dataclass(frozen=True, slots=True)
class Row:
    """One input row.

    Attributes:
        reply: the value in the reply column, of whatever type; None where there is none.
        context: likewise.
        columns: all input columns; None where the row could not be taken apart.
        raw: the row as JSON text where it came as such, to be passed on to the letter.
        line: the text of a row that could not be taken apart.
        error: why the row cannot be read, where that is known already.
    """

    reply: object = None
    context: object = None
    columns: Mapping[str, Any] | None = None
    raw: bytes | None = None
    line: str | None = None
    error: InputError | None = None


class Reader(Protocol):
    """Reads one input file."""

    @property
    def columns(self) -> tuple[str, ...] | None:
        """Names of all columns where the file declares them."""

    def plan(self, start: int, first: int, part_rows: int) -> Iterator[tuple[int, int, int, int]]:
        """From a part's end on: (stop, next_first, rows, read) of each further part."""

    def rows(self, part: Part) -> Iterator[Row]:
        """The rows of a part, lazily."""

    def close(self) -> None:
        """Release the file."""
