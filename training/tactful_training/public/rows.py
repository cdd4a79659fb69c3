"""The rows of a public set, and how its files are read without guessing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tactful_training.errors import DataError

Row = dict[str, Any]


@dataclass(frozen=True)
class Splits:
    """Rows as a data set's JSONL holds them.

    Attributes:
        rows: split name to its rows.
        problems: records that cannot be used, each as ``file:line: what is wrong``.
        notes: what a reader should know of the conversion.
    """

    rows: Mapping[str, list[Row]]
    problems: Sequence[str] = ()
    notes: Sequence[str] = ()


def text_of(name: str, content: bytes) -> str:
    """The text of an original file.

    Raises:
        DataError: it is not UTF-8.
    """
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{name}:{line}: not UTF-8 text") from error


def lines_of(name: str, content: bytes) -> Iterator[tuple[str, str]]:
    """(``file:line``, line without its end) of every line; lines end at ``\\n`` alone."""
    for number, line in enumerate(text_of(name, content).removesuffix("\n").split("\n"), start=1):
        yield f"{name}:{number}", line
