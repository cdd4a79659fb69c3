"""What a card says the original files must be, and reading them from a folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tactful_training.data.cards import ORIGINALS, Card
from tactful_training.data.check import SplitCounts
from tactful_training.errors import DataError

_ALL = "all"
_MAX_BESIDE = 20
_Count = Annotated[int, Field(ge=0)]
_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Hub(_Section):
    """Where the Hugging Face hub has the set."""

    id: str
    config: str | None = None


class Counts(_Section):
    """What a split must hold: rows, and rows that have each label, by task."""

    rows: _Count
    labels: dict[str, dict[str, _Count]]


class Originals(_Section):
    """The block ``originals`` of a card's front matter.

    Attributes:
        set: name of the set.
        files: original file to its SHA-256.
        counts: split to what it must hold; ``all`` stands for all splits together.
        hub: where the hub has it, if it can be read from there.
    """

    set: str
    files: dict[str, _Digest]
    counts: dict[str, Counts]
    hub: Hub | None = None


def read_originals(card: Card) -> Originals:
    """What a card says of its original files.

    Raises:
        DataError: the card says nothing of them, or something else than it may.
    """
    if ORIGINALS not in card.front_matter:
        raise DataError(
            f"the front matter of {card.path} has no {ORIGINALS!r}: it is no public set"
        )
    try:
        return Originals.model_validate(card.front_matter[ORIGINALS])
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join([ORIGINALS, *map(str, problem["loc"])])
        raise DataError(f"{card.path}: {where}: {problem['msg']}") from error


@dataclass(frozen=True)
class Found:
    """What a folder has of the expected files.

    Attributes:
        files: name to content of those that are there.
        lacking: what is wrong with each other one, then where it may be; empty where none lacks.
    """

    files: Mapping[str, bytes]
    lacking: Sequence[str]


def read_folder(folder: Path, expected: Mapping[str, str]) -> Found:
    """Read the expected files; others beside them (a licence, say) are of no consequence.

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
            return Found(files, [])
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
    return Found(files, lacking)


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


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def counts_of(counts: Mapping[str, SplitCounts]) -> dict[str, Any]:
    """Split to its numbers, as plain JSON."""
    return {
        split: {"rows": each.rows, "groups": each.groups, "labels": dict(each.labels)}
        for split, each in counts.items()
    }
