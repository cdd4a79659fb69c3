"""95% bootstrap intervals by resampling groups of rows.

Rows of one group (replies to one context) are not independent, so whole groups are drawn. A
statistic is a function of *weights*: how often each group counts. Weights of one give the value
itself, multinomial weights the resamples, weights of one with a few groups left out the jackknife;
all three go through the same code, and two systems measured on the same rows with the same seed
see the same resamples.

The interval of a ratio (precision, F1, accuracy …) is BCa, bias-corrected and accelerated (Efron
1987): plain percentiles of macro F1 and of rare labels cover 92-94% instead of 95%. That of an
error that cannot fall below zero (calibration) is the reversed percentile interval: resampling adds
noise to such an error, and BCa breaks down where most resamples lie above the value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Statistic = Callable[[Doubles], Doubles]
"""From weights ``[n, G]`` to values ``[n, K]``; NaN where a value is undefined."""

LEVEL = 0.95
LEVELS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
RESAMPLES = 1000
# The jackknife leaves out blocks of groups: with more of them only the time grows.
_BLOCKS = 500
# Cells of one [resamples, rows] array: 2 MB of them stay in a processor's cache.
_CELLS = 250_000
_NORMAL = NormalDist()


@dataclass(frozen=True)
class Estimate:
    """A value with its 95% interval; NaN where it is undefined, or the interval is."""

    value: float
    low: float
    high: float


class Resamples:
    """The resamples of a set of rows: the same for every statistic, fixed by the seed.

    Attributes:
        groups: int64 ``[R]``, the index of each row's group, in order of first appearance.
        size: how many groups there are.
        count: how many resamples are drawn; 0 leaves intervals undefined.
        seed: fixes the resamples.
    """

    def __init__(self, groups: Sequence[str], *, count: int = RESAMPLES, seed: int = 0) -> None:
        places: dict[str, int] = {}
        self.groups = np.array([places.setdefault(g, len(places)) for g in groups], dtype=np.int64)
        self.size = len(places)
        self.count = count
        self.seed = seed

    def sums(self, values: NDArray[Any]) -> Doubles:
        """Sums over the rows of each group: ``[R, K]`` to ``[G, K]``."""
        sums = np.zeros((self.size, values.shape[1]))
        np.add.at(sums, self.groups, values)
        return sums

    def estimates(self, statistic: Statistic) -> list[Estimate]:
        """Values of a ratio with BCa intervals, one for each of the ``K`` columns.

        An interval is undefined (NaN) without resamples or with a single group.
        """
        value, draws = self._draws(statistic)
        if not len(draws):
            return [Estimate(float(v), np.nan, np.nan) for v in value]
        left_out = np.concatenate([statistic(weights) for weights in self._jackknife()])
        return [
            Estimate(float(v), *_bca(v, draws[:, k], left_out[:, k])) for k, v in enumerate(value)
        ]

    def error_estimate(self, statistic: Statistic) -> Estimate:
        """The value of one error (``K`` = 1, never negative) with its reversed interval."""
        (value,), draws = self._draws(statistic)
        if not len(draws):
            return Estimate(float(value), np.nan, np.nan)
        low, high = np.quantile(draws[:, 0], LEVELS)
        return Estimate(
            float(value),
            float(np.clip(2 * value - high, 0, value)),
            float(max(2 * value - low, value)),
        )

    def _draws(self, statistic: Statistic) -> tuple[Doubles, Doubles]:
        """The values ``[K]`` and those of all resamples ``[count, K]`` (none if undefined)."""
        value = statistic(np.ones((1, self.size)))[0]
        if self.size < 2 or not self.count:
            return value, np.empty((0, len(value)))
        return value, np.concatenate([statistic(weights) for weights in self._multinomial()])

    def _multinomial(self) -> Iterator[Doubles]:
        """Weights of the resamples in chunks ``[n, G]``: each draws ``G`` groups with return."""
        rng = np.random.default_rng(self.seed)
        for size in self._chunks(self.count):
            drawn = rng.integers(0, self.size, (size, self.size))
            drawn += self.size * np.arange(size)[:, None]
            counts = np.bincount(drawn.ravel(), minlength=size * self.size)
            yield counts.reshape(size, self.size).astype(np.float64)

    def _jackknife(self) -> Iterator[Doubles]:
        """Weights in chunks ``[n, G]``, each without one block of groups."""
        blocks = min(self.size, _BLOCKS)
        block = np.arange(self.size) % blocks
        first = 0
        for size in self._chunks(blocks):
            yield (block != np.arange(first, first + size)[:, None]).astype(np.float64)
            first += size

    def _chunks(self, total: int) -> Iterator[int]:
        most = max(1, _CELLS // max(1, len(self.groups)))
        for start in range(0, total, most):
            yield min(most, total - start)


def _bca(value: float, draws: Doubles, left_out: Doubles) -> tuple[float, float]:
    """The BCa interval, widened to its value where resampling is biased beyond correction."""
    draws = draws[~np.isnan(draws)]
    if np.isnan(value) or not len(draws):
        return np.nan, np.nan
    below = (np.sum(draws < value) + 0.5 * np.sum(draws == value)) / len(draws)
    margin = 0.5 / len(draws)
    bias = _NORMAL.inv_cdf(min(max(float(below), margin), 1 - margin))
    left_out = left_out[~np.isnan(left_out)]
    influence = left_out.mean() - left_out if len(left_out) else np.zeros(1)
    spread = float(np.sum(influence**2))
    acceleration = float(np.sum(influence**3)) / (6 * spread**1.5) if spread > 0 else 0.0
    levels = [_corrected(bias, acceleration, level) for level in LEVELS]
    low, high = np.quantile(draws, levels)
    return float(min(low, value)), float(max(high, value))


def _corrected(bias: float, acceleration: float, level: float) -> float:
    """The quantile of the draws that BCa takes for a quantile of the normal distribution."""
    shift = bias + _NORMAL.inv_cdf(level)
    stretch = 1 - acceleration * shift
    if stretch <= 0:  # beyond the pole: all of that side
        return 1.0 if shift > 0 else 0.0
    return _NORMAL.cdf(bias + shift / stretch)
