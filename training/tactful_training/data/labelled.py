"""Labelled rows for an evaluation: from a data set, or from a file with or without a card."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tactful.reading.tasks import Task, Tasks
from tactful_training.data.cards import CARD, read_card
from tactful_training.data.records import SUFFIXES
from tactful_training.data.rows import DataSet, Row, load_data_set, read_rows
from tactful_training.errors import DataError


@dataclass(frozen=True)
class LabelledData:
    """What an evaluation needs of the data.

    Attributes:
        rows: the rows to evaluate on.
        tasks: the model's tasks that the data declares, in the model's order.
        data_set: where the rows are a split of; None where they are a file of their own.
    """

    rows: list[Row]
    tasks: Tasks
    data_set: DataSet | None


def load_labelled(
    data: str | Path, split: str, known: Tasks, *, require_labels: bool = True
) -> LabelledData:
    """Read rows to evaluate a model on.

    Args:
        data: the folder of a data set, or a file of rows. A file is read by the tasks of the card
            in its folder; where none lies there, by ``known``.
        split: which rows of a folder; a file is read whole.
        known: the tasks of the model.
        require_labels: whether a row must say something of its labels.

    Raises:
        DataError: the data cannot be read, has none of the tasks, or its card gives a task of the
            same name another kind or other labels.
    """
    path = Path(data)
    if os.path.isfile(path) or (path.suffix in SUFFIXES and not os.path.isdir(path)):
        declared = read_card(path.parent).tasks if _has_card(path.parent) else known
        tasks = common_tasks(declared, known, path)
        rows = read_rows(path, declared, require_labels=require_labels)
        return LabelledData(rows, tasks, None)
    data_set = load_data_set(data)
    tasks = common_tasks(data_set.tasks, known, data_set.card.path)
    rows = data_set.split(split, require_labels=require_labels)
    return LabelledData(rows, tasks, data_set)


def common_tasks(declared: Tasks, known: Tasks, where: object) -> Tasks:
    """The tasks that data and model share, in the model's order.

    Raises:
        DataError: they share none, or a shared one differs; names the differences.
    """
    ours = {task.name: task for task in declared}
    shared = tuple(task for task in known if task.name in ours)
    if not shared:
        raise DataError(
            f"{where} declares the tasks {_listed(ours)}, but the bundle was trained for "
            f"{_listed([task.name for task in known])}; evaluate on data with one of its tasks"
        )
    problems = [
        problem
        for task in shared
        for problem in task_differences(ours[task.name], task, "the data", "the bundle")
    ]
    if problems:
        lines = "".join(f"\n  - {problem}" for problem in problems)
        raise DataError(f"{where} and the bundle do not mean the same tasks:{lines}")
    return Tasks(shared)


def task_differences(one: Task, other: Task, where: str, elsewhere: str) -> list[str]:
    """A line for everything in which two tasks of one name differ; none if they are the same."""
    name = other.name
    if one.kind != other.kind:
        return [f"{name} is {one.kind} in {where} and {other.kind} in {elsewhere}"]
    only_one = [label for label in one.labels if label not in other.labels]
    only_other = [label for label in other.labels if label not in one.labels]
    return [
        f"{name}: labels only in {side}: {_listed(labels)}"
        for side, labels in ((where, only_one), (elsewhere, only_other))
        if labels
    ]


def _has_card(folder: Path) -> bool:
    """Whether a README.md declares tasks; any other README beside a file of rows is no card."""
    try:
        lines = (folder / CARD).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    return lines[:1] == ["---"] and any(line.startswith("tasks:") for line in lines)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
