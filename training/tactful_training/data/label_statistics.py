"""Which labels occur together, and whether there are enough of each to learn and to measure it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tactful.reading.tasks import Tasks
from tactful.report.intervals import Estimate, wilson
from tactful_training.data.label_counts import SplitCounts
from tactful_training.data.labelled_row import Row, targets
from tactful_training.data.row_checks import Found

LEARNABLE = 20
"""Rows of a label in the train split below which little is learnt of it. As many as a label needs
in the validation split for a threshold of its own (``calibration.min_positives``)."""
MEASURABLE = {"multilabel": 10, "single": 5}
"""Rows of a label, by the kind of its task, below which macro F1 leaves it out."""
ASSUMED_RECALL = 0.8
"""A good label's recall, of which the width of the interval is told."""
# Jaccard index of the rows of two labels from which one of them may be superfluous.
_TOGETHER = 0.9


@dataclass(frozen=True)
class LabelStatistics:
    """What the rows of all splits say of the labels.

    Attributes:
        labels: task and label, in the order of the label axis ``L``.
        together: int ``[L, L]``, rows that have both; on the diagonal rows that have the label.
        recall: split other than train to task to label to the 95% interval that a recall of
            `ASSUMED_RECALL` would have; None where no row has the label.
    """

    labels: tuple[tuple[str, str], ...]
    together: NDArray[np.int64]
    recall: Mapping[str, Mapping[str, Mapping[str, Estimate | None]]]

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it: only pairs that occur, and the width of each interval."""
        names = [f"{task}/{label}" for task, label in self.labels]
        return {
            "together": {
                name: {
                    names[other]: int(count)
                    for other, count in enumerate(self.together[at])
                    if count and other != at
                }
                for at, name in enumerate(names)
            },
            "recall_interval_width": {
                split: {
                    task: {
                        label: None if each is None else round(each.high - each.low, 4)
                        for label, each in labels.items()
                    }
                    for task, labels in tasks.items()
                }
                for split, tasks in self.recall.items()
            },
        }


def label_statistics(
    splits: Mapping[str, Sequence[Row]], counts: Mapping[str, SplitCounts], tasks: Tasks
) -> LabelStatistics:
    """Count what occurs together, and how well each label could be measured.

    Args:
        splits: split to its usable rows.
        counts: the same, counted.
        tasks: the tasks of the label axis.
    """
    table = targets([row for rows in splits.values() for row in rows], tasks)
    has = np.nan_to_num(table).astype(np.int64)
    recall = {
        split: {
            task: {label: _recall(count) for label, count in labels.items()}
            for task, labels in counted.labels.items()
        }
        for split, counted in counts.items()
        if split != "train"
    }
    return LabelStatistics(tuple(tasks.columns), has.T @ has, recall)


def _recall(count: int) -> Estimate | None:
    if not count:
        return None
    low, high = wilson(np.array([ASSUMED_RECALL]), np.array([float(count)]))
    return Estimate(ASSUMED_RECALL, float(low[0]), float(high[0]), count)


def check_labels(
    statistics: LabelStatistics, counts: Mapping[str, SplitCounts], tasks: Tasks
) -> Iterator[Found]:
    """Labels of which there are too few, and pairs that say the same.

    Args:
        statistics: what `label_statistics` found.
        counts: split to its counts.
        tasks: the tasks of the label axis.
    """
    for split, counted in counts.items():
        for task in tasks:
            for label, count in counted.labels[task.name].items():
                yield from _enough(split, task.name, task.kind, label, count, statistics)
    for task in tasks:
        if task.kind != "multilabel":
            continue
        at = tasks.slices[task.name]
        both = statistics.together[at, at]
        single = both.diagonal()
        for one, name in enumerate(task.names):
            for other in range(one + 1, len(task.names)):
                either = single[one] + single[other] - both[one, other]
                if both[one, other] >= LEARNABLE and both[one, other] >= _TOGETHER * either:
                    yield Found(
                        "labels_together",
                        f"{task.name}: {name!r} and {task.names[other]!r}, in {both[one, other]} "
                        f"of {either} rows that have either",
                    )


def _enough(
    split: str, task: str, kind: str, label: str, count: int, statistics: LabelStatistics
) -> Iterator[Found]:
    if not count:
        yield Found("labels_absent", f"{split}: {task} {label!r}")
    elif split == "train":
        if count < LEARNABLE:
            text = f"{split}: {task} {label!r}: {count} rows, at least {LEARNABLE} are wanted"
            yield Found("labels_few_to_learn", text)
    elif count < MEASURABLE[kind]:
        interval = statistics.recall[split][task][label]
        assert interval is not None  # there are rows
        yield Found(
            "labels_few_to_measure",
            f"{split}: {task} {label!r}: {count} rows, at least {MEASURABLE[kind]} are wanted; a "
            f"recall of {ASSUMED_RECALL:.0%} would be measured as {100 * interval.low:.0f} to "
            f"{100 * interval.high:.0f}%",
        )
