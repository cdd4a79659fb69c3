"""How many rows, groups and rows of each label a split holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from tactful.reading.tasks import Tasks
from tactful_training.data.labelled_row import Row

NO_LABEL = "(no label)"
"""Instead of labels where none of a multi-label task applies; a label may be called "none"."""


@dataclass(frozen=True)
class SplitCounts:
    """How much a split holds.

    Attributes:
        rows: usable rows.
        groups: different groups.
        labels: task to label to rows that have it.
        none: multi-label task to rows that have none of its labels.
        unknown: task to rows that do not say.
    """

    rows: int
    groups: int
    labels: dict[str, dict[str, int]]
    none: dict[str, int]
    unknown: dict[str, int]


def decided(row: Row) -> Iterator[tuple[str, str]]:
    """Task and label of everything that is said of a row."""
    for task, decided in row.labels.items():
        for label in (decided,) if isinstance(decided, str) else decided or ():
            yield task, label


def count_labels(rows: Sequence[Row], tasks: Tasks) -> SplitCounts:
    """What a split holds."""
    positives = Counter(pair for row in rows for pair in decided(row))
    return SplitCounts(
        rows=len(rows),
        groups=len({row.group for row in rows}),
        labels={
            task.name: {label: positives[task.name, label] for label in task.labels}
            for task in tasks
        },
        none={
            task.name: sum(row.labels[task.name] == () for row in rows)
            for task in tasks
            if task.kind == "multilabel"
        },
        unknown={task.name: sum(row.labels[task.name] is None for row in rows) for task in tasks},
    )


def counts_table(title: str, splits: Mapping[str, SplitCounts]) -> Table:
    """Rows, groups and labels of every split."""
    table = Table(title=title, title_justify="left")
    table.add_column("label")
    for name in splits:
        table.add_column(name, justify="right")
    for heading, numbers in _lines(list(splits.values())):
        table.add_row(Text(heading), *map(str, numbers), end_section=heading == "groups")
    return table


def _lines(splits: list[SplitCounts]) -> Iterator[tuple[str, list[int]]]:
    yield "rows", [split.rows for split in splits]
    yield "groups", [split.groups for split in splits]
    for task, labels in splits[0].labels.items():
        for label in labels:
            yield f"{task}: {label}", [split.labels[task][label] for split in splits]
        if task in splits[0].none:
            yield f"{task}: {NO_LABEL}", [split.none[task] for split in splits]
        if any(unknown := [split.unknown[task] for split in splits]):
            yield f"{task}: unknown", unknown
