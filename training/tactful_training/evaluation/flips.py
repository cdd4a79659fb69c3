"""Flips: replies that two bundles decide differently, how many there are and which to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tactful_training.evaluation.answers import Answers
from tactful_training.evaluation.slices import LEAST_ROWS

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
        return {
            "id": self.id,
            "reply": self.reply,
            "context": self.context,
            "task": self.task,
            "a": list(self.a),
            "b": list(self.b),
            "truth": None if self.truth is None else list(self.truth),
            "difference": round(self.difference, 6),
        }


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
