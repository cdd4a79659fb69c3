"""How well marked words are found: hits, false ones and misses, over words and over spans of them.

A word is a stretch of the reply between whitespace; it belongs to every span that it overlaps.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter

import numpy as np

from tactful.reading.tasks import Tasks
from tactful_training.data.labelled_row import Row
from tactful_training.evaluation.bootstrap import Doubles

Spans = Mapping[tuple[str, str], Sequence[tuple[int, int]]]
"""(task, label) to its spans in one reply: code points, end exclusive."""

_WORD = re.compile(r"\S+")
# Of the words that two spans have together, the share that both have, for them to be the same.
_LEAST_IOU = 0.5


def evidence_tasks(rows: Sequence[Row]) -> frozenset[str]:
    """The tasks for which any word is marked in these rows; of others evidence is unknown."""
    return frozenset(span.task for row in rows for span in row.evidence)


def marked_tasks(rows: Sequence[Row], tasks: Tasks) -> Tasks | None:
    """Those of the tasks for which any word is marked; None where there are none."""
    marked = evidence_tasks(rows)
    found = tuple(task for task in tasks if task.name in marked)
    return Tasks(found) if found else None


def evidence_counts(rows: Sequence[Row], found: Sequence[Spans], tasks: Tasks) -> Doubles:
    """Compare marked words with those shown for decided labels, wrong decisions included.

    A row takes part in the tasks whose labels are known in it. One with labels but without marks
    has nothing to find: all that is found in it is wrong.

    Args:
        rows: the labelled rows.
        found: the spans of each row's decided labels.
        tasks: the tasks to compare, which make the label axis.

    Returns:
        float64 ``[R, 3 L]``: hits of all labels, then what is false, then what is missed.
    """
    return _overlaps(rows, found, tasks, _same_words)


def span_counts(rows: Sequence[Row], found: Sequence[Spans], tasks: Tasks) -> Doubles:
    """The same over spans: neighbouring words of one label.

    Spans are the same where their intersection over union (in words) is at least a half. Spans of
    one label do not touch, so a span is the same as at most one other.
    """
    return _overlaps(rows, found, tasks, _same_spans)


def _overlaps(
    rows: Sequence[Row],
    found: Sequence[Spans],
    tasks: Tasks,
    compare: Callable[[set[int], set[int]], tuple[int, int, int]],
) -> Doubles:
    counts = np.zeros((len(rows), 3, tasks.size))
    for count, row, shown in zip(counts, rows, found, strict=True):
        words = [match.span() for match in _WORD.finditer(row.reply)]
        marked: dict[tuple[str, str], list[tuple[int, int]]] = {}
        for span in row.evidence:
            marked.setdefault((span.task, span.label), []).append((span.start, span.end))
        for key in marked.keys() | shown.keys():
            if key in tasks.columns and row.labels.get(key[0]) is not None:
                gold, read = (_covered(each.get(key, ()), words) for each in (marked, shown))
                count[:, tasks.columns[key]] = compare(gold, read)
    return counts.reshape(len(rows), 3 * tasks.size)


def _same_words(gold: set[int], read: set[int]) -> tuple[int, int, int]:
    return len(gold & read), len(read - gold), len(gold - read)


def _same_spans(gold: set[int], read: set[int]) -> tuple[int, int, int]:
    marked, shown = _runs(gold), _runs(read)
    hits = sum(
        any(len(one & other) >= _LEAST_IOU * len(one | other) for other in marked) for one in shown
    )
    return hits, len(shown) - hits, len(marked) - hits


def _runs(words: set[int]) -> list[set[int]]:
    """Neighbouring words, taken together."""
    runs: list[set[int]] = []
    for index in sorted(words):
        if runs and index - 1 in runs[-1]:
            runs[-1].add(index)
        else:
            runs.append({index})
    return runs


def _covered(spans: Sequence[tuple[int, int]], words: Sequence[tuple[int, int]]) -> set[int]:
    """The index of every word that overlaps a span."""
    return {
        index
        for start, end in spans
        for index in range(
            bisect_right(words, start, key=itemgetter(1)),
            bisect_left(words, end, key=itemgetter(0)),
        )
    }
