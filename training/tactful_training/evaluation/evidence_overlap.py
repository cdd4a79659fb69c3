"""How well marked words are found: hits, false ones and misses over (row, label, word), and over
spans.

A word is a stretch of the reply between whitespace; it belongs to every span that it overlaps.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Mapping, Sequence
from operator import itemgetter

import numpy as np

from tactful_training.data.labelled_row import Row
from tactful_training.evaluation.bootstrap import Floats

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
