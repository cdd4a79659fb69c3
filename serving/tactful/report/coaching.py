"""A page for each agent: strengths first, two strategies to try, and examples of both.

What is said of persons rests on words of their own: a stock phrase counts for nothing here. Rates
are drawn towards the team's (`agent_comparison`); that one differs from the team is said only where
more than chance supports it, all agents and strategies considered (Holm).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tactful.report.agent_comparison import Apart, Comparison, compare
from tactful.report.distress import THRESHOLD
from tactful.report.intervals import Bools, Codes, Estimate, rates
from tactful.report.label_roles import STRATEGIES
from tactful.report.missed_opportunities import Missed
from tactful.report.overview import shown_groups
from tactful.report.scored_table import ScoredTable

_STRENGTHS, _TRIES = 3, 2
_LEAST_USES = 5  # of a strength
_LEAST_TEAM_RATE = 0.02  # what the team hardly does either is nothing to try
_READABLE = 80  # words of an example


@dataclass(frozen=True, slots=True)
class AgentStrategy:
    """How often an agent uses a strategy.

    Attributes:
        seen: share of the agent's replies that have it, stock phrases and all.
        own: share in words of their own, drawn towards the team's.
        team: the team's mean of that.
        apart: whether more than chance tells it from the rest of the team, and to which side.
    """

    seen: Estimate
    own: Estimate
    team: float
    apart: Apart | None


@dataclass(frozen=True, slots=True)
class Example:
    """A reply that shows something.

    Attributes:
        row: its row in the table.
        strategy: what it is about.
        shows: it has the strategy (``own``, or ``team``: a team-mate's), it met distress without it
            (``missed``), or came close to having it (``close``).
    """

    row: int
    strategy: str
    shows: Literal["own", "team", "missed", "close"]


@dataclass(frozen=True, slots=True)
class AgentPage:
    """What is told an agent.

    Attributes:
        name: of the agent.
        team: their team; empty where it is not known.
        replies: how many were read.
        strategies: each strategy to how often it is used.
        distressed: how many replies were to customers in distress.
        missed: how many of these did not answer it.
        strengths: strategies to be proud of, the strongest first.
        tries: strategies to try.
        examples: of both.
    """

    name: str
    team: str
    replies: int
    strategies: Mapping[str, AgentStrategy]
    distressed: int
    missed: int
    strengths: tuple[str, ...]
    tries: tuple[str, ...]
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class Coaching:
    """Pages of agents.

    Attributes:
        agents: those with enough replies, by name.
        hidden: how many have fewer.
        hidden_replies: how many replies these have.
        comparisons: how many comparisons were corrected for.
    """

    agents: tuple[AgentPage, ...]
    hidden: int
    hidden_replies: int
    comparisons: int


def coaching(
    table: ScoredTable, own: Bools, missed: Sequence[Missed], *, minimum: int
) -> Coaching | None:
    """The pages of all agents; None where agents are not known.

    Args:
        table: what was read.
        own: which replies have which strategy in words of their own; ``[R, S]``.
        missed: all missed opportunities, the plainest first.
        minimum: of an agent with fewer replies nothing is shown.
    """
    column = table.names.get("agent")
    if column is None:
        return None
    shown, hidden, hidden_replies = shown_groups(column, minimum)
    shown.sort(key=lambda code: (column.names[code].casefold(), column.names[code]))
    if not shown:
        return Coaching((), hidden, hidden_replies, 0)
    comparison = compare(table, own, shown)
    finder = _Finder(table, own, column.codes, comparison.team_of, missed)
    pages = []
    for place, code in enumerate(shown):
        rows = column.rows_of(code)
        seen, apart = rates(table.has[rows], table.conversations[rows]), comparison.apart(place)
        strengths = _strengths(table, own[rows], comparison, place)
        tries = _tries(table, comparison, place, finder.wanted(code), strengths)
        team = int(comparison.team_of[code])
        pages.append(
            AgentPage(
                column.names[code],
                table.names["team"].names[team] if team >= 0 else "",
                len(rows),
                {
                    strategy: AgentStrategy(
                        seen[s],
                        comparison.estimate(place, s, len(rows)),
                        float(comparison.shrunk.team[place, s]),
                        apart[s],
                    )
                    for s, strategy in enumerate(table.strategies)
                },
                int(finder.distressed[rows].sum()),
                len(finder.missed_of(code)),
                strengths,
                tries,
                tuple(finder.examples(code, strengths, tries)),
            )
        )
    return Coaching(tuple(pages), hidden, hidden_replies, comparison.p.size)


def _strengths(
    table: ScoredTable, own: Bools, comparison: Comparison, place: int
) -> tuple[str, ...]:
    """First what is above the team beyond chance, then what is most above it; never below it."""
    ratio, apart, uses = (
        comparison.log_odds_ratio(place),
        comparison.apart(place),
        own.sum(axis=0).tolist(),
    )
    order = sorted(range(len(ratio)), key=lambda s: (apart[s] != "above", -ratio[s]))
    liked = [s for s in order if uses[s] >= _LEAST_USES and apart[s] != "below"]
    if not liked:
        liked = [s for s in order if uses[s] == max(uses) > 0][:1]
    return tuple(table.strategies[s] for s in liked[:_STRENGTHS])


def _tries(
    table: ScoredTable,
    comparison: Comparison,
    place: int,
    wanted: set[str],
    strengths: tuple[str, ...],
) -> tuple[str, ...]:
    """First what is below the team beyond chance, then what would have fitted, then the least."""
    ratio, apart = comparison.log_odds_ratio(place), comparison.apart(place)
    team = comparison.shrunk.team[place]

    def order(s: int) -> tuple[bool, bool, float]:
        return apart[s] != "below", table.strategies[s] not in wanted, float(ratio[s])

    left = [
        s
        for s, strategy in enumerate(table.strategies)
        if strategy not in strengths and team[s] >= _LEAST_TEAM_RATE and apart[s] != "above"
    ]
    return tuple(table.strategies[s] for s in sorted(left, key=order)[:_TRIES])


class _Finder:
    """Finds replies that show something."""

    def __init__(
        self,
        table: ScoredTable,
        own: Bools,
        agents: Codes,
        team_of: Codes,
        missed: Sequence[Missed],
    ) -> None:
        self._table, self._own, self._agents, self._team_of = table, own, agents, team_of
        self._missed: dict[int, list[Missed]] = {}
        for each in missed:
            self._missed.setdefault(int(agents[each.row]), []).append(each)
        self.distressed = np.asarray(table.distress >= THRESHOLD)
        # How good an example each reply is: sure of its label, and not too long to be read.
        scores = np.nan_to_num(table.scores[STRATEGIES], nan=0.0)
        self._good = scores - (table.words > _READABLE)[:, None]
        self._best = {}
        known = np.flatnonzero(agents >= 0)
        teams = team_of[agents[known]]
        for team in np.unique(teams).tolist():
            self._best[team] = known[teams == team]

    def missed_of(self, agent: int) -> list[Missed]:
        """What an agent missed, the plainest first."""
        return self._missed.get(agent, [])

    def wanted(self, agent: int) -> set[str]:
        """What would have fitted where the agent missed something."""
        return {label for each in self.missed_of(agent) for label in each.fitting}

    def examples(
        self, agent: int, strengths: tuple[str, ...], tries: tuple[str, ...]
    ) -> list[Example]:
        """Examples for a page; those for which nothing is found are missing."""
        found = []
        mine = np.flatnonzero(self._agents == agent)
        for strategy in strengths:
            s = self._table.strategies.index(strategy)
            if (row := self._top(mine[self._own[mine, s]], s)) is not None:
                found.append(Example(row, strategy, "own"))
        for strategy in tries:
            s = self._table.strategies.index(strategy)
            fitting = [each for each in self.missed_of(agent) if strategy in each.fitting]
            if fitting:
                found.append(Example(fitting[0].row, strategy, "missed"))
            elif (row := self._top(mine[~self._table.has[mine, s]], s)) is not None:
                found.append(Example(row, strategy, "close"))
            others = self._best[int(self._team_of[agent])]
            others = others[self._agents[others] != agent]
            if (row := self._top(others[self._own[others, s]], s)) is not None:
                found.append(Example(row, strategy, "team"))
        return found

    def _top(self, rows: NDArray[np.int64], s: int) -> int | None:
        return int(rows[self._good[rows, s].argmax()]) if len(rows) else None
