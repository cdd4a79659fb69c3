"""Several data sets in one training: their splits side by side, what they share and what not.

The shipped set and one's own, for example. A task of the same name must be the same in all of them;
a task that a set does not have is unknown in its rows. Train rows join train rows, test rows test
rows; a train row that another set measures on is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tactful.reading.tasks import Task, Tasks
from tactful_training.config.config_schema import DataConfig
from tactful_training.data.data_set import (
    SPLITS,
    AllowedGaps,
    DataSet,
    check_allowed,
    load_data_set,
    task_differences,
)
from tactful_training.data.labelled_row import Row
from tactful_training.data.near_duplicates import normalised
from tactful_training.errors import DataError

# What a model card takes over from the cards of its data: lists of which the union counts.
_LISTS = ("language", "tags", "annotations_creators", "language_creators")
_LICENCES = ("license", "license_name", "license_link")


@dataclass(frozen=True)
class Member:
    """One of the data sets.

    Attributes:
        data: the set.
        name: that of its folder, in letters that a path may hold; no other member has it.
        weight: what one of its rows weighs in the loss, beside those of the others.
    """

    data: DataSet
    name: str
    weight: float = 1.0

    @property
    def prefix(self) -> str:
        """What stands before the ids and groups of its rows where there are several sets."""
        return f"{self.name}/"

    @property
    def title(self) -> str:
        """What its card calls it."""
        return str(self.data.card.front_matter.get("pretty_name", self.data.folder.name))

    @property
    def version(self) -> str | None:
        """The version that its card names, if it names one."""
        version = self.data.card.front_matter.get("version")
        return None if version is None else str(version)


@dataclass(frozen=True)
class JoinedRows:
    """The rows of a training.

    Attributes:
        rows: split to the rows of all sets, set after set.
        sizes: split to how many of them are each set's.
        left_out: for each train row that another set measures on, which one that is.
    """

    rows: Mapping[str, list[Row]]
    sizes: Mapping[str, tuple[int, ...]]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class JoinedSets:
    """The data sets of one training; mostly there is one.

    Attributes:
        members: in the order in which they were named.
        tasks: theirs together, in the order in which they are first named.
    """

    members: tuple[Member, ...]
    tasks: Tasks

    @property
    def name(self) -> str:
        """The names of all, joined by ``+``."""
        return "+".join(member.name for member in self.members)

    @property
    def places(self) -> str:
        """Their folders, as a message lists them."""
        return ", ".join(str(member.data.folder) for member in self.members)

    @property
    def digests(self) -> dict[str, str]:
        """File to sha256 (hex) of cards and splits; of several sets ``name/file``."""
        if len(self.members) == 1:
            return self.members[0].data.digests
        return {
            f"{member.name}/{file}": digest
            for member in self.members
            for file, digest in member.data.digests.items()
        }

    @property
    def front_matter(self) -> dict[str, Any]:
        """What a model card takes over: languages, tags, makers of all sets, and their licence.

        Licences that differ are "other", with the name of each.
        """
        cards = [dict(member.data.card.front_matter) for member in self.members]
        if len(cards) == 1:
            return cards[0]
        stated: dict[str, Any] = {}
        for key in _LISTS:
            given = [card[key] for card in cards if key in card]
            parts = [part if isinstance(part, list) else [part] for part in given]
            if parts:
                stated[key] = list(dict.fromkeys(value for part in parts for value in part))
        licences = [{key: card[key] for key in _LICENCES if key in card} for card in cards]
        if all(licence == licences[0] for licence in licences):
            return stated | licences[0]
        named = (
            f"{member.name}: {licence.get('license_name', licence.get('license', 'not stated'))}"
            for member, licence in zip(self.members, licences, strict=True)
        )
        return stated | {"license": "other", "license_name": "; ".join(named)}

    def to_json(self) -> dict[str, Any]:
        """What a manifest says of the data: names, versions, weights, digests."""
        if len(self.members) == 1:
            version = self.members[0].version
            said = {} if version is None else {"version": version}
            return {"name": self.name, **said, "sha256": self.digests}
        sets = [
            {"name": member.name, "version": member.version, "weight": member.weight}
            for member in self.members
        ]
        return {"name": self.name, "sets": sets, "sha256": self.digests}

    def splits(self, allowed: AllowedGaps, limit: int | None = None) -> JoinedRows:
        """Read all splits of all sets for a training.

        Ids and groups of several sets get the name of their set before them, so that those of one
        are never taken for those of another.

        Args:
            allowed: the tasks that files need not speak of, as ``data.allow_missing_tasks``.
            limit: rows of each split of each set; None takes all.

        Raises:
            DataError: as for `DataSet.splits`.
        """
        check_allowed(allowed, self.tasks)
        read = [
            {split: rows[:limit] for split, rows in member.data.splits(allowed).items()}
            for member in self.members
        ]
        left_out: list[str] = []
        if len(self.members) > 1:
            read = [
                {split: self._own(rows, member) for split, rows in each.items()}
                for member, each in zip(self.members, read, strict=True)
            ]
            left_out = _keep_apart(read)
        return JoinedRows(
            rows={split: [row for each in read for row in each[split]] for split in SPLITS},
            sizes={split: tuple(len(each[split]) for each in read) for split in SPLITS},
            left_out=tuple(left_out),
        )

    def weights(self, sizes: Sequence[int]) -> NDArray[np.float32]:
        """What each row weighs in the loss, 1 on average.

        Args:
            sizes: how many rows each set has.
        """
        given = np.repeat(np.array([member.weight for member in self.members]), sizes)
        weights: NDArray[np.float32] = (given / given.mean()).astype(np.float32)
        return weights

    def _own(self, rows: Sequence[Row], member: Member) -> list[Row]:
        return [
            replace(
                row,
                id=member.prefix + row.id,
                group=member.prefix + row.group,
                labels={task.name: row.labels.get(task.name) for task in self.tasks},
            )
            for row in rows
        ]


def load_sets(config: DataConfig) -> JoinedSets:
    """Open the data sets that a config names; their splits are read when they are asked for.

    Raises:
        DataError: one cannot be opened, or they do not fit together, see `join_sets`.
    """
    return join_sets([(load_data_set(each.folder), each.weight) for each in config.folders])


def join_sets(sets: Sequence[tuple[DataSet, float]]) -> JoinedSets:
    """Put data sets side by side.

    Args:
        sets: each with what its rows weigh.

    Raises:
        DataError: one is named twice, or tasks of one name differ; all differences are named.
    """
    members: list[Member] = []
    tasks: dict[str, Task] = {}
    problems: list[str] = []
    for data, weight in sets:
        for member in members:
            if member.data.folder.resolve() == data.folder.resolve():
                raise DataError(
                    f"data.folder names {data.folder} more than once; name it once, with a weight"
                )
        for task in data.tasks:
            first = tasks.setdefault(task.name, task)
            where = next(
                (member for member in members if task.name in _names(member.data.tasks)), None
            )
            if where is not None:
                problems += task_differences(first, task, str(where.data.folder), str(data.folder))
        members.append(Member(data, _free_name(data, members), weight))
    if problems:
        lines = "".join(f"\n  - {problem}" for problem in problems)
        raise DataError(
            f"the data sets do not mean the same tasks:{lines}\nWhere a label was renamed, rename "
            "it in card and rows of one of them; where a task is another one, give it another name"
        )
    return JoinedSets(tuple(members), Tasks(tuple(tasks.values())))


def _names(tasks: Tasks) -> set[str]:
    return {task.name for task in tasks}


def _free_name(data: DataSet, members: Sequence[Member]) -> str:
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", data.folder.resolve().name) or "data"
    taken = {member.name for member in members}
    names = (plain if number == 1 else f"{plain}-{number}" for number in range(1, len(taken) + 2))
    return next(name for name in names if name not in taken)


def _keep_apart(read: Sequence[dict[str, list[Row]]]) -> list[str]:
    """Take train rows away that another set measures on; for each, which one that is."""
    measured: dict[tuple[str, str], tuple[int, str]] = {}
    for number, each in enumerate(read):
        for split in SPLITS[1:]:
            for row in each[split]:
                measured.setdefault(said(row), (number, f"{split} row {row.id!r}"))
    left_out: list[str] = []
    for number, each in enumerate(read):
        kept = []
        for row in each["train"]:
            owner, where = measured.get(said(row), (number, ""))
            if owner == number:  # within one set it is for its own check to say
                kept.append(row)
            else:
                left_out.append(f"train row {row.id!r} is {where}")
        each["train"] = kept
    return left_out


def said(row: Row) -> tuple[str, str]:
    """What two rows have in common that say the same, in whatever case and spacing."""
    return normalised(row.context or ""), normalised(row.reply)
