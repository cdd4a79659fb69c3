"""How agents compare with their team: rates drawn towards it, and what more than chance supports.

Rates follow a beta-binomial model: those of a team's agents vary around its mean with an
intra-class correlation, and an agent of few replies is taken to be more like the team. The team's
mean is estimated with Kleinman's weights (1973, JASA 68), and the correlation, common to all teams,
is averaged over what the data allow instead of fixed at its best value (Deely and Lindley 1981,
*Bayes empirical Bayes*, JASA 76): with one best value of nearly none, intervals would be far too
narrow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import betaincinv, betaln, gammaln, logsumexp

from tactful.report.intervals import Bools, Codes, Estimate, Floats, holm, sums_by
from tactful.report.scored_table import ScoredTable

LEVEL = 0.05
"""The chance that even one agent is said to differ where none does is at most this."""

Apart = Literal["above", "below"]
# Correlations that are considered; even in their root, that is, in the spread between agents.
_CORRELATIONS = np.linspace(0.01, 0.7, 40) ** 2


@dataclass(frozen=True, eq=False)
class Shrunk:
    """Rates of agents drawn towards their teams'; all ``[A, S]``.

    Attributes:
        value: the rate.
        low: lower end of its 95% interval.
        high: upper end.
        team: the mean rate of the agent's team.
    """

    value: Floats
    low: Floats
    high: Floats
    team: Floats


def shrink(hits: Floats, n: Floats, teams: Codes) -> Shrunk:
    """Draw the rates of agents towards their team's mean.

    Args:
        hits: (effective) replies of each agent that have each strategy; ``[A, S]``.
        n: (effective) replies of each agent, above 0; ``[A, S]``.
        teams: of each agent; ``[A]``.
    """
    place = np.unique(teams, return_inverse=True)[1]
    correlation = np.zeros(hits.shape[1])
    for _ in range(3):  # the mean needs the correlation, and the correlation the mean
        weights = n / (1 + correlation * (n - 1))
        total, weight = (_by_team(each, place) for each in (weights * hits / n, weights))
        team = np.clip(total / weight, 1e-6, 1 - 1e-6)[place]
        likely = _correlations(hits, n, team)
        correlation = (likely * _CORRELATIONS[:, None]).sum(axis=0)
    first, second = np.zeros(hits.shape), np.zeros(hits.shape)
    for weight_of, rho in zip(likely, _CORRELATIONS, strict=True):
        strength = (1 - rho) / rho
        a, b = team * strength + hits, (1 - team) * strength + n - hits
        mean = a / (a + b)
        first += weight_of * mean
        second += weight_of * (mean * (1 - mean) / (a + b + 1) + mean**2)
    # The beta distribution of the same mean and variance stands for the mixture.
    variance = np.maximum(second - first**2, 1e-15)
    size = np.maximum(first * (1 - first) / variance - 1, 1e-6)
    low, high = (betaincinv(first * size, (1 - first) * size, q) for q in (0.025, 0.975))
    return Shrunk(first, np.minimum(low, first), np.maximum(high, first), team)


def _by_team(values: Floats, place: Codes) -> Floats:
    found = np.zeros((place.max() + 1, values.shape[1]))
    np.add.at(found, place, values)
    return found


def _correlations(hits: Floats, n: Floats, team: Floats) -> Floats:
    """How likely each of the correlations is, given the team's mean; ``[G, S]``, sums to 1."""
    strength = ((1 - _CORRELATIONS) / _CORRELATIONS)[:, None, None]
    a, b = team * strength, (1 - team) * strength
    likelihood = (betaln(a + hits, b + n - hits) - betaln(a, b)).sum(axis=1)
    return np.asarray(np.exp(likelihood - logsumexp(likelihood, axis=0)))


def design_effects(hits: Bools, conversations: Codes, agents: Codes) -> Floats:
    """How many times fewer independent replies there are than replies, for each column; 1 or more.

    Args:
        hits: ``[R, S]``.
        conversations: of each row; negative: one of its own.
        agents: of each row, from 0.
    """
    width = int(conversations.max(initial=0)) + 1
    clusters = np.where(conversations < 0, -1, agents * width + conversations)
    sums, sizes = sums_by(hits, clusters)
    if len(sizes) == len(hits):
        return np.ones(hits.shape[1])
    owner = sums_by(agents[:, None].astype(float), clusters)[0][:, 0] / sizes
    place = owner.round().astype(np.int64)
    replies = np.bincount(agents).astype(float)
    share = np.zeros((len(replies), hits.shape[1]))
    np.add.at(share, place, sums)
    share /= np.maximum(replies, 1)[:, None]
    residual = ((sums - share[place] * sizes[:, None]) ** 2).sum(axis=0)
    plain = (replies[:, None] * share * (1 - share)).sum(axis=0)
    known = np.count_nonzero(replies)
    correction = len(sizes) / max(len(sizes) - int(known), 1)
    effect = np.ones(hits.shape[1])
    np.divide(residual * correction, plain, out=effect, where=plain > 0)
    return np.maximum(effect, 1)


