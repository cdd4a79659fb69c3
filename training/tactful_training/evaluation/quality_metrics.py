"""What is measured: counts and curves per row, and the statistics made of them.

Everything here works on arrays over rows and the label axis; a *statistic* (see `bootstrap`) maps
weights of groups ``[n, G]`` to values ``[n, K]``. A ratio of nothing to nothing is NaN, never 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from tactful.reading.tasks import Task
from tactful_training.evaluation.bootstrap import Doubles, Resamples, Statistic

Column = TypeVar("Column")
BINS = 10
PER_LABEL = ("precision", "recall", "f1", "average_precision")
MACRO_OF_ALL = "macro_f1_all"
"""Macro F1 of all labels, the rarest too, as others publish it."""
# Least rows of a label that macro F1 counts: below, one row more or less moves F1 by tenths.
MACRO_LEAST_ROWS = {"multilabel": 10, "single": 5}


def ratio(part: Doubles, whole: Doubles) -> Doubles:
    """``part / whole``, NaN where the whole is 0."""
    quotient: Doubles = np.full(np.shape(whole), np.nan)
    np.divide(part, whole, out=quotient, where=whole != 0)
    return quotient


def precision_recall_f1(hits: Doubles, false: Doubles, missed: Doubles) -> tuple[Doubles, ...]:
    """Precision, recall and F1 of counts of any shape; NaN where nothing was there to count."""
    return (
        ratio(hits, hits + false),
        ratio(hits, hits + missed),
        ratio(2 * hits, 2 * hits + false + missed),
    )


def _mean(f1: Doubles) -> Doubles:
    """Over the labels ``[n, K]`` whose F1 is defined."""
    return ratio(np.nansum(f1, axis=1), np.sum(~np.isnan(f1), axis=1, dtype=np.float64))


def decision_counts(targets: NDArray[Any], decisions: NDArray[np.bool_]) -> Doubles:
    """Hits, false decisions and misses of each row.

    Args:
        targets: ``[R, L]`` of 1 and 0, NaN where unknown: such a cell counts as nothing.
        decisions: ``[R, L]``.

    Returns:
        float64 ``[R, 3 L]``: the hits of all labels, then the false ones, then the missed ones.
    """
    counts = [(targets == 1) & decisions, (targets == 0) & decisions, (targets == 1) & ~decisions]
    return np.concatenate(counts, axis=1).astype(np.float64)


def decision_statistic(group_counts: Doubles, counted: NDArray[np.bool_]) -> Statistic:
    """Precision, recall, F1 of every label, then macro F1, then micro F1.

    Args:
        group_counts: `decision_counts` summed over groups, ``[G, 3 L]``.
        counted: ``[L]``, the labels that macro F1 is the mean of. They stay the same in every
            resample; a label that a resample lacks altogether is left out of its mean.

    Returns:
        A statistic of ``3 L + 2`` columns. Micro F1 over a single task with every class is its
        accuracy.
    """

    def statistic(weights: Doubles) -> Doubles:
        counts = np.split(weights @ group_counts, 3, axis=1)
        per_label = precision_recall_f1(*counts)
        micro = precision_recall_f1(*(each.sum(axis=1) for each in counts))[2]
        return np.column_stack([*per_label, _mean(per_label[2][:, counted]), micro])

    return statistic


class TaskFigures:
    """Every figure of one task, in one pass over the resamples.

    Args:
        task: the task.
        truth: ``[R, L]`` of 1 and 0, NaN where unknown.
        drawn: the resamples of the rows.

    Attributes:
        support: ``[L]``, the rows that carry each label.
        counted: ``[L]``, whether macro F1 counts it.
    """

    def __init__(self, task: Task, truth: NDArray[Any], drawn: Resamples) -> None:
        self.support = np.nansum(truth, axis=0)
        self.counted = self.support >= MACRO_LEAST_ROWS[task.kind]
        self._task, self._truth, self._drawn = task, truth, drawn

    def statistic(self, scores: NDArray[Any], decisions: NDArray[np.bool_]) -> Statistic:
        """Of ``scores`` and ``decisions``, both ``[R, L]``; `named` says what each column is."""
        counts = self._drawn.sums(decision_counts(self._truth, decisions))
        decided = decision_statistic(counts, self.counted)
        ranked = average_precision_statistic(self._truth, scores, self._drawn)
        size = len(self._task.labels)

        def statistic(weights: Doubles) -> Doubles:
            per_label, micro = np.split(decided(weights), [3 * size], axis=1)
            of_all = _mean(per_label[:, 2 * size :])
            return np.column_stack([per_label, ranked(weights), micro, of_all])

        return statistic

    def named(
        self, columns: Sequence[Column]
    ) -> tuple[dict[str, Column], dict[str, dict[str, Column]]]:
        """The headline figures by name, and those of `PER_LABEL` by label."""
        *per_label, macro, micro, of_all = columns
        size = len(self._task.labels)
        labels = {
            label: dict(zip(PER_LABEL, per_label[index::size], strict=True))
            for index, label in enumerate(self._task.names)
        }
        both = {"macro_f1": macro, "micro_f1": micro}
        if self._task.kind == "single":
            both = {"accuracy": micro, "macro_f1": macro}
        return {**both, MACRO_OF_ALL: of_all}, labels


def overlap_statistic(group_counts: Doubles) -> Statistic:
    """Precision, recall, F1 of ``[G, 3 L]`` hits, false ones and misses.

    Returns:
        A statistic of ``3 (L + 1)`` columns: each figure of every label, then of all together.
    """

    def statistic(weights: Doubles) -> Doubles:
        counts = np.split(weights @ group_counts, 3, axis=1)
        counts = [np.column_stack([each, each.sum(axis=1)]) for each in counts]
        return np.concatenate(precision_recall_f1(*counts), axis=1)

    return statistic


def average_precision_statistic(
    targets: NDArray[Any], scores: NDArray[Any], resamples: Resamples
) -> Statistic:
    """Average precision of every label: precision at each score, weighted by the recall it adds.

    Rows of equal score count at once, so that their order does not matter. Each label is sorted
    once; a resample is a cumulative sum over that order.

    Args:
        targets: ``[R, L]`` of 1, 0 and NaN (unknown).
        scores: ``[R, L]``.
        resamples: which rows belong to which group.
    """
    labels = [
        _ranking(targets[:, label], scores[:, label], resamples.groups)
        for label in range(targets.shape[1])
    ]

    def statistic(weights: Doubles) -> Doubles:
        return np.column_stack([_average_precision(weights, label) for label in labels])

    return statistic


class _Ranking(NamedTuple):
    """The known rows of one label by falling score.

    Attributes:
        groups: int64 ``[N]``, the group of each.
        positives: int64 ``[P]``, the places of those that carry the label.
        read: int64 ``[K]``, the last place of each distinct score that a positive has.
        found: int64 ``[K]``, the last positive (0 to P - 1) of that score.
    """

    groups: NDArray[np.int64]
    positives: NDArray[np.int64]
    read: NDArray[np.int64]
    found: NDArray[np.int64]


def _ranking(targets: NDArray[Any], scores: NDArray[Any], groups: NDArray[np.int64]) -> _Ranking:
    known = np.flatnonzero(~np.isnan(targets))
    order = known[np.argsort(-scores[known], kind="stable")]
    ranked = -scores[order]
    positives = np.flatnonzero(targets[order] == 1)
    read = np.searchsorted(ranked, ranked[positives], side="right") - 1
    found = np.append(np.flatnonzero(np.diff(read)), len(read) - 1)[: len(read)]
    return _Ranking(groups[order], positives, read[found], found)


def _average_precision(weights: Doubles, label: _Ranking) -> Doubles:
    ranked = weights[:, label.groups]
    hits = np.cumsum(ranked[:, label.positives], axis=1)[:, label.found]
    read = np.cumsum(ranked, axis=1)[:, label.read]
    precision = np.divide(hits, read, out=np.zeros_like(hits), where=read != 0)
    added = np.diff(hits, axis=1, prepend=0.0)
    return ratio((precision * added).sum(axis=1), added.sum(axis=1))


def confidences(
    task: Task, truth: NDArray[Any], scores: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """What is said with some confidence, and whether it is so: both ``[R, C]``.

    Every label of a multilabel task (``C`` = its labels), the decision of a single one (``C`` = 1).
    """
    if task.kind == "multilabel":
        return scores, truth
    best = scores.argmax(axis=1)[:, None]
    return np.take_along_axis(scores, best, axis=1), np.take_along_axis(truth, best, axis=1)


def calibration_bins(
    confidence: NDArray[Any], outcome: NDArray[Any], resamples: Resamples
) -> Doubles:
    """How often what was said with some confidence came true, by group and bin of confidence.

    Args:
        confidence: ``[R, C]``, each from 0 to 1; see `confidences`.
        outcome: ``[R, C]`` of 1 (true), 0 (false) and NaN (unknown, not counted).
        resamples: which rows belong to which group.

    Returns:
        float64 ``[G, BINS, 3]``: number, sum of confidence and sum of outcomes in each of `BINS`
        bins of equal width (the last one closed above).
    """
    sums = np.zeros((resamples.size, BINS, 3))
    known = ~np.isnan(outcome)
    group = np.broadcast_to(resamples.groups[:, None], outcome.shape)[known]
    said = confidence[known].astype(np.float64)
    # A float32 sum of a softmax may pass 1 by a rounding error.
    place = np.clip((said * BINS).astype(np.int64), 0, BINS - 1)
    cells = np.stack([np.ones_like(said), said, outcome[known]], axis=1)
    np.add.at(sums, (group, place), cells)
    return sums


def calibration_statistic(bins: Doubles) -> Statistic:
    """Expected calibration error of `calibration_bins`.

    The mean over everything said of ``|mean confidence - frequency|`` in its bin.
    """
    gaps = bins[:, :, 1] - bins[:, :, 2]
    numbers = bins[:, :, 0].sum(axis=1, keepdims=True)

    def statistic(weights: Doubles) -> Doubles:
        return ratio(np.abs(weights @ gaps).sum(axis=1, keepdims=True), weights @ numbers)

    return statistic
