"""Which strategies go with a better outcome: association, which is not cause.

Each strategy in a linear regression of its own: outcome on having it, channel, and the logarithm of
the number of words (and of replies), by ordinary least squares. Intervals are robust: clustered by
agent with Student's t where there are enough agents (Liang and Zeger 1986, Biometrika 73), else HC3
(MacKinnon and White 1985, J. Econometrics 29). Which of them differ from nothing is decided after
Benjamini and Hochberg's correction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special

from tactful.report.intervals import Codes, Estimate, Floats, benjamini_hochberg
from tactful.report.scored_table import ScoredTable

_FEWEST_AGENTS = 20  # fewer clusters make the robust variance too small (Cameron and Miller 2015)
_FEWEST_EACH = 20  # units with and without a strategy
_FEWEST_OF_CHANNEL = 10
_LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class Association:
    """How the outcome differs with a strategy.

    Attributes:
        strategy: its name.
        difference: mean outcome with it less that without, channel and length being alike; ``n`` is
            how many units have it.
        supported: whether more than chance tells the difference from nothing, all strategies
            considered.
    """

    strategy: str
    difference: Estimate
    supported: bool


@dataclass(frozen=True, slots=True)
class OutcomeFigures:
    """What goes with the outcome.

    Attributes:
        unit: what is compared.
        n: how many of them have an outcome.
        mean: their mean outcome.
        adjusted_for: what is held alike.
        errors: how intervals were made.
        associations: of strategies that are neither too rare nor too common, strongest first.
    """

    unit: Literal["conversations", "replies"]
    n: int
    mean: float
    adjusted_for: tuple[str, ...]
    errors: Literal["clustered by agent", "HC3"]
    associations: tuple[Association, ...]


def outcome_figures(table: ScoredTable) -> OutcomeFigures | None:
    """What goes with the outcome; None where it is known of too few, or always the same."""
    by_conversation = bool((table.conversations >= 0).any())
    units = _units(table, by_conversation)
    known = np.flatnonzero(np.isfinite(units.outcome))
    outcome = units.outcome[known]
    if len(known) < 2 * _FEWEST_EACH or np.ptp(outcome) == 0:
        return None
    controls, adjusted_for = [np.ones(len(known)), np.log1p(units.words[known])], ["length"]
    if by_conversation:
        controls.append(np.log(units.replies[known]))
        adjusted_for.append("number of replies")
    channels = units.channel[known]
    frequent = [c for c, n in enumerate(np.bincount(channels + 1)) if n >= _FEWEST_OF_CHANNEL]
    if len(frequent) > 1:  # rare ones stand together with the first
        controls += [(channels + 1 == code).astype(float) for code in frequent[1:]]
        adjusted_for.insert(0, "channel")
    agents = units.agent[known]
    clustered = len(np.unique(agents[agents >= 0])) >= _FEWEST_AGENTS
    found: list[tuple[str, Estimate, float]] = []
    for column, strategy in enumerate(table.strategies):
        has = units.has[known, column]
        if min(has.sum(), (~has).sum()) < _FEWEST_EACH:
            continue
        design = np.column_stack([has.astype(float), *controls])
        difference, error, freedom = _first_coefficient(
            design, outcome, agents if clustered else None
        )
        if not error > 0:
            continue
        reach = float(special.stdtrit(freedom, 1 - _LEVEL / 2)) * error
        estimate = Estimate(difference, difference - reach, difference + reach, int(has.sum()))
        found.append(
            (strategy, estimate, 2 * float(special.stdtr(freedom, -abs(difference) / error)))
        )
    corrected = benjamini_hochberg(np.array([p for _, _, p in found]))
    associations = [
        Association(strategy, estimate, bool(p <= _LEVEL))
        for (strategy, estimate, _), p in zip(found, corrected, strict=True)
    ]
    associations.sort(key=lambda each: -each.difference.value)
    return OutcomeFigures(
        "conversations" if by_conversation else "replies",
        len(known),
        float(outcome.mean()),
        tuple(adjusted_for),
        "clustered by agent" if clustered else "HC3",
        tuple(associations),
    )


@dataclass(frozen=True, eq=False)
class _Units:
    outcome: Floats
    has: np.ndarray[tuple[int, int], np.dtype[np.bool_]]
    words: Floats
    replies: Floats
    channel: Codes
    agent: Codes


def _units(table: ScoredTable, by_conversation: bool) -> _Units:
    """Conversations (replies of none left out): any reply's strategies, the last known outcome."""
    nobody = np.full(len(table), -1, np.int64)
    channel, agent = (
        table.names[role].codes if role in table.names else nobody for role in ("channel", "agent")
    )
    if not by_conversation:
        ones = np.ones(len(table))
        return _Units(table.outcome, table.has, table.words.astype(float), ones, channel, agent)
    rows = np.flatnonzero(table.conversations >= 0)
    codes, first, place = np.unique(
        table.conversations[rows], return_index=True, return_inverse=True
    )
    outcome = np.full(len(codes), np.nan)
    known = np.isfinite(table.outcome[rows])
    outcome[place[known]] = table.outcome[rows][known]
    has = np.zeros((len(codes), table.has.shape[1]), np.bool_)
    np.logical_or.at(has, place, table.has[rows])
    return _Units(
        outcome,
        has,
        np.bincount(place, table.words[rows]).astype(float),
        np.bincount(place).astype(float),
        channel[rows][first],
        agent[rows][first],
    )


def _first_coefficient(
    design: Floats, outcome: Floats, clusters: Codes | None
) -> tuple[float, float, float]:
    """The first coefficient of least squares, its robust standard error, degrees of freedom."""
    n = len(design)
    inverse = np.linalg.pinv(design.T @ design)
    coefficients = inverse @ design.T @ outcome
    residual = outcome - design @ coefficients
    width = int(np.linalg.matrix_rank(design))
    if clusters is None:
        leverage = np.einsum("ij,jk,ik->i", design, inverse, design)
        scaled = residual / np.maximum(1 - leverage, 1e-9)
        weights = (design * scaled[:, None]) @ inverse[:, 0]
        return float(coefficients[0]), float(np.sqrt((weights**2).sum())), float(n - width)
    # Units of nobody are clusters of their own.
    alone = clusters < 0
    place = np.where(alone, np.cumsum(alone) + clusters.max(initial=0), clusters)
    place = np.unique(place, return_inverse=True)[1]
    groups = int(place.max()) + 1
    weights = (design * residual[:, None]) @ inverse[:, 0]
    variance = float((np.bincount(place, weights) ** 2).sum())
    variance *= groups / (groups - 1) * (n - 1) / (n - width)
    return float(coefficients[0]), variance**0.5, float(groups - 1)
