"""A data set: a card and the splits beside it; or a file of rows alone, for an evaluation."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path

from tactful.reading.tasks import Task, Tasks
from tactful_training.config.shipped_files import find_data_set
from tactful_training.data.data_card import CARD, ORIGINALS, Card, read_card
from tactful_training.data.labelled_row import Row
from tactful_training.data.row_files import SUFFIXES, ScannedRows, are_rows, scan_rows
from tactful_training.errors import DataError

SPLITS = ("train", "validation", "test")
AllowedGaps = Sequence[str] | Mapping[str, Sequence[str]]
"""Tasks that may be unknown in a whole file: of every split, or by the name of the split."""


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

    def split(self, name: str) -> list[Row]:
        """Read the rows of a split, some of whose tasks may be unknown in all of it.

        Raises:
            DataError: there is no such split, or a row cannot be used.
        """
        return self.scan(name).usable()

    def scan(
        self, name: str, *, require_labels: bool = True, delimiter: str | None = None
    ) -> ScannedRows:
        """Read the rows of a split as `scan_rows` does.

        Raises:
            DataError: there is no such split, or its file cannot be read.
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
        return scan_rows(
            self.files[name], self.tasks, require_labels=require_labels, delimiter=delimiter
        )

    def splits(self, allowed: AllowedGaps) -> dict[str, list[Row]]:
        """Read all three splits for a training.

        Args:
            allowed: the tasks that files need not speak of, as ``data.allow_missing_tasks``.

        Raises:
            DataError: one is not there, a row cannot be used, or a file says nothing of a task that
                it should speak of.
        """
        scans = {name: self.scan(name) for name in SPLITS}
        rows = {name: scan.usable() for name, scan in scans.items()}
        lacking = lacking_tasks(scans, allowed, self.tasks)
        if lacking:
            lines = "".join(f"\n  - {line}" for line in lacking)
            raise DataError(
                f"{self.folder} does not speak of all tasks of its card:{lines}\nWhere a task is "
                "meant to be unknown in a whole file, name it in data.allow_missing_tasks"
            )
        return rows

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
        present = [path for suffix in SUFFIXES if (path := found / f"{split}{suffix}").exists()]
        if len(present) > 1:
            names = ", ".join(path.name for path in present)
            raise DataError(f"{found} has the split {split!r} more than once: {names}; keep one")
        if present and not present[0].is_file():
            raise DataError(
                f"{present[0]} is no regular file; a split is read more than once: save what it "
                "gives under this name"
            )
        if present:
            files[split] = present[0]
    return DataSet(card=read_card(found), folder=found, files=files)


def lacking_tasks(
    scans: Mapping[str, ScannedRows], allowed: AllowedGaps, tasks: Tasks
) -> list[str]:
    """A line for each file and task of which it says nothing, those that are allowed aside."""
    gaps = _gaps(allowed)
    return [
        line
        for split, scan in scans.items()
        for task, line in scan.lacking.items()
        if task not in gaps.get(split, ())
    ]


def check_allowed(allowed: AllowedGaps, tasks: Tasks) -> None:
    """Check that ``data.allow_missing_tasks`` speaks of tasks and splits that there are.

    Raises:
        DataError: it names no task, or no split.
    """
    gaps = _gaps(allowed)
    names = [task.name for task in tasks]
    for kind, given, known in (
        ("split", gaps, SPLITS),
        ("task", (name for each in gaps.values() for name in each), names),
    ):
        for name in given:
            if name not in known:
                near = get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"allowed: {_listed(known)}"
                raise DataError(f"data.allow_missing_tasks: unknown {kind} {name!r}; {hint}")


def _gaps(allowed: AllowedGaps) -> Mapping[str, Sequence[str]]:
    return allowed if isinstance(allowed, Mapping) else dict.fromkeys(SPLITS, allowed)


@dataclass(frozen=True)
class LabelledData:
    """What an evaluation needs of the data.

    Attributes:
        rows: the rows to evaluate on.
        tasks: the model's tasks that the data declares, in the model's order.
        data_set: where the rows are a split of; None where they are a file of their own.
        lacking: a line for each of the tasks of which no row says anything.
    """

    rows: list[Row]
    tasks: Tasks
    data_set: DataSet | None
    lacking: tuple[str, ...] = ()


def load_labelled(
    data: str | Path,
    split: str,
    known: Tasks,
    *,
    require_labels: bool = True,
    delimiter: str | None = None,
) -> LabelledData:
    """Read rows to evaluate a model on.

    Args:
        data: the folder of a data set, or a file of rows. A file is read by the tasks of the card
            in its folder; where none lies there, by ``known``.
        split: which rows of a folder; a file is read whole.
        known: the tasks of the model.
        require_labels: whether a row must say something of its labels.
        delimiter: of CSV files; None finds it.

    Raises:
        DataError: the data cannot be read, has none of the tasks, or its card gives a task of the
            same name another kind or other labels.
    """
    path, data_set = Path(data), None
    if are_rows(path):
        declared = read_card(path.parent).tasks if _has_card(path.parent) else known
        tasks = common_tasks(declared, known, path)
        scan = scan_rows(path, declared, require_labels=require_labels, delimiter=delimiter)
    else:
        data_set = load_data_set(data)
        tasks = common_tasks(data_set.tasks, known, data_set.card.path)
        scan = data_set.scan(split, require_labels=require_labels, delimiter=delimiter)
    lacking = tuple(scan.lacking[task.name] for task in tasks if task.name in scan.lacking)
    return LabelledData(scan.usable(), tasks, data_set, lacking)


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
