"""A comparison of two bundles on the same rows: what differs, which replies flip, and its JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tactful.classifier import Classifier
from tactful.reading.tasks import Tasks
from tactful_training.data.data_set import task_differences
from tactful_training.data.labelled_row import Row
from tactful_training.errors import DataError
from tactful_training.evaluation.bootstrap import LEVEL, RESAMPLES, Resamples
from tactful_training.evaluation.decisions_on_rows import Answers, answers_by
from tactful_training.evaluation.evaluation_results import estimate_to_dict
from tactful_training.evaluation.paired_differences import (
    Costs,
    Difference,
    TaskComparison,
    compare_evidence,
    compare_tasks,
    differences_to_dict,
    measure_costs,
)
from tactful_training.evaluation.slices import LEAST_ROWS, slice_columns

INFORMATIVE = 50


@dataclass(frozen=True)
class Flip:
    """One reply with what both bundles decide for a task.

    Attributes:
        row: index of the row.
        id: its id.
        reply: its text.
        context: what the customer said before, or None.
        task: the task.
        a: labels by A.
        b: labels by B.
        truth: what is right; None where that is not known.
        difference: largest difference of a score between both.
    """

    row: int
    id: str
    reply: str
    context: str | None
    task: str
    a: Sequence[str]
    b: Sequence[str]
    truth: Sequence[str] | None
    difference: float

    def to_dict(self) -> dict[str, Any]:
        """As in the JSON of ``tactful compare``."""
        content = asdict(self) | {"difference": round(self.difference, 6)}
        del content["row"]
        return content


@dataclass(frozen=True)
class FlipRate:
    """How often a label's decision differs.

    Attributes:
        gained: rows that have the label by B alone.
        lost: rows that have it by A alone.
        rate: both, as a share of all rows.
    """

    gained: int
    lost: int
    rate: float


def find_flips(a: Answers, b: Answers) -> list[Flip]:
    """Every (row, task) that both decide differently, largest difference of scores first."""
    flips = []
    for task in a.tasks:
        at = a.tasks.slices[task.name]
        rows = np.flatnonzero((a.decisions[:, at] != b.decisions[:, at]).any(axis=1))
        flips += [_flip(a, b, int(row), task.name) for row in rows]
    return sorted(flips, key=lambda flip: (-flip.difference, flip.id))


def flip_rates(a: Answers, b: Answers) -> dict[str, dict[str, FlipRate]]:
    """Task to label to how often it flips."""
    gained = (b.decisions & ~a.decisions).sum(axis=0)
    lost = (a.decisions & ~b.decisions).sum(axis=0)
    rates: dict[str, dict[str, FlipRate]] = {task.name: {} for task in a.tasks}
    for (task, label), column in a.tasks.columns.items():
        more, less = int(gained[column]), int(lost[column])
        rates[task][label] = FlipRate(more, less, (more + less) / len(a.rows))
    return rates


def flips_by_slice(
    a: Answers, b: Answers, columns: Mapping[str, Mapping[str, NDArray[np.bool_]]]
) -> dict[str, dict[str, dict[str, Any]]]:
    """Task to column to value to rows and the share of them that flips; none where too small."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for task in a.tasks:
        at = a.tasks.slices[task.name]
        flipped = (a.decisions[:, at] != b.decisions[:, at]).any(axis=1)
        found[task.name] = {
            column: {
                value: {
                    "n": int(mask.sum()),
                    "too_small": bool(mask.sum() < LEAST_ROWS),
                    "rate": float(flipped[mask].mean()) if mask.sum() >= LEAST_ROWS else None,
                }
                for value, mask in values.items()
            }
            for column, values in columns.items()
        }
    return found


def informative(a: Answers, b: Answers, count: int = INFORMATIVE) -> list[Flip]:
    """The unlabelled replies whose labels would say most about which bundle is better.

    Label by label in turn, the reply on which both bundles differ most about it, flips before mere
    differences of scores; each reply, and each group of replies, once.

    Args:
        a: answers of the first bundle.
        b: answers of the second.
        count: how many at most.
    """
    gaps = np.abs(a.scores - b.scores)
    flipped = a.decisions != b.decisions
    # A flip counts 1 more than any difference of scores could.
    worth = np.where(np.isnan(a.truth), gaps + flipped, -1.0)
    queues = {
        column: iter(np.argsort(-worth[:, column], kind="stable").tolist())
        for column in np.argsort(-worth.max(axis=0), kind="stable").tolist()
    }
    tasks = [task for task, _ in a.tasks.columns]
    chosen: list[Flip] = []
    groups: set[str] = set()
    while queues and len(chosen) < count:
        for column, queue in list(queues.items()):
            row = next((r for r in queue if a.rows[r].group not in groups), None)
            if row is None or worth[row, column] <= 0:
                del queues[column]
                continue
            groups.add(a.rows[row].group)
            chosen.append(_flip(a, b, row, tasks[column]))
            if len(chosen) == count:
                break
    return chosen


