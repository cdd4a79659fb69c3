"""Evaluation of decisions, scores and evidence on labelled rows, with 95% intervals.

`evaluate_rows` works on arrays, so that a model in training, a bundle (`evaluate_classifier`) and a
baseline are measured by the same code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tactful.classifier import Classifier
from tactful.decisions import Heads
from tactful.readings import LabelReading, Reading
from tactful.tasks import Task, Tasks
from tactful_training.bootstrap import RESAMPLES, Estimate, Resamples
from tactful_training.data.rows import Row, targets
from tactful_training.errors import DataError
from tactful_training.evaluation_result import (
    Bin,
    Evaluation,
    LabelResult,
    TaskResult,
    number,
)
from tactful_training.evidence_words import Spans, evidence_counts, evidence_tasks
from tactful_training.metrics import (
    average_precision_statistic,
    calibration_bins,
    calibration_statistic,
    decision_counts,
    decision_statistic,
    overlap_statistic,
    ratio,
)

# Least rows of a label that macro F1 counts: below, one row more or less moves F1 by tenths.
LEAST_ROWS = {"multilabel": 10, "single": 5}
_PER_LABEL = ("precision", "recall", "f1", "average_precision")


def evaluate_classifier(
    classifier: Classifier,
    rows: Sequence[Row],
    tasks: Tasks | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Evaluation:
    """Evaluate a loaded bundle.

    Args:
        classifier: the bundle.
        rows: labelled rows.
        tasks: those of the bundle's tasks that the rows know; all of them by default.
        resamples: as for `evaluate_rows`.
        seed: as for `evaluate_rows`.

    Raises:
        DataError: as for `evaluate_rows`.
    """
    readings = classifier.classify_many((row.reply, row.context) for row in rows)
    return evaluate_readings(
        readings, rows, classifier.bundle.heads, tasks, resamples=resamples, seed=seed
    )


def evaluate_readings(
    readings: Iterable[Reading],
    rows: Sequence[Row],
    heads: Heads,
    tasks: Tasks | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Evaluation:
    """Evaluate readings of the rows, in their order; the arguments are as elsewhere here."""
    tasks = tasks or heads.tasks
    scores = np.zeros((len(rows), tasks.size))
    decisions = np.zeros((len(rows), tasks.size), dtype=np.bool_)
    spans: list[Spans] = []
    for index, (reading, _) in enumerate(zip(readings, rows, strict=True)):
        for (task, label), column in tasks.columns.items():
            scores[index, column] = reading.scores[task][label]
        found: dict[tuple[str, str], list[tuple[int, int]]] = {}
        for each in tasks:
            decided = reading.labels[each.name]
            for label_reading in (decided,) if isinstance(decided, LabelReading) else decided:
                key = (each.name, label_reading.label)
                decisions[index, tasks.columns[key]] = True
                found[key] = [(span.start, span.end) for span in label_reading.evidence]
        spans.append(found)
    return evaluate_rows(
        rows,
        tasks,
        scores,
        decisions,
        spans,
        thresholds=_thresholds(heads, tasks),
        resamples=resamples,
        seed=seed,
    )


def evaluate_rows(
    rows: Sequence[Row],
    tasks: Tasks,
    scores: NDArray[Any],
    decisions: NDArray[np.bool_],
    spans: Sequence[Spans] | None,
    *,
    thresholds: Mapping[tuple[str, str], float] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Evaluation:
    """Evaluate decisions and calibrated scores.

    A row whose task is unknown takes no part in that task.

    Args:
        rows: labelled rows; those of one group are resampled together.
        tasks: the tasks of the label axis ``L``.
        scores: calibrated probabilities, ``[R, L]``.
        decisions: ``[R, L]``, exactly one of a single task.
        spans: for each row the spans of its decided labels; None from a system without evidence.
        thresholds: (task, label) to its threshold, only to be listed.
        resamples: how many resamples intervals are made of; 0 leaves them undefined.
        seed: fixes the resamples.

    Raises:
        DataError: there are no rows, or no row knows any of the tasks.
    """
    names = [task.name for task in tasks]
    if not rows:
        raise DataError("there are no rows to evaluate")
    drawn = Resamples([row.group for row in rows], count=resamples, seed=seed)
    truth = targets(rows, tasks)
    results = {}
    for task in tasks:
        at = tasks.slices[task.name]
        if not np.isnan(truth[:, at]).all():
            results[task.name] = _evaluate_task(
                task, truth[:, at], scores[:, at], decisions[:, at], thresholds or {}, drawn
            )
    if not results:
        raise DataError(
            f"no row has labels of the tasks {', '.join(names)}; nothing can be evaluated"
        )
    return Evaluation(
        n=len(rows),
        groups=drawn.size,
        resamples=resamples,
        seed=seed,
        tasks=results,
        evidence=None if spans is None else _evaluate_evidence(rows, spans, results, drawn),
    )


def _evaluate_task(
    task: Task,
    truth: NDArray[np.float32],
    scores: NDArray[Any],
    decisions: NDArray[np.bool_],
    thresholds: Mapping[tuple[str, str], float],
    drawn: Resamples,
) -> TaskResult:
    support = np.nansum(truth, axis=0)
    counted = support >= LEAST_ROWS[task.kind]
    counts = drawn.sums(decision_counts(truth, decisions))
    *per_label, macro, micro = drawn.estimates(decision_statistic(counts, counted))
    per_label += drawn.estimates(average_precision_statistic(truth, scores, drawn))
    size = len(task.labels)
    labels = {
        label: LabelResult(
            support=int(support[index]),
            threshold=thresholds.get((task.name, label)),
            too_rare=not counted[index],
            estimates=dict(zip(_PER_LABEL, per_label[index::size], strict=True)),
        )
        for index, label in enumerate(task.labels)
    }
    if task.kind == "single":
        headline = {"accuracy": micro, "macro_f1": macro}
        said = scores.argmax(axis=1)[:, None]
        confidence = np.take_along_axis(scores, said, axis=1)
        outcome = np.take_along_axis(truth, said, axis=1)
    else:
        headline = {"macro_f1": macro, "micro_f1": micro}
        confidence, outcome = scores, truth
    bins = calibration_bins(confidence, outcome, drawn)
    return TaskResult(
        n=int((~np.isnan(truth).any(axis=1)).sum()),
        headline=headline,
        labels=labels,
        ece=drawn.error_estimate(calibration_statistic(bins)),
        reliability=_reliability(bins.sum(axis=0)),
    )


def _reliability(bins: NDArray[np.float64]) -> list[Bin]:
    edges = np.linspace(0, 1, len(bins) + 1)
    means = ratio(bins[:, 1:], bins[:, :1].repeat(2, axis=1))
    return [
        Bin(float(start), float(end), int(n), number(confidence), number(frequency))
        for start, end, n, (confidence, frequency) in zip(
            edges[:-1], edges[1:], bins[:, 0], means, strict=True
        )
    ]


def _evaluate_evidence(
    rows: Sequence[Row],
    spans: Sequence[Spans],
    tasks: Iterable[str],
    drawn: Resamples,
) -> dict[str, Estimate] | None:
    marked = evidence_tasks(rows) & set(tasks)
    if not marked:
        return None
    counts = drawn.sums(evidence_counts(rows, spans, marked))
    precision, recall, f1 = drawn.estimates(overlap_statistic(counts))
    return {"token_f1": f1, "token_precision": precision, "token_recall": recall}


def _thresholds(heads: Heads, tasks: Tasks) -> dict[tuple[str, str], float]:
    known = {task.name for task in tasks}
    return {
        # The shortest decimals of the float32, as in the bundle's labels.json.
        (head.task.name, label): float(str(threshold))
        for head in heads.heads
        if head.task.name in known and head.thresholds is not None
        for label, threshold in zip(head.task.labels, head.thresholds, strict=True)
    }
