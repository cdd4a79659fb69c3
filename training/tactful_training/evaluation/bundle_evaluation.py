"""Evaluation of decisions, scores and evidence on labelled rows, with 95% intervals.

`evaluate_answers` works on arrays, so that a model in training, a bundle (`evaluate_classifier`)
and a baseline are measured by the same code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tactful.classifier import Classifier
from tactful.reading.readings import Reading
from tactful.reading.tasks import Task, Tasks
from tactful_training.data.labelled_row import Row
from tactful_training.errors import DataError
from tactful_training.evaluation.bootstrap import RESAMPLES, Doubles, Estimate, Resamples
from tactful_training.evaluation.decisions_on_rows import Answers, answers_by
from tactful_training.evaluation.evaluation_results import (
    Bin,
    Confusion,
    Evaluation,
    LabelResult,
    TaskResult,
    number,
)
from tactful_training.evaluation.evidence_metrics import evidence_counts, marked_tasks, span_counts
from tactful_training.evaluation.quality_metrics import (
    TaskFigures,
    calibration_bins,
    calibration_statistic,
    confidences,
    overlap_statistic,
    ratio,
)
from tactful_training.evaluation.slices import evaluate_slices, slice_columns


def evaluate_classifier(
    classifier: Classifier,
    rows: Sequence[Row],
    tasks: Tasks | None = None,
    *,
    slices: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    follow: Callable[[Iterable[Reading]], Iterable[Reading]] = iter,
) -> Evaluation:
    """Evaluate a loaded bundle; the arguments are those of `answers_by` and `evaluate_answers`.

    Raises:
        DataError: as for `evaluate_answers`.
    """
    answers = answers_by(classifier, rows, tasks, follow=follow)
    return evaluate_answers(answers, slices=slices, resamples=resamples)


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
    if not rows:
        raise DataError("there are no rows to evaluate")
    columns = slice_columns(rows, slices)
    drawn = Resamples([row.group for row in rows], count=resamples, seed=seed)
    evidence = evaluate_evidence(answers, drawn)
    results = {
        task.name: _evaluate_task(task, answers, evidence, drawn)
        for task in tasks
        if not np.isnan(truth[:, tasks.slices[task.name]]).all()
    }
    if not results:
        names = ", ".join(task.name for task in tasks)
        raise DataError(f"no row has labels of the tasks {names}; nothing can be evaluated")
    measured = evaluate_slices(tasks, truth, answers.decisions, columns, drawn)
    return Evaluation(
        n=len(rows),
        groups=drawn.size,
        resamples=resamples,
        seed=seed,
        tasks=results,
        evidence=evidence.get(None),
        slices={name: found for name, found in measured.items() if name in results},
        answers=answers,
    )


def _evaluate_task(
    task: Task,
    answers: Answers,
    evidence: Mapping[tuple[str, str] | None, dict[str, Estimate]],
    drawn: Resamples,
) -> TaskResult:
    at = answers.tasks.slices[task.name]
    truth, scores = answers.truth[:, at], answers.scores[:, at]
    decisions = answers.decisions[:, at]
    figures = TaskFigures(task, truth, drawn)
    headline, per_label = figures.named(drawn.estimates(figures.statistic(scores, decisions)))
    bins = calibration_bins(*confidences(task, truth, scores), drawn)
    return TaskResult(
        n=int((~np.isnan(truth).any(axis=1)).sum()),
        headline=headline,
        labels={
            label: LabelResult(
                support=int(figures.support[index]),
                threshold=answers.thresholds.get((task.name, label)),
                too_rare=not figures.counted[index],
                estimates=per_label[label],
                evidence=evidence.get((task.name, label)),
            )
            for index, label in enumerate(task.names)
        },
        ece=drawn.error_estimate(calibration_statistic(bins)),
        reliability=_reliability(bins, drawn),
        confusion=_confusion(task, truth, decisions, drawn) if task.kind == "single" else None,
    )


def _reliability(bins: Doubles, drawn: Resamples) -> list[Bin]:
    edges = np.linspace(0, 1, len(bins[0]) + 1)
    numbers, said, true = np.moveaxis(bins, 2, 0)
    frequencies = drawn.estimates(lambda weights: ratio(weights @ true, weights @ numbers))
    means = ratio(said.sum(axis=0), numbers.sum(axis=0))
    return [
        Bin(float(start), float(end), int(n), number(mean), frequency)
        for (start, end), n, mean, frequency in zip(
            pairwise(edges), numbers.sum(axis=0), means, frequencies, strict=True
        )
    ]


def _confusion(
    task: Task, truth: NDArray[np.float32], decisions: NDArray[np.bool_], drawn: Resamples
) -> Confusion:
    size = len(task.labels)
    cells = (truth == 1)[:, :, None] & decisions[:, None, :]
    counts = drawn.sums(cells.reshape(len(truth), size * size))

    def shares(weights: Doubles) -> Doubles:
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
    answers: Answers, drawn: Resamples
) -> dict[tuple[str, str] | None, dict[str, Estimate]]:
    """Figures of all marked words together (None), and of each label of their tasks.

    Token F1, precision and recall, and F1 of spans that overlap by half or more; nothing where no
    words are marked or the system finds none by design.
    """
    tasks = marked_tasks(answers.rows, answers.tasks)
    if tasks is None or answers.spans is None:
        return {}
    words, spans = (
        drawn.estimates(overlap_statistic(drawn.sums(count(answers.rows, answers.spans, tasks))))
        for count in (evidence_counts, span_counts)
    )
    size = tasks.size + 1
    return {
        key: {
            "token_f1": words[2 * size + index],
            "token_precision": words[index],
            "token_recall": words[size + index],
            "iou_f1": spans[2 * size + index],
        }
        for index, key in enumerate([*tasks.columns, None])
    }