def differs_from_rest(hits: Floats, n: Floats, all_hits: Floats, all_n: Floats) -> Floats:
    """Two-sided p value of an agent's rate being that of the rest of the team.

    Fisher's exact test (1935) at (effective) counts, the smaller tail doubled; 1 where there is no
    rest.

    Args:
        hits: replies of the agent that have a strategy; ``[A, S]``.
        n: replies of the agent.
        all_hits: those of the whole team.
        all_n: those of the whole team.
    """
    # Towards the middle: what is rounded must not make a difference larger than it is.
    n, all_n = np.floor(n), np.floor(all_n)
    all_hits = np.clip(np.round(all_hits), 0, all_n)
    middle = all_hits / np.maximum(all_n, 1)
    hits = np.clip(np.where(hits > middle * n, np.floor(hits), np.ceil(hits)), 0, n)
    hits = np.clip(hits, np.maximum(0, n - (all_n - all_hits)), np.minimum(n, all_hits))
    factorials = gammaln(np.arange(int(all_n.max(initial=0)) + 1) + 1.0)

    def choices(n: int, k: Codes) -> Floats:
        return np.asarray(factorials[n] - factorials[k] - factorials[n - k])

    p = np.ones(hits.shape)
    for at in np.ndindex(hits.shape):
        k, m, with_it, everyone = (int(each[at]) for each in (hits, n, all_hits, all_n))
        if everyone > m:
            possible = np.arange(max(0, m - (everyone - with_it)), min(m, with_it) + 1)
            chance = choices(with_it, possible) + choices(everyone - with_it, m - possible)
            tail = np.exp(chance - choices(everyone, np.array(m)))
            place = k - possible[0]
            p[at] = min(2 * min(tail[: place + 1].sum(), tail[place:].sum()), 1)
    return p


@dataclass(frozen=True, eq=False)
class Comparison:
    """How some agents compare with their teams; ``A`` agents, ``S`` strategies.

    Attributes:
        shrunk: rates in words of their own, drawn towards the team's.
        p: corrected p values of not differing from the rest of the team; ``[A, S]``.
        team_of: the team of each agent there is, by code; negative where it has none.
    """

    shrunk: Shrunk
    p: Floats
    above: Bools
    team_of: Codes

    def estimate(self, agent: int, strategy: int, n: int) -> Estimate:
        """The rate of an agent, by place."""
        value, low, high = self.shrunk.value, self.shrunk.low, self.shrunk.high
        at = (agent, strategy)
        return Estimate(float(value[at]), float(low[at]), float(high[at]), n)

    def apart(self, agent: int) -> list[Apart | None]:
        """Of each strategy whether more than chance tells the agent (by place) from the rest."""
        found: list[Apart | None] = []
        for p, above in zip(self.p[agent].tolist(), self.above[agent].tolist(), strict=True):
            side: Apart = "above" if above else "below"
            found.append(side if p <= LEVEL else None)
        return found

    def log_odds_ratio(self, agent: int) -> Floats:
        """How far an agent (by place) is from the team; ``[S]``, 0 is like it."""
        odds = []
        for rate in (self.shrunk.value[agent], self.shrunk.team[agent]):
            rate = np.clip(rate, 1e-6, 1 - 1e-6)
            odds.append(np.log(rate / (1 - rate)))
        return np.asarray(odds[0] - odds[1])


def compare(table: ScoredTable, own: Bools, agents: list[int]) -> Comparison:
    """Compare agents with their teams.

    Args:
        table: what was read; it has a column of agents.
        own: which replies have which strategy in words of their own; ``[R, S]``.
        agents: codes of the agents.
    """
    column = table.names["agent"]
    codes, count = column.codes, len(column.names)
    team_of = _teams(table, codes, count)
    known = np.flatnonzero(codes >= 0)
    effect = design_effects(own[known], table.conversations[known], codes[known])
    hits = np.zeros((count, own.shape[1]))
    np.add.at(hits, codes[known], own[known])
    hits /= effect
    n = np.bincount(codes[known], minlength=count)[:, None] / effect
    # Those of no team are one, with the code -1.
    team_hits = np.zeros((int(team_of.max()) + 2, own.shape[1]))
    team_n = team_hits.copy()
    np.add.at(team_hits, team_of + 1, hits)
    np.add.at(team_n, team_of + 1, n)
    mine, my_n, team = hits[agents], n[agents], team_of[agents] + 1
    p = differs_from_rest(mine, my_n, team_hits[team], team_n[team])
    above = np.asarray(mine / my_n > team_hits[team] / team_n[team])
    corrected = holm(p.ravel()).reshape(p.shape)
    return Comparison(shrink(mine, my_n, team_of[agents]), corrected, above, team_of)


def _teams(table: ScoredTable, agents: Codes, count: int) -> Codes:
    """The team of each agent: the one that most of the replies name; negative: none."""
    if (teams := table.names.get("team")) is None:
        return np.full(count, -1, np.int64)
    votes = np.zeros((count, len(teams.names) + 1), np.int64)
    known = agents >= 0
    np.add.at(votes, (agents[known], teams.codes[known] + 1), 1)
    votes[:, 0] = np.where(votes[:, 1:].sum(axis=1) > 0, 0, votes[:, 0])
    return np.asarray(votes.argmax(axis=1) - 1)
