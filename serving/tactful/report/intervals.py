"""Rates with honest intervals, as seen and corrected for the reader's errors.

Replies of one conversation are alike, and counted as such.

The interval is Wilson's (1927, JASA 22) at the effective number of replies p(1 - p) / v (Kish 1965,
*Survey Sampling*; for binomial intervals Korn and Graubard 1998, Survey Methodology 24), where v is
the linearised variance of a ratio over conversations. All intervals are of 95%.

A rate counted by a classifier is off by its errors: with sensitivity s and specificity c, a true
rate p is seen as p s + (1 - p)(1 - c). Solved for p this is the estimator of Rogan and Gladen
(1978, Am. J. Epidemiology 107), in machine learning the *adjusted count* (Forman 2008, Data Mining
and Knowledge Discovery 17). The interval, which holds the uncertainty of s and c as well, is Lang
and Reiczigel's (2014, Preventive Veterinary Medicine 113). All of it supposes that the reader errs
on these replies as it did on those where s and c were measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Codes = NDArray[np.int64]
Z = float(special.ndtri(0.975))
# Below this s + c - 1 the reader hardly tells the label from its absence, and p is anybody's guess.
LEAST_POWER = 0.1


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95% interval.

    Attributes:
        value: the figure; for a rate from 0 to 1.
        low: lower end of the interval.
        high: upper end.
        n: how many replies (or what the figure is of) it rests on.
    """

    value: float
    low: float
    high: float
    n: int

    def apart_from(self, other: float) -> bool:
        """Whether the interval leaves out a value."""
        return not self.low <= other <= self.high


def wilson(share: Floats, n: Floats, z: float | Floats = Z) -> tuple[Floats, Floats]:
    """Wilson's interval of binomial shares.

    Args:
        share: observed shares.
        n: (effective) number of trials, above 0; same shape.
        z: standard normal quantile.

    Returns:
        Lower and upper ends.
    """
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    low = np.where(share <= 0, 0.0, np.maximum(middle - half, 0))
    high = np.where(share >= 1, 1.0, np.minimum(middle + half, 1))
    return low, high


def effective_replies(hits: Bools, conversations: Codes) -> Floats:
    """How many independent replies tell as much as these, for each column.

    Args:
        hits: ``[R, C]``, at least one row.
        conversations: of each row, ``[R]``; negative: one of its own.
    """
    n = len(hits)
    share = hits.mean(axis=0)
    sums, sizes = sums_by(hits, conversations)
    clusters = len(sizes)
    if clusters == n:
        return np.full(hits.shape[1], float(n))
    residual = sums - share * sizes[:, None]
    correction = clusters / max(clusters - 1, 1)
    variance = correction * (residual**2).sum(axis=0) / n**2
    plain = share * (1 - share)
    # Where all are alike nothing tells how alike conversations are: each counts once.
    found = np.full(hits.shape[1], float(clusters))
    np.divide(plain, variance, out=found, where=plain > 0)
    # Few conversations: Student's t in the place of the normal quantile (Korn and Graubard).
    quantile = float(special.stdtrit(max(clusters - 1, 1), 0.975))
    return np.asarray(np.minimum(found, n) * (Z / quantile) ** 2)


def any_of(hits: Bools) -> Bools:
    """Which rows are true in any column, ``[R]``."""
    return np.asarray(hits.any(axis=1), np.bool_)


def sums_by(hits: NDArray[np.generic], groups: Codes) -> tuple[Floats, Floats]:
    """Sums of columns within groups, ``[G, C]``, and the groups' sizes; negative: alone."""
    if not len(hits):
        return np.zeros((0, hits.shape[1])), np.zeros(0)
    order = np.argsort(groups, kind="stable")
    known = groups[order]
    starts = np.flatnonzero(np.r_[True, (known[1:] != known[:-1]) | (known[1:] < 0)])
    sums = np.add.reduceat(hits[order].astype(np.float64), starts, axis=0)
    return sums, np.diff(np.r_[starts, len(known)]).astype(np.float64)


