"""How agents compare with their team: effective counts, rates drawn towards it, what stands out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from tactful.report.intervals import Bools, Codes, Estimate, Floats, holm
from tactful.report.scored_table import ScoredTable
from tactful.report.shrinkage import Shrunk, design_effects, differs_from_rest, shrink

LEVEL = 0.05
"""The chance that even one agent is said to differ where none does is at most this."""

Apart = Literal["above", "below"]


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
