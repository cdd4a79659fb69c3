"""Thresholds that maximise F1 on the validation split without trusting a few rows.

The best threshold of a small sample is mostly noise: it does well there and badly on other
replies. So the F1 curve over thresholds is smoothed, each label's optimum is pulled towards the
optimum of all labels pooled (the fewer positives, the more), and a label with too few positives
takes the pooled one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from tactful.reading.batches import RowOutput
from tactful.reading.decisions import Floats, sigmoid
from tactful.reading.evidence import EvidenceFinder
from tactful.reading.tasks import Task, Tasks
from tactful_training.data.labelled_row import Row
from tactful_training.evaluation.evidence_metrics import evidence_counts

_GRID = np.arange(5, 96) / 100
_EVIDENCE_GRID = np.arange(2, 19) / 20
# Multiples of the log frequencies: from none to all of them.
_SHIFT_GRID = np.arange(0, 21) / 20
# The curve is averaged over thresholds this near on either side.
_SMOOTHED_OVER = 0.1
_WITHOUT_POSITIVES = 0.5
# Positives at which a label's own optimum and the pooled one weigh the same.
PULL = 100.0


def choose_thresholds(
    targets: NDArray[np.floating[Any]],
    scores: NDArray[np.floating[Any]],
    *,
    min_positives: int,
    pull: float = PULL,
) -> Floats:
    """A threshold for each label of a multilabel task.

    Args:
        targets: ``[R, n]`` of 1, 0 and NaN (unknown, ignored).
        scores: calibrated probabilities, ``[R, n]``.
        min_positives: positive rows that a label needs for a threshold of its own.
        pull: positives at which a label's own optimum and the pooled one weigh the same.

    Returns:
        float32 ``[n]``.
    """
    decided = scores[None] >= _GRID[:, None, None]
    hits = (decided & (targets == 1)).sum(axis=1).T
    false = (decided & (targets == 0)).sum(axis=1).T
    positives = (targets == 1).sum(axis=0)
    return _robust_best(_GRID, hits, false, positives, positives, min_positives, pull)


def choose_prior_shift(
    targets: NDArray[np.floating[Any]],
    logits: NDArray[np.floating[Any]],
    multiple: float | None = None,
) -> NDArray[np.float64]:
    """What to add to the logits of a single task, so that rare labels are not passed over.

    Training on few rows of a label makes a model decide it too seldom. Post-hoc logit adjustment
    (Menon et al. 2021) subtracts a multiple of each label's log frequency.

    Args:
        targets: ``[R, n]``, one 1 in each row, else 0.
        logits: ``[R, n]``, log probabilities but for a constant in each row.
        multiple: of the log frequencies; None takes the one with the best macro F1 on these rows,
            its curve smoothed as those of thresholds are.

    Returns:
        float64 ``[n]``, with a mean of 0.
    """
    counts = targets.sum(axis=0)
    priors = np.log((counts + 0.5) / (counts + 0.5).sum())
    directions = priors.mean() - priors
    occurs = counts > 0
    if not occurs.any():
        return np.zeros(len(counts))
    if multiple is None:
        decided = (logits[None] + _SHIFT_GRID[:, None, None] * directions).argmax(axis=2)
        chosen = decided[:, :, None] == np.arange(len(counts))
        hits = (chosen & (targets == 1)).sum(axis=1)
        f1 = 2 * hits / np.maximum(chosen.sum(axis=1) + counts, 1)
        multiple = _SHIFT_GRID[_smooth(_SHIFT_GRID, f1[:, occurs].mean(axis=1)).argmax()]
    shift: NDArray[np.float64] = multiple * directions
    return shift


def choose_evidence_thresholds(
    rows: Sequence[Row],
    outputs: Sequence[RowOutput],
    decisions: NDArray[np.bool_],
    tasks: Tasks,
    task: Task,
    *,
    min_positives: int,
    pull: float = PULL,
) -> Floats:
    """A threshold on token probabilities for each label of a task, for the best token-F1.

    Args:
        rows: the validation split.
        outputs: what the model says of each row.
        decisions: bool ``[R, L]``; evidence is shown, and counted, for decided labels.
        tasks: the tasks of the label axis.
        task: the task to choose for.
        min_positives: rows with marked words that a label needs for a threshold of its own.
        pull: as for `choose_thresholds`, in such rows.

    Returns:
        float32 ``[n]``.
    """
    count = len(task.labels)
    hits, false = np.zeros((2, count, len(_EVIDENCE_GRID)))
    words, marked_rows = np.zeros((2, count))
    for index, name in enumerate(task.names):
        column = tasks.columns[task.name, name]
        marks = [[s[2:] for s in row.evidence if s[:2] == (task.name, name)] for row in rows]
        marked_rows[index] = sum(map(bool, marks))
        words[index] = _count(rows, marks, task, name)[0]
        decided = np.flatnonzero(decisions[:, column]).tolist()
        some = [rows[r] for r in decided]
        tokens = [sigmoid(outputs[r].token_scores[:, column]) for r in decided]
        finders = [EvidenceFinder(rows[r].reply, outputs[r].encoded) for r in decided]
        for at, threshold in enumerate(_EVIDENCE_GRID):
            spans = [f.spans(p, threshold) for f, p in zip(finders, tokens, strict=True)]
            hits[index, at], false[index, at] = _count(some, spans, task, name)
    return _robust_best(_EVIDENCE_GRID, hits, false, words, marked_rows, min_positives, pull)


def _count(
    rows: Sequence[Row], spans: Sequence[Sequence[tuple[int, int]]], task: Task, label: str
) -> tuple[float, float]:
    """Words of one label's spans that are marked so, and that are not."""
    shown = [{(task.name, label): found} for found in spans]
    hits, false, _ = np.split(evidence_counts(rows, shown, Tasks((task,))), 3, axis=1)
    return float(hits.sum()), float(false.sum())


