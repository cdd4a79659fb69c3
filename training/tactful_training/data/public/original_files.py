"""The original files of a public set: read from a folder or the hub, and compared with the card."""

from __future__ import annotations

import codecs
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tactful_training.data.data_card import Counts
from tactful_training.data.label_counts import SplitCounts
from tactful_training.errors import DataError

_ALL = "all"
_MAX_BESIDE = 20


@dataclass(frozen=True)
class Converted:
    """What a public set's files became.

    Attributes:
        rows: split name to its rows, as a data set's JSONL holds them.
        problems: records that cannot be used, each as ``file:line: what is wrong``.
        notes: what a reader should know of the conversion.
    """

    rows: Mapping[str, list[dict[str, Any]]]
    problems: Sequence[str] = ()
    notes: Sequence[str] = ()


def read_folder(folder: Path, expected: Mapping[str, str]) -> tuple[dict[str, bytes], list[str]]:
    """Read the expected files; others beside them (a licence, say) are of no consequence.

    Args:
        folder: where they are.
        expected: name to SHA-256.

    Returns:
        Name to content of those that are there; and what is wrong with each other one, then where
        it may be.

    Raises:
        DataError: a file, or the folder, cannot be read.
    """
    try:
        there = {path.name: path for path in sorted(folder.iterdir())}
        contents = {
            name: there[name].read_bytes()
            for name in expected
            if name in there and there[name].is_file()
        }
        files = {name: content for name, content in contents.items() if content.strip()}
        if len(files) == len(expected):
            return files, []
        others = {
            _sha256(path.read_bytes()): name
            for name, path in there.items()
            if name not in expected and path.is_file()
        }
    except OSError as error:
        raise DataError(f"{error.filename or folder} cannot be read: {error.strerror}") from error
    lacking = []
    for name, digest in expected.items():
        if name in contents:
            lacking += [] if name in files else [f"{name} is empty"]
        elif name in there:
            kind = "a folder" if there[name].is_dir() else "a broken link or a device"
            lacking.append(f"{name} is {kind}, not a file")
        elif digest in others:
            other = others[digest]
            lacking.append(f"{name} is missing, but {other} is that file: rename it to {name}")
        else:
            lacking.append(f"{name} is missing")
    beside = [
        f"{name}/" if path.is_dir() else name
        for name, path in there.items()
        if name not in expected
    ]
    more = f" and {len(beside) - _MAX_BESIDE} more" if len(beside) > _MAX_BESIDE else ""
    lacking.append(
        f"expected: {', '.join(expected)}; beside the expected ones there is: "
        + (", ".join(beside[:_MAX_BESIDE]) or "nothing")
        + more
    )
    if (inner := _folder_of(folder, expected)) is not None:
        lacking.append(f"{inner} holds files of all these names: give it as --source")
    return files, lacking


def _folder_of(folder: Path, names: Mapping[str, str]) -> Path | None:
    """The first folder within, one or two levels down, that has files of all these names."""
    for pattern in ("*", "*/*"):
        for inner in sorted(folder.glob(pattern)):
            # Not Path.is_file, which raises where a folder may not be entered.
            if all(os.path.isfile(inner / name) for name in names):
                return inner
    return None


def digest_differences(files: Mapping[str, bytes], expected: Mapping[str, str]) -> list[str]:
    """A line for each file whose SHA-256 is another one; it may be that of another file."""
    names = {digest: name for name, digest in expected.items()}
    lines = []
    for name, content in files.items():
        digest = _sha256(content)
        if digest != expected[name]:
            other = f"; that is {names[digest]}" if digest in names else ""
            lines.append(
                f"{name}: SHA-256 {digest} ({len(content)} bytes), expected {expected[name]}{other}"
            )
    return lines


def count_differences(
    counts: Mapping[str, SplitCounts], expected: Mapping[str, Counts]
) -> list[str]:
    """A line for each number of rows or of a label's rows that is another one."""
    lines = []
    for place, wanted in expected.items():
        splits = [c for split, c in counts.items() if place in (split, _ALL)]
        here = "all splits" if place == _ALL else place
        rows = sum(split.rows for split in splits)
        if rows != wanted.rows:
            lines.append(f"{here}: {rows} rows, expected {wanted.rows}")
        for task, labels in wanted.labels.items():
            for label, number in labels.items():
                found = sum(split.labels.get(task, {}).get(label, 0) for split in splits)
                if found != number:
                    lines.append(f"{here}: {found} rows with {task} {label!r}, expected {number}")
    return lines


def read_hub(
    address: str,
    config: str | None,
    files: Mapping[str, str],
    line: Callable[[Mapping[str, Any]], str],
) -> dict[str, bytes]:
    """Build the original files from the Hugging Face hub's table, through ``datasets``.

    Args:
        address: what ``datasets`` loads: the id of the set on the hub, or a folder.
        config: its configuration, if it has several.
        files: name of a split on the hub to the original file that it stands for.
        line: makes the line of that file of a row of the table.

    Returns:
        File name to content. The hub's copy may differ from the original in its bytes, so that
        only counts can be compared.

    Raises:
        DataError: the hub does not answer, or its table is another one.
    """
    import datasets

    try:
        table = datasets.load_dataset(address, config)
    except Exception as error:  # what datasets raises for a hub out of reach has no common type
        raise DataError(
            f"{address} cannot be read from the Hugging Face hub "
            f"({type(error).__name__}: {str(error).strip()}); give --source the folder of the "
            "original files instead"
        ) from error
    try:
        return {
            file: "".join(f"{line(row)}\n" for row in table[split]).encode()
            for split, file in files.items()
        }
    except KeyError as error:
        raise DataError(f"{address} on the hub has no {error}: its table has changed") from error


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


def convert_lines(
    files: Mapping[str, bytes],
    names: Mapping[str, str],
    convert: Callable[[str, str, str], Iterable[dict[str, Any]]],
) -> Converted:
    """Make rows of files whose every line can be read by itself.

    Args:
        files: name to content.
        names: split to its file.
        convert: from a split, a ``file:line`` and that line to its rows; raises DataError.
    """
    rows: dict[str, list[dict[str, Any]]] = {split: [] for split in names}
    problems = []
    for split, name in names.items():
        for place, line in lines_of(name, files[name]):
            try:
                rows[split] += convert(split, place, line)
            except DataError as error:
                problems.append(str(error))
    return Converted(rows, problems)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
