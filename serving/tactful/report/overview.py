"""Rates of labels: in all, week by week, by channel and by team."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

import numpy as np
from numpy.typing import NDArray

from tactful.report.intervals import (
    Bools,
    Estimate,
    Reliabilities,
    adjusted,
    effective_replies,
    rates,
)
from tactful.report.label_roles import STRATEGIES
from tactful.report.scored_table import Coded, ScoredTable, labels_of

# A team of fewer agents speaks of persons.
FEWEST_AGENTS = 3


@dataclass(frozen=True, slots=True)
class LabelRate:
    """How many replies have a label.

    Attributes:
        seen: the share that the reader gave it to.
        adjusted: the same corrected for the reader's errors, where these are known.
        own: the share that have it in words of their own, no stock phrase; strategies only.
    """

    seen: Estimate
    adjusted: Estimate | None = None
    own: Estimate | None = None


LabelRates = Mapping[str, Mapping[str, LabelRate]]
"""Task to label to rate."""


@dataclass(frozen=True, slots=True)
class GroupRates:
    """The rates of a week, a channel or a team.

    Attributes:
        name: of the group; of a week its Monday.
        replies: how many there are.
        rates: of every label.
    """

    name: str
    replies: int
    rates: LabelRates


@dataclass(frozen=True, slots=True)
class Groups:
    """Groups of replies, and how many are too small to be shown."""

    shown: tuple[GroupRates, ...]
    hidden: int
    hidden_replies: int


@dataclass(frozen=True, slots=True)
class Overview:
    """Rates of labels; a grouping whose column was not given is None."""

    rates: LabelRates
    weeks: Groups | None
    channels: Groups | None
    teams: Groups | None


class LabelCounter:
    """Counts labels among some of the rows of a table.

    Args:
        table: the rows.
        own: which replies have which strategy in words of their own, ``[R, S]``.
        reliabilities: how well labels are read.
    """

    def __init__(self, table: ScoredTable, own: Bools, reliabilities: Reliabilities) -> None:
        self._table, self._own, self._reliabilities = table, own, reliabilities

    def rates(self, rows: NDArray[np.int64] | None = None) -> dict[str, dict[str, LabelRate]]:
        """Task to label to its rate in some rows (by default all), at least one."""
        table = self._table
        if rows is None:
            rows = np.arange(len(table))
        conversations = table.conversations[rows]
        own = rates(self._own[rows], conversations)
        found: dict[str, dict[str, LabelRate]] = {}
        for task, labels, hits in labels_of(table):
            seen = rates(hits[rows], conversations)
            effective = effective_replies(hits[rows], conversations)
            known = self._reliabilities.get(task, {})
            found[task] = {
                label: LabelRate(
                    seen[column],
                    adjusted(seen[column], float(effective[column]), known.get(label)),
                    own[column] if task == STRATEGIES else None,
                )
                for column, label in enumerate(labels)
            }
        return found


def overview(
    table: ScoredTable, counter: LabelCounter, *, minimum: int, zone: tzinfo | None, persons: bool
) -> Overview:
    """Rates of labels, in all and by group.

    Args:
        table: what was read.
        counter: counts in it.
        minimum: groups of fewer replies are not shown.
        zone: in which weeks begin; UTC by default.
        persons: whether teams of one or two agents are shown.
    """
    weeks = None
    if np.isfinite(table.time).any():
        weeks = _groups(by_week(table, zone or UTC), counter, minimum)
    teams = table.names.get("team")
    if teams is not None and not persons:
        teams = without_small_teams(table, teams)
    channels = table.names.get("channel")
    return Overview(
        counter.rates(),
        weeks,
        None if channels is None else _groups(channels, counter, minimum),
        None if teams is None else _groups(teams, counter, minimum),
    )


def by_week(table: ScoredTable, zone: tzinfo) -> Coded:
    """The week of each reply, named by its Monday; weeks are in order."""
    mondays = {}
    for row in np.flatnonzero(np.isfinite(table.time)).tolist():
        day = datetime.fromtimestamp(table.time[row], zone).date()
        mondays[row] = (day - timedelta(days=day.weekday())).isoformat()
    names = sorted(set(mondays.values()))
    place = {name: index for index, name in enumerate(names)}
    codes = np.full(len(table), -1, np.int64)
    for row, monday in mondays.items():
        codes[row] = place[monday]
    return Coded(codes, tuple(names))


def without_small_teams(table: ScoredTable, teams: Coded) -> Coded:
    """Teams of too few agents to be more than these persons are as if they had no name."""
    agents = table.names.get("agent")
    if agents is None:
        return teams
    pairs = np.unique(np.column_stack([teams.codes, agents.codes]), axis=0)
    pairs = pairs[(pairs >= 0).all(axis=1)]
    sizes = np.bincount(pairs[:, 0], minlength=len(teams.names))
    small = (teams.codes >= 0) & (sizes[teams.codes] < FEWEST_AGENTS)
    return Coded(np.where(small, -1, teams.codes), teams.names)


def shown_groups(column: Coded, minimum: int) -> tuple[list[int], int, int]:
    """Codes of the groups that are large enough; how many are not, and replies in those."""
    sizes = np.bincount(column.codes[column.codes >= 0], minlength=len(column.names))
    shown = [code for code in range(len(column.names)) if sizes[code] >= minimum]
    hidden = sizes[(sizes > 0) & (sizes < minimum)]
    return shown, len(hidden), int(hidden.sum())


def _groups(column: Coded, counter: LabelCounter, minimum: int) -> Groups:
    shown, hidden, hidden_replies = shown_groups(column, minimum)
    found = []
    for code in sorted(shown, key=lambda code: column.names[code].casefold()):
        rows = column.rows_of(code)
        found.append(GroupRates(column.names[code], len(rows), counter.rates(rows)))
    return Groups(tuple(found), hidden, hidden_replies)