def _robust_best(
    grid: NDArray[np.float64],
    hits: NDArray[Any],
    false: NDArray[Any],
    positives: NDArray[Any],
    support: NDArray[Any],
    min_positives: int,
    pull: float,
) -> Floats:
    """The threshold of the grid for each of ``n`` labels.

    Args:
        grid: thresholds, ``[G]``.
        hits: right ones at each threshold, ``[n, G]``.
        false: wrong ones at each threshold, ``[n, G]``.
        positives: all that there is to find, ``[n]``.
        support: positive rows, ``[n]``.
        min_positives: the least support for an optimum of its own.
        pull: the support at which that and the pooled optimum weigh the same.
    """
    if not positives.sum():
        return np.full(len(positives), _WITHOUT_POSITIVES, dtype=np.float32)
    pooled = grid[_smooth_f1(grid, hits.sum(axis=0), false.sum(axis=0), positives.sum()).argmax()]
    own = grid[_smooth_f1(grid, hits, false, positives[:, None]).argmax(axis=1)]
    trust = np.where(support >= max(min_positives, 1), support / np.maximum(support + pull, 1), 0.0)
    thresholds: Floats = (trust * own + (1 - trust) * pooled).astype(np.float32)
    return thresholds


def _smooth_f1(
    grid: NDArray[np.float64], hits: NDArray[Any], false: NDArray[Any], positives: Any
) -> NDArray[np.float64]:
    """F1 along the last axis, averaged over neighbouring thresholds."""
    return _smooth(grid, 2 * hits / np.maximum(hits + false + positives, 1))


def _smooth(grid: NDArray[np.float64], f1: NDArray[Any]) -> NDArray[np.float64]:
    """Values along the last axis, averaged over neighbours on the grid."""
    reach = round(_SMOOTHED_OVER / (grid[1] - grid[0]))
    padded = np.pad(f1, [(0, 0)] * (f1.ndim - 1) + [(reach, reach)], mode="edge")
    smooth: NDArray[np.float64] = sliding_window_view(padded, 2 * reach + 1, axis=-1).mean(axis=-1)
    return smooth
