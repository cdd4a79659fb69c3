"""What a system decides on labelled rows, as arrays or as a table; all else is measured on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tactful.classifier import Classifier
from tactful.reading.decisions import Heads
from tactful.reading.readings import Reading
from tactful.reading.tasks import Tasks
from tactful_training.data.labelled_row import Row, targets
from tactful_training.evaluation.bootstrap import Doubles
from tactful_training.evaluation.evidence_metrics import Spans


@dataclass(frozen=True, eq=False)
class Answers:
    """Decisions, scores and evidence on some rows.

    Attributes:
        rows: the rows.
        tasks: the tasks of the label axis ``L``.
        scores: calibrated probabilities, ``[R, L]``.
        decisions: ``[R, L]``, exactly one of a single task.
        spans: for each row the spans of its decided labels; None from a system without evidence.
        thresholds: (task, label) to the least score that decides it, where there is one.
    """

    rows: Sequence[Row]
    tasks: Tasks
    scores: Doubles
    decisions: NDArray[np.bool_]
    spans: Sequence[Spans] | None = None
    thresholds: Mapping[tuple[str, str], float] = field(default_factory=dict)

    @cached_property
    def truth(self) -> NDArray[np.float32]:
        """What is right, ``[R, L]`` of 1 and 0, NaN where a task is unknown."""
        return targets(self.rows, self.tasks)

    def part(self, rows: Sequence[int]) -> Answers:
        """What was said of some of the rows, by their places."""
        return replace(
            self,
            rows=[self.rows[row] for row in rows],
            scores=self.scores[rows],
            decisions=self.decisions[rows],
            spans=None if self.spans is None else [self.spans[row] for row in rows],
        )

    def decided(self, row: int, task: str) -> list[str]:
        """The labels that were decided for a row."""
        at = self.tasks.slices[task]
        names = self.tasks.named(task).names
        return [names[index] for index in np.flatnonzero(self.decisions[row, at])]


def answers_of(
    readings: Iterable[Reading], rows: Sequence[Row], heads: Heads, tasks: Tasks | None = None
) -> Answers:
    """Collect readings of the rows, in their order.

    Args:
        readings: one for each row.
        rows: the rows.
        heads: those of the bundle that read them.
        tasks: those of the bundle's tasks that count; all of them by default.
    """
    tasks = tasks or heads.tasks
    scores = np.zeros((len(rows), tasks.size))
    decisions = np.zeros((len(rows), tasks.size), dtype=np.bool_)
    spans: list[Spans] = []
    for index, (reading, _) in enumerate(zip(readings, rows, strict=True)):
        for (task, name), column in tasks.columns.items():
            scores[index, column] = reading.scores[task][name]
        found: dict[tuple[str, str], list[tuple[int, int]]] = {}
        for each in tasks:
            for label in reading.decided(each.name):
                key = (each.name, label.label)
                decisions[index, tasks.columns[key]] = True
                found[key] = [(span.start, span.end) for span in label.evidence]
        spans.append(found)
    return Answers(rows, tasks, scores, decisions, spans, thresholds_of(heads, tasks))


def answers_by(
    classifier: Classifier,
    rows: Sequence[Row],
    tasks: Tasks | None = None,
    *,
    follow: Callable[[Iterable[Reading]], Iterable[Reading]] = iter,
) -> Answers:
    """Read the rows with a bundle.

    Args:
        classifier: the bundle.
        rows: the rows.
        tasks: those of the bundle's tasks that count; all of them by default.
        follow: sees the readings as they come, to show progress.
    """
    # As they stand, as training learned from them: the labels were given to the whole text.
    readings = classifier.classify_many(((row.reply, row.context) for row in rows), format="text")
    return answers_of(follow(readings), rows, classifier.engine.heads, tasks)


def thresholds_of(heads: Heads, tasks: Tasks) -> dict[tuple[str, str], float]:
    """(task, label) to its threshold, for the multilabel tasks among ``tasks``."""
    known = {task.name for task in tasks}
    return {
        # The shortest decimals of the float32, as in the bundle's labels.json.
        (head.task.name, label): float(str(threshold))
        for head in heads.heads
        if head.task.name in known and head.thresholds is not None
        for label, threshold in zip(head.task.labels, head.thresholds, strict=True)
    }


def evaluation_rows(answers: Answers) -> dict[str, list[Any]]:
    """Column to its values: the row, then for each task what is right, what was decided, whether
    that is the same (None where the task is unknown).
    """
    columns: dict[str, list[Any]] = {
        "id": [row.id for row in answers.rows],
        "reply": [_printable(row.reply) for row in answers.rows],
        "context": [_printable(row.context or "") for row in answers.rows],
    }
    for task in answers.tasks:
        right = [row.labels[task.name] for row in answers.rows]
        known = [
            None if each is None else {each} if isinstance(each, str) else set(each)
            for each in right
        ]
        decided = [set(answers.decided(index, task.name)) for index in range(len(answers.rows))]
        columns[task.name] = [None if each is None else _joined(each) for each in known]
        columns[f"{task.name}_decided"] = [_joined(each) for each in decided]
        columns[f"{task.name}_right"] = [
            None if each is None else each == other
            for each, other in zip(known, decided, strict=True)
        ]
    return columns


def _joined(labels: set[str]) -> str:
    return "|".join(sorted(labels))


def _printable(text: str) -> str:
    """Without lone surrogates, which no file can hold."""
    return text.encode("utf-8", "replace").decode()
