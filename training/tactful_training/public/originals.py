"""What a card says the original files must be, and reading them from a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tactful_training.data.cards import ORIGINALS, Card
from tactful_training.data.check import SplitCounts
from tactful_training.errors import DataError

_ALL = "all"
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


def read_folder(folder: Path, expected: Mapping[str, str]) -> dict[str, bytes]:
    """Read the expected files; others beside them (a licence, say) are of no consequence.

    Raises:
        DataError: a file is missing, with the name of one that has its content; or cannot be read.
    """
    try:
        there = {path.name: path for path in sorted(folder.iterdir()) if path.is_file()}
        contents = {name: there[name].read_bytes() for name in expected if name in there}
        missing = [name for name in expected if name not in there]
        if not missing:
            return contents
        others = {name: _sha256(there[name].read_bytes()) for name in there if name not in expected}
    except OSError as error:
        raise DataError(f"{error.filename or folder} cannot be read: {error.strerror}") from error
    lines = []
    for name in missing:
        same = [other for other, digest in others.items() if digest == expected[name]]
        lines.append(
            f"{name} is missing, but {same[0]} is that file: rename it to {name}"
            if same
            else f"{name} is missing"
        )
    raise DataError(
        f"{folder} does not hold the original files:"
        + "".join(f"\n  - {line}" for line in lines)
        + f"\n  expected: {', '.join(expected)}; beside the expected ones there is: "
        + (", ".join(others) or "nothing")
    )


def digest_differences(files: Mapping[str, bytes], expected: Mapping[str, str]) -> list[str]:
    """A line for each file whose SHA-256 is another one."""
    found = {name: _sha256(content) for name, content in files.items()}
    return [
        f"{name}: SHA-256 {found[name]} ({len(files[name])} bytes), expected {expected[name]}"
        for name in files
        if found[name] != expected[name]
    ]


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
