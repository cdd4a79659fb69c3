"""What is measured: counts and curves per row, and the statistics made of them.

Everything here works on arrays over rows and the label axis; a *statistic* (see `bootstrap`) maps
weights of groups ``[n, G]`` to values ``[n, K]``. A ratio of nothing to nothing is NaN, never 0.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tactful_training.data.labelled_row import Row
from tactful_training.evaluation.bootstrap import Floats, Resamples, Statistic

BINS = 10


def ratio(part: Floats, whole: Floats) -> Floats:
    """``part / whole``, NaN where the whole is 0."""
    quotient: Floats = np.full(np.shape(whole), np.nan)
    np.divide(part, whole, out=quotient, where=whole != 0)
    return quotient


def precision_recall_f1(hits: Floats, false: Floats, missed: Floats) -> tuple[Floats, ...]:
    """Precision, recall and F1 of counts of any shape; NaN where nothing was there to count."""
    return (
        ratio(hits, hits + false),
        ratio(hits, hits + missed),
        ratio(2 * hits, 2 * hits + false + missed),
    )


def decision_counts(targets: NDArray[Any], decisions: NDArray[np.bool_]) -> Floats:
    """Hits, false decisions and misses of each row.

    Args:
        targets: ``[R, L]`` of 1 and 0, NaN where unknown: such a cell counts as nothing.
        decisions: ``[R, L]``.

    Returns:
        float64 ``[R, 3 L]``: the hits of all labels, then the false ones, then the missed ones.
    """
    counts = [(targets == 1) & decisions, (targets == 0) & decisions, (targets == 1) & ~decisions]
    return np.concatenate(counts, axis=1).astype(np.float64)


def decision_statistic(group_counts: Floats, counted: NDArray[np.bool_]) -> Statistic:
    """Precision, recall, F1 of every label, then macro F1, then micro F1.

    Args:
        group_counts: `decision_counts` summed over groups, ``[G, 3 L]``.
        counted: ``[L]``, the labels that macro F1 is the mean of. They stay the same in every
            resample; a label that a resample lacks altogether is left out of its mean.

    Returns:
        A statistic of ``3 L + 2`` columns. Micro F1 over a single task with every class is its
        accuracy.
    """

    def statistic(weights: Floats) -> Floats:
        hits, false, missed = np.split(weights @ group_counts, 3, axis=1)
        per_label = precision_recall_f1(hits, false, missed)
        f1 = per_label[2][:, counted]
        macro = ratio(np.nansum(f1, axis=1), np.sum(~np.isnan(f1), axis=1, dtype=np.float64))
        micro = precision_recall_f1(hits.sum(axis=1), false.sum(axis=1), missed.sum(axis=1))[2]
        return np.column_stack([*per_label, macro, micro])

    return statistic


def overlap_statistic(group_counts: Floats) -> Statistic:
    """Micro precision, recall, F1 of ``[G, 3]`` hits, false ones and misses."""

    def statistic(weights: Floats) -> Floats:
        return np.column_stack(precision_recall_f1(*(weights @ group_counts).T))

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

    def statistic(weights: Floats) -> Floats:
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


def _average_precision(weights: Floats, label: _Ranking) -> Floats:
    ranked = weights[:, label.groups]
    hits = np.cumsum(ranked[:, label.positives], axis=1)[:, label.found]
    read = np.cumsum(ranked, axis=1)[:, label.read]
    precision = np.divide(hits, read, out=np.zeros_like(hits), where=read != 0)
    added = np.diff(hits, axis=1, prepend=0.0)
    return ratio((precision * added).sum(axis=1), added.sum(axis=1))


def calibration_bins(
    confidence: NDArray[Any], outcome: NDArray[Any], resamples: Resamples
) -> Floats:
    """How often what was said with some confidence came true, by group and bin of confidence.

    Args:
        confidence: ``[R, C]``, each from 0 to 1.
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