def _flip(a: Answers, b: Answers, row: int, task: str) -> Flip:
    at = a.tasks.slices[task]
    known = a.rows[row].labels[task]
    each = a.rows[row]
    return Flip(
        row,
        each.id,
        each.reply,
        each.context,
        task,
        a.decided(row, task),
        b.decided(row, task),
        None if known is None else [known] if isinstance(known, str) else list(known),
        float(np.abs(a.scores[row, at] - b.scores[row, at]).max()),
    )


@dataclass(frozen=True)
class Comparison:
    """Everything that two bundles differ in on some rows.

    Attributes:
        bundles: the ids of A and B.
        n: rows.
        groups: groups of rows, the unit that is resampled.
        resamples: behind each interval.
        tasks: by name, those that some row knows; differences are B minus A.
        evidence: token figures; empty where no words are marked.
        flips: replies that both decide differently.
        rates: task to label to how often it flips.
        slices: task to column to value to the share of rows that flip.
        informative: unlabelled replies worth reading; empty where all are labelled.
        costs: time and size of A and B, and how their times compare.
        answers: of A and B.
    """

    bundles: tuple[str, str]
    n: int
    groups: int
    resamples: int
    tasks: Mapping[str, TaskComparison]
    evidence: Mapping[str, Difference]
    flips: Sequence[Flip]
    rates: Mapping[str, Mapping[str, FlipRate]]
    slices: Mapping[str, Mapping[str, Mapping[str, Any]]]
    informative: Sequence[Flip]
    costs: Costs
    answers: tuple[Answers, Answers]

    def to_dict(self) -> dict[str, Any]:
        """The JSON of ``tactful compare``; what is undefined is null."""
        a, b = (
            {"bundle": bundle, **{key: round(v, 3) for key, v in asdict(cost).items()}}
            for bundle, cost in zip(self.bundles, (self.costs.a, self.costs.b), strict=True)
        )
        return {
            "a": a,
            "b": b,
            "slowdown": estimate_to_dict(self.costs.slowdown),
            "n": self.n,
            "tasks": {name: task.to_dict() for name, task in self.tasks.items()},
            "evidence": differences_to_dict(self.evidence) or None,
            "flips": {
                "replies": len({flip.row for flip in self.flips}),
                "rates": {
                    task: {label: asdict(rate) for label, rate in rates.items()}
                    for task, rates in self.rates.items()
                },
                "slices": self.slices,
                "rows": [flip.to_dict() for flip in self.flips],
            },
            "informative": [flip.to_dict() for flip in self.informative],
            "bootstrap": {"level": LEVEL, "resamples": self.resamples, "groups": self.groups},
        }


def compare(
    a: Classifier,
    b: Classifier,
    rows: Sequence[Row],
    tasks: Tasks,
    *,
    slices: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Run two bundles on the same rows, labelled or not.

    Args:
        a: the first, usually the one in use.
        b: the second.
        rows: the rows.
        tasks: what to compare, tasks of both.
        slices: columns to slice flips by; see `slice_columns`.
        resamples: of groups of rows, behind each interval.
        seed: fixes the resamples.

    Raises:
        DataError: there are no rows, or no row has a column.
    """
    if not rows:
        raise DataError("there are no rows to compare on")
    columns = slice_columns(rows, slices)
    first, second = (answers_by(each, rows, tasks) for each in (a, b))
    drawn = Resamples([row.group for row in rows], count=resamples, seed=seed)
    unlabelled = np.isnan(first.truth).any()
    return Comparison(
        bundles=(a.bundle.id, b.bundle.id),
        n=len(rows),
        groups=drawn.size,
        resamples=resamples,
        tasks=compare_tasks(first, second, drawn),
        evidence=compare_evidence(first, second, drawn),
        flips=find_flips(first, second),
        rates=flip_rates(first, second),
        slices=flips_by_slice(first, second, columns),
        informative=informative(first, second) if unlabelled else [],
        costs=measure_costs(a, b, rows),
        answers=(first, second),
    )


def shared_tasks(a: Classifier, b: Classifier) -> Tasks:
    """The tasks of both bundles, in the order of the second.

    Raises:
        DataError: they share none, or a shared one has another kind or other labels.
    """
    ours, theirs = a.bundle.heads.tasks, b.bundle.heads.tasks
    names = {task.name: task for task in ours}
    shared = [task for task in theirs if task.name in names]
    if not shared:
        raise DataError(
            f"{a.bundle.id} was trained for {', '.join(names)}, {b.bundle.id} for "
            f"{', '.join(task.name for task in theirs)}: bundles for other tasks cannot be compared"
        )
    problems = [
        line
        for task in shared
        for line in task_differences(names[task.name], task, a.bundle.id, b.bundle.id)
    ]
    if problems:
        listed = "".join(f"\n  - {line}" for line in problems)
        raise DataError(f"the bundles do not mean the same tasks:{listed}")
    return Tasks(tuple(shared))
