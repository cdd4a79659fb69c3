"""The rows of a public set, and how its files are read without guessing."""

from __future__ import annotations

import codecs
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
    """The text of an original file, without a byte order mark and with ``\\n`` for ``\\r\\n``.

    A copy that went through Windows so gives the same rows. A lone ``\\r`` is a sign of the text,
    unless it is the last one, from a last line without its ``\\n``.

    Raises:
        DataError: it is not UTF-8.
    """
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        return content.decode("utf-8").replace("\r\n", "\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{name}:{line}: not UTF-8 text") from error


def lines_of(name: str, content: bytes) -> Iterator[tuple[str, str]]:
    """(``file:line``, line without its end) of every line; lines end as in `text_of`."""
    for number, line in enumerate(text_of(name, content).removesuffix("\n").split("\n"), start=1):
        yield f"{name}:{number}", line