def calibration_statistic(bins: Floats) -> Statistic:
    """Expected calibration error of `calibration_bins`.

    The mean over everything said of ``|mean confidence - frequency|`` in its bin.
    """
    gaps = bins[:, :, 1] - bins[:, :, 2]
    numbers = bins[:, :, 0].sum(axis=1, keepdims=True)

    def statistic(weights: Floats) -> Floats:
        return ratio(np.abs(weights @ gaps).sum(axis=1, keepdims=True), weights @ numbers)

    return statistic


Spans = Mapping[tuple[str, str], Sequence[tuple[int, int]]]
"""(task, label) to its spans in one reply: code points, end exclusive."""

_WORD = re.compile(r"\S+")
_Words = set[tuple[str, int]]
"""(label, index of a word)."""
# Of the words that two spans have together, the share that both have, for them to be the same.
_LEAST_IOU = 0.5


def evidence_tasks(rows: Sequence[Row]) -> frozenset[str]:
    """The tasks for which any word is marked in these rows; of others evidence is unknown."""
    return frozenset(span.task for row in rows for span in row.evidence)


def evidence_counts(
    rows: Sequence[Row], found: Sequence[Spans], tasks: Collection[str], label: str | None = None
) -> Floats:
    """Compare the marked spans with the spans of decided labels, wrong decisions included.

    A row takes part in the tasks whose labels are known in it. One with labels but without marks
    has nothing to find: all that is found in it is wrong.

    Args:
        rows: the labelled rows.
        found: the spans of each row's decided labels.
        tasks: the tasks to compare.
        label: the only label to compare; None for all.

    Returns:
        float64 ``[R, 3]``: hits, false ones and misses of each row.
    """
    return _counts(rows, found, tasks, label, _same_words)


def span_counts(
    rows: Sequence[Row], found: Sequence[Spans], tasks: Collection[str], label: str | None = None
) -> Floats:
    """The same over spans: neighbouring words of one label.

    Spans are the same where their intersection over union (in words) is at least a half. Spans of
    one label do not touch, so a span is the same as at most one other.

    Args:
        rows: as for `evidence_counts`.
        found: as for `evidence_counts`.
        tasks: as for `evidence_counts`.
        label: as for `evidence_counts`.

    Returns:
        float64 ``[R, 3]``: hits, false ones and misses of each row.
    """
    return _counts(rows, found, tasks, label, _same_spans)


def _counts(
    rows: Sequence[Row],
    found: Sequence[Spans],
    tasks: Collection[str],
    label: str | None,
    compare: Callable[[_Words, _Words], tuple[int, int, int]],
) -> Floats:
    counts = np.zeros((len(rows), 3))
    for count, row, spans in zip(counts, rows, found, strict=True):
        words = [match.span() for match in _WORD.finditer(row.reply)]
        marked: dict[tuple[str, str], list[tuple[int, int]]] = {}
        for span in row.evidence:
            marked.setdefault((span.task, span.label), []).append((span.start, span.end))
        for task in tasks:
            if row.labels.get(task) is not None:
                gold, read = (_covered(each, task, label, words) for each in (marked, spans))
                count += compare(gold, read)
    return counts


def _same_words(gold: _Words, read: _Words) -> tuple[int, int, int]:
    return len(gold & read), len(read - gold), len(gold - read)


def _same_spans(gold: _Words, read: _Words) -> tuple[int, int, int]:
    marked, shown = _runs(gold), _runs(read)
    hits = sum(
        any(len(one & other) >= _LEAST_IOU * len(one | other) for other in marked) for one in shown
    )
    return hits, len(shown) - hits, len(marked) - hits


def _runs(words: _Words) -> list[_Words]:
    """Neighbouring words of one label, taken together."""
    runs: list[_Words] = []
    for label, index in sorted(words):
        if runs and (label, index - 1) in runs[-1]:
            runs[-1].add((label, index))
        else:
            runs.append({(label, index)})
    return runs


def _covered(spans: Spans, task: str, only: str | None, words: Sequence[tuple[int, int]]) -> _Words:
    """Every word that overlaps a span of the task, or of its one label."""
    return {
        (label, index)
        for (name, label), stretches in spans.items()
        if name == task and only in (None, label)
        for start, end in stretches
        for index in range(
            bisect_right(words, start, key=itemgetter(1)),
            bisect_left(words, end, key=itemgetter(0)),
        )
    }
