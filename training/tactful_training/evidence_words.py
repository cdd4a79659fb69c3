"""How well marked words are found: hits, false ones and misses over (row, label, word).

A word is a stretch of the reply between whitespace; it belongs to every span that it overlaps.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Mapping, Sequence
from operator import itemgetter

import numpy as np

from tactful_training.bootstrap import Floats
from tactful_training.data.rows import Row

Spans = Mapping[tuple[str, str], Sequence[tuple[int, int]]]
"""(task, label) to its spans in one reply: code points, end exclusive."""

_WORD = re.compile(r"\S+")


def evidence_tasks(rows: Sequence[Row]) -> frozenset[str]:
    """The tasks for which any word is marked in these rows; of others evidence is unknown."""
    return frozenset(span.task for row in rows for span in row.evidence)


def evidence_counts(rows: Sequence[Row], found: Sequence[Spans], tasks: Collection[str]) -> Floats:
    """Compare the marked spans with the spans of decided labels, wrong decisions included.

    A row takes part in the tasks whose labels are known in it. One with labels but without marks
    has nothing to find: all that is found in it is wrong.

    Args:
        rows: the labelled rows.
        found: the spans of each row's decided labels.
        tasks: the tasks to compare.

    Returns:
        float64 ``[R, 3]``: hits, false ones and misses of each row.
    """
    counts = np.zeros((len(rows), 3))
    for count, row, spans in zip(counts, rows, found, strict=True):
        words = [match.span() for match in _WORD.finditer(row.reply)]
        marked: dict[tuple[str, str], list[tuple[int, int]]] = {}
        for task, label, start, end in row.evidence:
            marked.setdefault((task, label), []).append((start, end))
        for task in tasks:
            if row.labels.get(task) is not None:
                gold = _covered(marked, task, words)
                read = _covered(spans, task, words)
                count += (len(gold & read), len(read - gold), len(gold - read))
    return counts


def _covered(spans: Spans, task: str, words: Sequence[tuple[int, int]]) -> set[tuple[str, int]]:
    """(label, index of a word) for every word that overlaps a span of the task."""
    return {
        (label, index)
        for (name, label), stretches in spans.items()
        if name == task
        for start, end in stretches
        for index in range(
            bisect_right(words, start, key=itemgetter(1)),
            bisect_left(words, end, key=itemgetter(0)),
        )
    }
