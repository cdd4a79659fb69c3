"""Evaluation of decisions, scores and evidence on labelled rows, with 95% intervals.

`evaluate_answers` works on arrays, so that a model in training, a bundle (`evaluate_classifier`)
and a baseline are measured by the same code.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tactful.classifier import Classifier
from tactful.reading.decisions import Heads
from tactful.reading.readings import Reading
from tactful.reading.tasks import Task, Tasks
from tactful_training.data.labelled_row import Row
from tactful_training.errors import DataError
from tactful_training.evaluation.bootstrap import RESAMPLES, Estimate, Floats, Resamples
from tactful_training.evaluation.decisions_on_rows import Answers, answers_of
from tactful_training.evaluation.evaluation_results import (
    MACRO_OF_ALL,
    Bin,
    Confusion,
    Evaluation,
    LabelResult,
    TaskResult,
    number,
)
from tactful_training.evaluation.quality_metrics import (
    Spans,
    average_precision_statistic,
    calibration_bins,
    calibration_statistic,
    decision_counts,
    decision_statistic,
    evidence_counts,
    evidence_tasks,
    overlap_statistic,
    ratio,
    span_counts,
)
from tactful_training.evaluation.slices import evaluate_slices, slice_columns

# Least rows of a label that macro F1 counts: below, one row more or less moves F1 by tenths.
LEAST_ROWS = {"multilabel": 10, "single": 5}
_PER_LABEL = ("precision", "recall", "f1", "average_precision")


def evaluate_classifier(
    classifier: Classifier,
    rows: Sequence[Row],
    tasks: Tasks | None = None,
    *,
    slices: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Evaluation:
    """Evaluate a loaded bundle.

    Args:
        classifier: the bundle.
        rows: labelled rows.
        tasks: those of the bundle's tasks that the rows know; all of them by default.
        slices: as for `evaluate_answers`.
        resamples: as for `evaluate_answers`.
        seed: as for `evaluate_answers`.

    Raises:
        DataError: as for `evaluate_answers`.
    """
    readings = classifier.classify_many((row.reply, row.context) for row in rows)
    return evaluate_readings(
        readings,
        rows,
        classifier.engine.heads,
        tasks,
        slices=slices,
        resamples=resamples,
        seed=seed,
    )


def evaluate_readings(
    readings: Iterable[Reading],
    rows: Sequence[Row],
    heads: Heads,
    tasks: Tasks | None = None,
    *,
    slices: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Evaluation:
    """Evaluate readings of the rows, in their order; the arguments are as elsewhere here."""
    answers = answers_of(readings, rows, heads, tasks)
    return evaluate_answers(answers, slices=slices, resamples=resamples, seed=seed)


def evaluate_answers(
    answers: Answers,
    *,
    slices: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Evaluation:
    """Evaluate decisions and calibrated scores.

    A row whose task is unknown takes no part in that task; rows of one group are resampled
    together.

    Args:
        answers: what a system says of labelled rows.
        slices: columns to slice the rows by, none if empty; see `slice_columns`.
        resamples: how many resamples intervals are made of; 0 leaves them undefined.
        seed: fixes the resamples.

    Raises:
        DataError: there are no rows, no row knows any of the tasks, or no row has a column.
    """
    rows, tasks, truth = answers.rows, answers.tasks, answers.truth
    names = [task.name for task in tasks]
    if not rows:
        raise DataError("there are no rows to evaluate")
    columns = slice_columns(rows, slices)
    drawn = Resamples([row.group for row in rows], count=resamples, seed=seed)
    results = {}
    for task in tasks:
        at = tasks.slices[task.name]
        if not np.isnan(truth[:, at]).all():
            results[task.name] = _evaluate_task(
                task,
                truth[:, at],
                answers.scores[:, at],
                answers.decisions[:, at],
                answers.thresholds,
                _evidence_of_labels(answers, task, drawn),
                drawn,
            )
    if not results:
        raise DataError(
            f"no row has labels of the tasks {', '.join(names)}; nothing can be evaluated"
        )
    measured = evaluate_slices(tasks, truth, answers.decisions, columns, drawn)
    return Evaluation(
        n=len(rows),
        groups=drawn.size,
        resamples=resamples,
        seed=seed,
        tasks=results,
        evidence=evaluate_evidence(answers, results, drawn),
        slices={name: found for name, found in measured.items() if name in results},
        answers=answers,
    )


def _evaluate_task(
    task: Task,
    truth: NDArray[np.float32],
    scores: NDArray[Any],
    decisions: NDArray[np.bool_],
    thresholds: Mapping[tuple[str, str], float],
    evidence: Mapping[str, Mapping[str, Estimate]],
    drawn: Resamples,
) -> TaskResult:
    support = np.nansum(truth, axis=0)
    counted = support >= LEAST_ROWS[task.kind]
    counts = drawn.sums(decision_counts(truth, decisions))
    *per_label, macro, micro = drawn.estimates(decision_statistic(counts, counted))
    macro_of_all = macro
    if not counted.all():
        *_, macro_of_all, _ = drawn.estimates(decision_statistic(counts, np.ones_like(counted)))
    per_label += drawn.estimates(average_precision_statistic(truth, scores, drawn))
    size = len(task.labels)
    labels = {
        label: LabelResult(
            support=int(support[index]),
            threshold=thresholds.get((task.name, label)),
            too_rare=not counted[index],
            estimates=dict(zip(_PER_LABEL, per_label[index::size], strict=True)),
            evidence=evidence.get(label),
        )
        for index, label in enumerate(task.labels)
    }
    if task.kind == "single":
        headline = {"accuracy": micro, "macro_f1": macro, MACRO_OF_ALL: macro_of_all}
    else:
        headline = {"macro_f1": macro, "micro_f1": micro, MACRO_OF_ALL: macro_of_all}
    bins = calibration_bins(*said(task, truth, scores), drawn)
    return TaskResult(
        n=int((~np.isnan(truth).any(axis=1)).sum()),
        headline=headline,
        labels=labels,
        ece=drawn.error_estimate(calibration_statistic(bins)),
        reliability=_reliability(bins, drawn),
        confusion=_confusion(task, truth, decisions, drawn) if task.kind == "single" else None,
    )


def said(
    task: Task, truth: NDArray[Any], scores: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """What is said with some confidence, and whether it is so: both ``[R, C]``.

    Every label of a multilabel task (``C`` = its labels), the decision of a single one (``C`` = 1).
    """
    if task.kind == "multilabel":
        return scores, truth
    best = scores.argmax(axis=1)[:, None]
    return np.take_along_axis(scores, best, axis=1), np.take_along_axis(truth, best, axis=1)


def _reliability(bins: Floats, drawn: Resamples) -> list[Bin]:
    edges = np.linspace(0, 1, len(bins[0]) + 1)
    numbers, said, true = np.moveaxis(bins, 2, 0)
    frequencies = drawn.estimates(lambda weights: ratio(weights @ true, weights @ numbers))
    confidences = ratio(said.sum(axis=0), numbers.sum(axis=0))
    return [
        Bin(float(start), float(end), int(n), number(confidence), frequency)
        for start, end, n, confidence, frequency in zip(
            edges[:-1], edges[1:], numbers.sum(axis=0), confidences, frequencies, strict=True
        )
    ]


def _confusion(
    task: Task, truth: NDArray[np.float32], decisions: NDArray[np.bool_], drawn: Resamples
) -> Confusion:
    size = len(task.labels)
    cells = (truth == 1)[:, :, None] & decisions[:, None, :]
    counts = drawn.sums(cells.reshape(len(truth), size * size))

    def shares(weights: Floats) -> Floats:
        table = (weights @ counts).reshape(-1, size, size)
        return ratio(table, table.sum(axis=2, keepdims=True).repeat(size, axis=2)).reshape(
            -1, size * size
        )

    estimates = drawn.estimates(shares)
    totals = counts.sum(axis=0).astype(int).tolist()
    return Confusion(
        task.names,
        counts=[totals[row * size : (row + 1) * size] for row in range(size)],
        shares=[estimates[row * size : (row + 1) * size] for row in range(size)],
    )


def evaluate_evidence(
    answers: Answers, tasks: Iterable[str], drawn: Resamples
) -> dict[str, Estimate] | None:
    """Figures over the tasks that have marked words, None without any.

    Token F1, precision and recall, and F1 of spans that overlap by half or more.
    """
    marked = evidence_tasks(answers.rows) & set(tasks)
    if not marked or answers.spans is None:
        return None
    return _evidence_figures(answers, answers.spans, drawn, marked)


def _evidence_of_labels(
    answers: Answers, task: Task, drawn: Resamples
) -> dict[str, dict[str, Estimate]]:
    """The same for each label of a task that has marked words; nothing for another task."""
    if answers.spans is None or task.name not in evidence_tasks(answers.rows):
        return {}
    return {
        label: _evidence_figures(answers, answers.spans, drawn, {task.name}, label)
        for label in task.names
    }


def _evidence_figures(
    answers: Answers,
    found: Sequence[Spans],
    drawn: Resamples,
    tasks: Collection[str],
    label: str | None = None,
) -> dict[str, Estimate]:
    words = drawn.sums(evidence_counts(answers.rows, found, tasks, label))
    precision, recall, f1 = drawn.estimates(overlap_statistic(words))
    spans = drawn.sums(span_counts(answers.rows, found, tasks, label))
    *_, iou_f1 = drawn.estimates(overlap_statistic(spans))
    return {"token_f1": f1, "token_precision": precision, "token_recall": recall, "iou_f1": iou_f1}
