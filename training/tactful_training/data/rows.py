"""Rows by the file and by the folder, and the targets they make."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tactful.reading.tasks import Tasks
from tactful_training.config.shipped import find_data_set
from tactful_training.data.cards import ORIGINALS, Card, read_card
from tactful_training.data.records import SUFFIXES, read_records
from tactful_training.data.row import EvidenceSpan, Row, RowError, RowParser
from tactful_training.errors import DataError

__all__ = [
    "DataSet",
    "EvidenceSpan",
    "Row",
    "load_data_set",
    "read_rows",
    "scan_rows",
    "targets",
]

SPLITS = ("train", "validation", "test")
MAX_LISTED = 10


@dataclass(frozen=True)
class DataSet:
    """A folder of rows with its card.

    Attributes:
        card: the card, which names the tasks.
        folder: where it lies.
        files: split name to its file, for the splits that are there.
    """

    card: Card
    folder: Path
    files: Mapping[str, Path]

    @property
    def tasks(self) -> Tasks:
        """The tasks that the card names."""
        return self.card.tasks

    def split(self, name: str, *, require_labels: bool = True) -> list[Row]:
        """Read the rows of a split; ``require_labels`` is as for `read_rows`.

        Raises:
            DataError: there is no such split, or a row cannot be used.
        """
        if name not in self.files:
            there = ", ".join(self.files) or "none"
            wanted = ", ".join(f"{name}{suffix}" for suffix in SUFFIXES)
            hint = (
                f"; `tactful data prepare` makes it of the original files, see {self.card.path}"
                if ORIGINALS in self.card.front_matter
                else ""
            )
            raise DataError(f"{self.folder} has no split {name!r} ({wanted}); there: {there}{hint}")
        return read_rows(self.files[name], self.tasks, require_labels=require_labels)

    @cached_property
    def digests(self) -> dict[str, str]:
        """File name to sha256 (hex) of the card and of every split."""
        paths = [self.card.path, *self.files.values()]
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def load_data_set(folder: str | Path) -> DataSet:
    """Open a data set; its splits are read when they are asked for.

    Args:
        folder: a path, or the name of a shipped set (see `find_data_set`).

    Raises:
        DataError: no such folder, no usable card, or one split in two formats.
    """
    found = find_data_set(folder)
    files: dict[str, Path] = {}
    for split in SPLITS:
        present = [path for suffix in SUFFIXES if (path := found / f"{split}{suffix}").is_file()]
        if len(present) > 1:
            names = ", ".join(path.name for path in present)
            raise DataError(f"{found} has the split {split!r} more than once: {names}; keep one")
        if present:
            files[split] = present[0]
    return DataSet(card=read_card(found), folder=found, files=files)


def read_rows(path: Path, tasks: Tasks, *, require_labels: bool = True) -> list[Row]:
    """Read the rows of a .jsonl, .csv or .parquet file, all of which must be usable.

    Args:
        path: the file.
        tasks: the tasks that labels and evidence may name.
        require_labels: whether a row must say something of its labels, be it null for a task.

    Raises:
        DataError: the file or a row cannot be used; the first ten rows are listed by line.
    """
    rows, problems = scan_rows(path, tasks, require_labels=require_labels)
    if problems:
        listed = "".join(f"\n  - {problem}" for problem in problems[:MAX_LISTED])
        if len(problems) > MAX_LISTED:
            listed += f"\n  - and {len(problems) - MAX_LISTED} more"
        raise DataError(f"{path}: {len(problems)} rows cannot be used:{listed}")
    if not rows:
        raise DataError(f"{path} holds no rows")
    return rows


def scan_rows(
    path: Path, tasks: Tasks, *, require_labels: bool = True
) -> tuple[list[Row], list[str]]:
    """Read the rows of a file as `read_rows` does, however many are not usable.

    Returns:
        The usable rows, and for each other one ``file:line: what is wrong``.

    Raises:
        DataError: the file as a whole cannot be read.
    """
    rows: list[Row] = []
    places: dict[str, str] = {}
    problems: list[str] = []
    parser = RowParser(tasks, flat=path.suffix.lower() != ".jsonl", require_labels=require_labels)
    for record in read_records(path):
        try:
            row = parser.parse(record)
            if row.id in places:
                raise RowError(f"id {row.id!r} was used before, at {places[row.id]}")
        except RowError as error:
            problems.append(f"{record.place}: {error}")
        else:
            places[row.id] = record.place
            rows.append(row)
    return rows, problems


def targets(rows: Sequence[Row], tasks: Tasks) -> NDArray[np.float32]:
    """What the model should answer.

    Returns:
        float32[R, L]: 1 where a label applies, 0 where not, NaN where its task is unknown.
    """
    table = np.full((len(rows), tasks.size), np.nan, dtype=np.float32)
    for task, place in tasks.slices.items():
        for target, row in zip(table, rows, strict=True):
            decided = row.labels[task]
            if decided is None:
                continue
            target[place] = 0.0
            for label in (decided,) if isinstance(decided, str) else decided:
                target[tasks.columns[task, label]] = 1.0
    return table
