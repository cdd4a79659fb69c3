"""Slices: how good a model is on parts of the rows, and on which part it is worst.

A slice is the rows that share a value of a column: of the data (``channel``, ``industry`` …) or one
of the two that every reply has, whether there is a context and how long the reply is. A slice with
too few rows says too little to be ranked: it is listed as too small.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tactful.reading.tasks import Tasks, one_form
from tactful_training.data.labelled_row import Row
from tactful_training.errors import DataError
from tactful_training.evaluation.bootstrap import Doubles, Estimate, Resamples
from tactful_training.evaluation.quality_metrics import decision_counts, ratio

CONTEXT, REPLY_LENGTH = "context", "reply_length"
NO_VALUE = "(none)"
# Rows with known labels that a slice needs: with fewer an interval spans some 20 points.
LEAST_ROWS = 50
# A column of more values is sliced only if it is asked for.
_MOST_VALUES = 30
# Words of a reply: a line, two or three sentences, a paragraph, a letter.
_LENGTHS = (0, 15, 30, 60)
# A number as text; 007 is a name.
_NUMBER = re.compile(r"[+-]?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_NO_NUMBERS = ("nan", "inf", "+inf", "-inf", "infinity", "+infinity", "-infinity")


@dataclass(frozen=True)
class SliceResult:
    """One slice, for one task.

    Attributes:
        n: its rows with known labels.
        value: micro F1 of a multilabel task, accuracy of a single one; None where too small.
        gap: the same minus that of all other rows (NaN where those are too few); None where too
            small.
    """

    n: int
    value: Estimate | None
    gap: Estimate | None

    @property
    def too_small(self) -> bool:
        """Whether there are too few rows to say anything."""
        return self.value is None


Slices = Mapping[str, Mapping[str, SliceResult]]
"""Column to value to what was measured there."""


def slice_columns(
    rows: Sequence[Row], wanted: Sequence[str] | None = None
) -> dict[str, dict[str, NDArray[np.bool_]]]:
    """Cut rows by columns.

    Args:
        rows: the rows.
        wanted: names of columns; None takes those of few values, `CONTEXT` and `REPLY_LENGTH`.

    Returns:
        Column to value to the rows that have it, bool ``[R]``. A column of many numbers is cut at
        its quartiles.

    Raises:
        DataError: a wanted column is in none of the rows.
    """
    there = list(dict.fromkeys(name for row in rows for name in row.columns))
    built_in = {CONTEXT: _contexts(rows)}
    if REPLY_LENGTH not in there:
        built_in[REPLY_LENGTH] = _lengths(rows)
    if wanted is not None:
        wanted = [one_form(name) for name in wanted]
        if missing := [name for name in wanted if name not in (*there, *built_in)]:
            raise DataError(
                f"no column {missing[0]!r} to slice by; the rows have: "
                f"{', '.join([*built_in, *there])}"
            )
        names = list(dict.fromkeys(wanted))
    else:
        names = [*built_in, *(name for name in there if 1 < _values(rows, name) <= _MOST_VALUES)]
    cut = {}
    for name in names:
        values = built_in.get(name) or _column(rows, name)
        every = np.array(values)
        cut[name] = {value: every == value for value in _ordered(values)}
    return cut


def evaluate_slices(
    tasks: Tasks,
    truth: NDArray[Any],
    decisions: NDArray[np.bool_],
    columns: Mapping[str, Mapping[str, NDArray[np.bool_]]],
    drawn: Resamples,
) -> dict[str, Slices]:
    """Measure every slice for every task.

    Args:
        tasks: the tasks of the label axis ``L``.
        truth: ``[R, L]`` of 1, 0 and NaN (unknown).
        decisions: ``[R, L]``.
        columns: as `slice_columns` gives them.
        drawn: the resamples of the rows.

    Returns:
        Task to column to value to its result.
    """
    places = [(column, value) for column, values in columns.items() for value in values]
    results: dict[str, Slices] = {}
    for task in tasks:
        at = tasks.slices[task.name]
        counts = decision_counts(truth[:, at], decisions[:, at])
        totals = np.stack([part.sum(axis=1) for part in np.split(counts, 3, axis=1)], axis=1)
        known = ~np.isnan(truth[:, at]).any(axis=1)
        numbers = [int((columns[c][v] & known).sum()) for c, v in places]
        large = [index for index, n in enumerate(numbers) if n >= LEAST_ROWS]
        found: dict[str, dict[str, SliceResult]] = {column: {} for column in columns}
        masks = [columns[places[i][0]][places[i][1]] for i in large]
        comparable = np.array([known.sum() - numbers[i] >= LEAST_ROWS for i in large])
        measured = dict(zip(large, _measure(totals, masks, comparable, drawn), strict=True))
        for index, (column, value) in enumerate(places):
            found[column][value] = SliceResult(numbers[index], *measured.get(index, (None, None)))
        results[task.name] = found
    return results


def worst_slice(slices: Slices) -> tuple[str, str] | None:
    """Column and value of the lowest figure among slices that are large enough to be ranked.

    None where no column has two such slices: a part can only be worse than another part.
    """
    ranked = [
        (result.value.value, column, value)
        for column, values in slices.items()
        if sum(not result.too_small for result in values.values()) > 1
        for value, result in values.items()
        if result.value is not None and np.isfinite(result.value.value)
    ]
    return min(ranked)[1:] if ranked else None


def _measure(
    totals: Doubles,
    masks: Sequence[NDArray[np.bool_]],
    comparable: NDArray[np.bool_],
    drawn: Resamples,
) -> list[tuple[Estimate, Estimate]]:
    """Micro F1 within each mask and its gap to the rest, all in one pass over the resamples."""
    if not masks:
        return []
    inside = drawn.sums(np.concatenate([totals * mask[:, None] for mask in masks], axis=1))
    every = np.tile(drawn.sums(totals), len(masks))

    def statistic(weights: Doubles) -> Doubles:
        here, whole = weights @ inside, weights @ every
        value, rest = _micro_f1(here), np.where(comparable, _micro_f1(whole - here), np.nan)
        return np.concatenate([value, value - rest], axis=1)

    estimates = drawn.estimates(statistic)
    return list(zip(estimates[: len(masks)], estimates[len(masks) :], strict=True))


def _micro_f1(counts: Doubles) -> Doubles:
    hits, false, missed = counts[:, 0::3], counts[:, 1::3], counts[:, 2::3]
    return ratio(2 * hits, 2 * hits + false + missed)


def _contexts(rows: Sequence[Row]) -> list[str]:
    return ["with context" if row.context else "without context" for row in rows]


def _lengths(rows: Sequence[Row]) -> list[str]:
    names = [f"{low + 1} to {high} words" for low, high in pairwise(_LENGTHS)]
    names.append(f"over {_LENGTHS[-1]} words")
    words = np.array([len(row.reply.split()) for row in rows])
    return [names[place] for place in np.searchsorted(_LENGTHS[1:], words)]


def _values(rows: Sequence[Row], name: str) -> int:
    """How many values a column has; 0 where they are no plain ones."""
    values = [row.columns.get(name) for row in rows]
    if not all(isinstance(value, str | bool | int | None) for value in values):
        return 0
    return len({str(value) for value in values})


def _column(rows: Sequence[Row], name: str) -> list[str]:
    values = [_value(value) for value in _numbers([row.columns.get(name) for row in rows])]
    present = [value for value in values if value is not None]
    numeric = all(isinstance(each, int | float) and not isinstance(each, bool) for each in present)
    if not numeric or len(set(present)) <= _MOST_VALUES:
        return [NO_VALUE if value is None else str(value) for value in values]
    numbers = np.array(present, np.float64)
    # Of quarters, which is exact: the distance of two large numbers may be beyond a float.
    edges = np.unique(np.quantile(numbers / 4, [0, 0.25, 0.5, 0.75, 1]) * 4)
    texts = _apart(edges)
    names = [f"{low} to {high}" for low, high in pairwise(texts)] or texts
    places = iter(np.searchsorted(edges[1:-1], numbers))
    return [NO_VALUE if value is None else names[next(places)] for value in values]


def _numbers(values: list[Any]) -> list[Any]:
    """Of a column of CSV, where every cell is text, the numbers if it holds nothing else."""
    texts = {value for value in values if isinstance(value, str) and value.strip()}
    numbers = {text: _number(text) for text in texts if _NUMBER.fullmatch(text.strip())}
    rest = {text: math.nan for text in texts if text.strip().casefold() in _NO_NUMBERS}
    if not numbers or len(numbers) + len(rest) < len(texts):
        return values
    known = numbers | rest
    return [known.get(value, value) if isinstance(value, str) else value for value in values]


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def _value(value: Any) -> Any:
    """A value of a column; None where it says nothing: no number, or one beyond all bounds."""
    if value is None or value == "" or value != value:
        return None
    try:
        return None if isinstance(value, int | float) and math.isinf(float(value)) else value
    except OverflowError:  # a whole number that no float holds
        return None


def _apart(edges: Doubles) -> list[str]:
    """Numbers in as few digits as tell them apart, 6 at least."""
    for digits in range(6, 18):
        texts = [f"{edge:.{digits}g}" for edge in edges]
        if len(set(texts)) == len(texts):
            break
    return texts


def _ordered(values: Sequence[str]) -> list[str]:
    """Distinct values, lengths and ranges from low to high, others by name."""
    distinct = set(values)

    def key(value: str) -> tuple[int, float, str]:
        first = value.removeprefix("over ").split(" ")[0]
        try:
            number = float(first) + value.startswith("over ")
        except ValueError:
            number = math.nan
        return (0, number, value) if math.isfinite(number) else (1, 0.0, value)

    return sorted(distinct, key=key)
