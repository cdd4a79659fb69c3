"""How conversations end: what their last agent turn holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tactful.report.intervals import Estimate, rate
from tactful.report.label_roles import ENDINGS
from tactful.report.overview import shown_groups, without_small_teams
from tactful.report.scored_table import ScoredTable


@dataclass(frozen=True, slots=True)
class Endings:
    """Shares of conversations whose last turn has something.

    Attributes:
        conversations: how many there are.
        shares: name in `ENDINGS` to share; those whose labels the bundle does not know are missing.
        teams: the same by team of the last turn, of teams with enough conversations.
    """

    conversations: int
    shares: Mapping[str, Estimate]
    teams: Mapping[str, Mapping[str, Estimate]]


def endings(table: ScoredTable, *, minimum: int, persons: bool) -> Endings | None:
    """How conversations end; None where conversations are not known.

    Args:
        table: what was read.
        minimum: teams with fewer conversations are not shown.
        persons: whether teams of one or two agents are shown.
    """
    last = last_turns(table)
    if not len(last):
        return None
    teams: dict[str, dict[str, Estimate]] = {}
    column = table.names.get("team")
    if column is not None:
        if not persons:
            column = without_small_teams(table, column)
        column = column.taken(last)
        for code in shown_groups(column, minimum)[0]:
            teams[column.names[code]] = _shares(table, last[column.rows_of(code)])
    return Endings(len(last), _shares(table, last), teams)


def last_turns(table: ScoredTable) -> NDArray[np.int64]:
    """The row of each conversation's last reply.

    The latest by time, where all times of the conversation are known; else the last in SCORED.
    """
    known = np.flatnonzero(table.conversations >= 0)
    if not len(known):
        return known
    codes, place = np.unique(table.conversations[known], return_inverse=True)
    unknown = ~np.isfinite(table.time[known])
    timed = np.bincount(place, unknown, len(codes))[place] == 0
    order = np.lexsort((known, np.where(timed, table.time[known], 0.0), place))
    ends = np.flatnonzero(np.r_[place[order][1:] != place[order][:-1], True])
    return known[order][ends]


def _shares(table: ScoredTable, rows: NDArray[np.int64]) -> dict[str, Estimate]:
    found = {}
    for name, labels in ENDINGS.items():
        hits = table.any_of(labels)
        if hits is not None and (share := rate(hits[rows], np.full(len(rows), -1))) is not None:
            found[name] = share
    return found