def rates(hits: Bools, conversations: Codes) -> list[Estimate]:
    """The share of rows that are true in each column, with its interval.

    Args:
        hits: ``[R, C]``, at least one row.
        conversations: of each row, ``[R]``; negative: one of its own.
    """
    share = hits.mean(axis=0)
    low, high = wilson(share, effective_replies(hits, conversations))
    columns = zip(share.tolist(), low.tolist(), high.tolist(), strict=True)
    return [Estimate(*each, n=len(hits)) for each in columns]


def rate(hits: Bools, conversations: Codes) -> Estimate | None:
    """The share of rows that are true, ``[R]``, with its interval; None of no rows."""
    return rates(hits[:, None], conversations)[0] if len(hits) else None


def proportion(hits: int, n: int) -> Estimate:
    """A share of independent cases with Wilson's interval."""
    low, high = wilson(np.array([hits / n]), np.array([float(n)]))
    return Estimate(hits / n, float(low[0]), float(high[0]), n)


def holm(p: Floats) -> Floats:
    """P values corrected for many comparisons by Holm (1979, Scand. J. Statistics 6).

    The chance that even one of those below a level is false is at most that level.
    """
    order = np.argsort(p)
    left = np.arange(len(p), 0, -1)
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * left), 1)
    return corrected


def benjamini_hochberg(p: Floats) -> Floats:
    """P values corrected by Benjamini and Hochberg (1995, JRSS B 57): false discovery rate."""
    order = np.argsort(p)[::-1]
    left = np.arange(len(p), 0, -1)
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(np.minimum.accumulate(p[order] * len(p) / left), 1)
    return corrected


@dataclass(frozen=True, slots=True)
class Reliability:
    """How well a label is read, measured on labelled replies.

    Attributes:
        precision: share of those it was given to that have it; None where it was given to none.
        recall: share of those that have it that it was given to: the sensitivity.
        f1: their harmonic mean.
        positives: labelled replies that have it.
        negatives: those that do not.
        specificity: share of these that it was not given to; None where that cannot be told.
    """

    precision: float | None
    recall: float | None
    f1: float | None
    positives: int
    negatives: int
    specificity: float | None


Reliabilities = Mapping[str, Mapping[str, Reliability]]
"""Task to label to how well it is read."""


def adjusted(seen: Estimate, effective: float, label: Reliability | None) -> Estimate | None:
    """The true rate that a seen one speaks of.

    Args:
        seen: the rate as counted.
        effective: how many independent replies tell as much (see `effective_replies`).
        label: how well the label is read.

    Returns:
        None where that is not known, or says too little to correct by.
    """
    if label is None or label.recall is None or label.specificity is None:
        return None
    s, c = label.recall, label.specificity
    if not (label.positives and label.negatives) or s + c - 1 < LEAST_POWER:
        return None
    value = (seen.value + c - 1) / (s + c - 1)
    # Lang and Reiczigel: counts moved towards the middle, the normal interval moved likewise.
    n, positives, negatives = effective + Z**2, label.positives + 2, label.negatives + 2
    p = (effective * seen.value + Z**2 / 2) / n
    s, c = (label.positives * s + 1) / positives, (label.negatives * c + 1) / negatives
    power = s + c - 1
    if power < LEAST_POWER:
        return None
    middle = (p + c - 1) / power
    of_s, of_c = s * (1 - s) / positives, c * (1 - c) / negatives
    middle_shift = 2 * Z**2 * (middle * of_s - (1 - middle) * of_c)
    spread = p * (1 - p) / n + middle**2 * of_s + (1 - middle) ** 2 * of_c
    half = Z * math.sqrt(spread) / power
    low, high = (_within(middle + middle_shift + side * half) for side in (-1, 1))
    value = _within(value)
    return Estimate(value, min(low, value), max(high, value), seen.n)


def _within(value: float) -> float:
    return min(max(value, 0.0), 1.0)
