"""From raw logits to probabilities that mean what they say, fitted on the validation split.

Platt scaling (slope and intercept) for the labels of a multilabel task; for a single task one
temperature, after a shift against its frequent labels. Slopes and intercepts are pulled gently
towards what is known without the label's own rows, so that a few rows cannot bend a curve.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tactful.reading.batches import RowOutput
from tactful.reading.decisions import Floats, Heads, TaskHead, calibrated_scores, decide, sigmoid
from tactful.reading.encoding import EncodingLimits
from tactful.reading.tasks import Task, Tasks
from tactful_training.bundling.threshold_choice import (
    PULL,
    choose_evidence_thresholds,
    choose_prior_shift,
    choose_thresholds,
)
from tactful_training.data.labelled_row import Row, targets

# Strength of the pull, in rows.
_PULL = 1.0
# A slope below this would turn a label's scores into a constant: it counts as not fitted.
_LEAST_SLOPE = 0.1
_ITERATIONS = 50
_CONVERGED = 1e-8

Line = tuple[float, float]
"""Slope and intercept on a logit."""
IDENTITY: Line = (1.0, 0.0)


def calibrate(
    rows: Sequence[Row],
    outputs: Sequence[RowOutput],
    tasks: Tasks,
    *,
    limits: EncodingLimits,
    min_positives: int,
    threshold_pull: float = PULL,
    prior_shift: float | None = None,
    evidence_tasks: Collection[str],
) -> Heads:
    """Fit calibration, thresholds and evidence thresholds.

    Args:
        rows: the validation split.
        outputs: what the exported model says of each row.
        tasks: the tasks of the label axis.
        limits: those that the bundle is read with.
        min_positives: rows (positive ones, and as many that are not) that a label needs for
            values of its own; with fewer it takes those of its task's labels pooled.
        threshold_pull: positives at which a label's own best threshold and the pooled one weigh
            the same.
        prior_shift: multiple of its labels' log frequencies that is taken off a single task's
            logits; None chooses it.
        evidence_tasks: tasks whose token scores were trained on marked words.
    """
    table = targets(rows, tasks)
    logits = np.stack([output.logits for output in outputs])
    heads = []
    for task in tasks:
        at = tasks.slices[task.name]
        if task.kind == "single":
            heads.append(_fit_single(task, table[:, at], logits[:, at], prior_shift))
        else:
            heads.append(
                _fit_multilabel(task, table[:, at], logits[:, at], min_positives, threshold_pull)
            )
    calibrated = Heads(tuple(heads), limits)
    decisions = decide(calibrated_scores(logits, calibrated), calibrated)
    for index, head in enumerate(heads):
        if head.task.name in evidence_tasks:
            chosen = choose_evidence_thresholds(
                rows,
                outputs,
                decisions,
                tasks,
                head.task,
                min_positives=min_positives,
                pull=threshold_pull,
            )
            heads[index] = replace(head, evidence_thresholds=chosen)
    return Heads(tuple(heads), limits)


def fit_platt(logits: NDArray[np.floating[Any]], labels: NDArray[np.floating[Any]]) -> Line:
    """Slope and intercept of the logistic curve through labelled logits.

    Args:
        logits: ``[R]``, of about unit spread: that is the scale on which few rows are pulled
            towards a slope of 1 and an intercept of 0.
        labels: ``[R]``, 1 or 0.

    Returns:
        The line; `IDENTITY` where the labels contradict the logits.
    """
    design = np.stack([logits, np.ones_like(logits)], axis=1).astype(np.float64)
    y = labels.astype(np.float64)
    start = np.array(IDENTITY)
    line = start.copy()

    def objective(at: NDArray[np.float64]) -> float:
        z = design @ at
        return float(np.sum(np.logaddexp(0, z) - y * z) + _PULL / 2 * np.sum((at - start) ** 2))

    for _ in range(_ITERATIONS):
        p = np.exp(-np.logaddexp(0, -(design @ line)))
        gradient = design.T @ (p - y) + _PULL * (line - start)
        curvature = design.T @ (design * (p * (1 - p))[:, None]) + _PULL * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        # Newton's step may overshoot far from the optimum; halved, it descends for certain.
        while objective(line - step) > objective(line) and np.abs(step).max() > _CONVERGED:
            step /= 2
        line = line - step
        if np.abs(step).max() < _CONVERGED:
            break
    return (float(line[0]), float(line[1])) if line[0] >= _LEAST_SLOPE else IDENTITY


def fit_temperature(logits: NDArray[np.floating[Any]], labels: NDArray[np.floating[Any]]) -> float:
    """The slope (1 / temperature) under which a softmax fits best.

    Args:
        logits: ``[R, n]``, of about unit spread, as for `fit_platt`.
        labels: ``[R, n]``, one 1 in each row, else 0.
    """
    z = logits.astype(np.float64)
    slope = 1.0
    for _ in range(_ITERATIONS):
        powers = np.exp(slope * (z - z.max(axis=1, keepdims=True)))
        p = powers / powers.sum(axis=1, keepdims=True)
        mean = (p * z).sum(axis=1)
        gradient = float(np.sum(mean - (labels * z).sum(axis=1)) + _PULL * (slope - 1))
        curvature = float(np.sum((p * z**2).sum(axis=1) - mean**2) + _PULL)
        # The loss is convex in the slope; a step that would leave the positive ones is cut.
        step = min(gradient / curvature, slope / 2)
        slope -= step
        if abs(step) < _CONVERGED:
            break
    return max(slope, _LEAST_SLOPE)


def _fit_single(task: Task, table: Floats, logits: Floats, prior_shift: float | None) -> TaskHead:
    rows = ~np.isnan(table).any(axis=1)
    unit = _spread(logits[rows] - logits[rows].mean(axis=1, keepdims=True))
    slope = fit_temperature(logits[rows] / unit, table[rows]) / unit
    # Log frequencies are on the scale of log probabilities, so they come second.
    shift = choose_prior_shift(table[rows], slope * logits[rows], prior_shift)
    again = fit_temperature(slope * logits[rows] + shift, table[rows])
    return TaskHead(
        task,
        np.full(len(task.labels), again * slope, np.float32),
        (again * shift).astype(np.float32),
        thresholds=None,
    )


def _fit_multilabel(
    task: Task, table: Floats, logits: Floats, min_positives: int, threshold_pull: float
) -> TaskHead:
    count = len(task.labels)
    known = ~np.isnan(table)
    unit = _spread(logits[known])
    slope, intercept = fit_platt(logits[known] / unit, table[known])
    slope /= unit
    lines = []
    for label in range(count):
        rows = known[:, label]
        y = table[rows, label]
        own = IDENTITY
        if min(y.sum(), (1 - y).sum()) >= min_positives:
            # On top of the pooled line, which few rows are thereby pulled to.
            own = fit_platt(slope * logits[rows, label] + intercept, y)
        lines.append((own[0] * slope, own[0] * intercept + own[1]))
    slopes, intercepts = np.array(lines, dtype=np.float32).T
    scores = sigmoid(slopes * logits.astype(np.float64) + intercepts)
    chosen = choose_thresholds(table, scores, min_positives=min_positives, pull=threshold_pull)
    return TaskHead(task, slopes, intercepts, chosen)


def _spread(logits: Floats) -> float:
    """The standard deviation, or 1 where there is none."""
    return float(logits.std()) or 1.0 if logits.size else 1.0
