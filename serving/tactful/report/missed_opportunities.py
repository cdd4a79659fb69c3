"""Customers in distress, and the replies that did not answer it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tactful.report.distress import THRESHOLD, Kind
from tactful.report.intervals import Bools, Estimate, any_of, rate
from tactful.report.label_roles import ANSWERS, FITTING, STRATEGIES
from tactful.report.overview import shown_groups, without_small_teams
from tactful.report.scored_table import KINDS, ScoredTable


@dataclass(frozen=True, slots=True)
class Missed:
    """A reply that did not answer the distress before it.

    Attributes:
        row: its row in the table.
        distress: the score of its context.
        kinds: what the distress is of.
        fitting: strategies that would have fitted.
        answered_elsewhere: whether another reply of the conversation answered it.
    """

    row: int
    distress: float
    kinds: tuple[Kind, ...]
    fitting: tuple[str, ...]
    answered_elsewhere: bool


@dataclass(frozen=True, slots=True)
class DistressFigures:
    """How distress was met.

    Attributes:
        distressed: share of the replies with a context whose customer is in distress.
        unanswered: share of these without acknowledgement, apology or concern: what was missed.
        nothing: share of these without any strategy at all.
        teams: team to its ``unanswered``, of teams with enough such replies.
        channels: likewise.
    """

    distressed: Estimate
    unanswered: Estimate | None
    nothing: Estimate | None
    teams: Mapping[str, Estimate]
    channels: Mapping[str, Estimate]


def missed_rows(table: ScoredTable) -> Bools | None:
    """Which replies met distress and did not answer it, ``[R]``; None where no label would."""
    answers = table.any_of(ANSWERS)
    return None if answers is None else (table.distress >= THRESHOLD) & ~answers


def distress_figures(table: ScoredTable, *, minimum: int, persons: bool) -> DistressFigures | None:
    """How distress was met; None where there is no context, or no label that answers it.

    Args:
        table: what was read.
        minimum: groups with fewer replies to distress are not shown.
        persons: whether teams of one or two agents are shown.
    """
    missed = missed_rows(table)
    with_context = np.flatnonzero(table.context_words)
    if missed is None or not len(with_context):
        return None
    found = table.distress >= THRESHOLD
    distressed = rate(found[with_context], table.conversations[with_context])
    assert distressed is not None
    rows = np.flatnonzero(found)
    conversations = table.conversations[rows]
    groups: dict[str, dict[str, Estimate]] = {"team": {}, "channel": {}}
    for role, shown in groups.items():
        column = table.names.get(role)
        if column is None:
            continue
        if role == "team" and not persons:
            column = without_small_teams(table, column)
        column = column.taken(rows)
        for code in shown_groups(column, minimum)[0]:
            mine = rows[column.rows_of(code)]
            if (share := rate(missed[mine], table.conversations[mine])) is not None:
                shown[column.names[code]] = share
    return DistressFigures(
        distressed,
        rate(missed[rows], conversations),
        rate(~any_of(table.has[rows]), conversations),
        groups["team"],
        groups["channel"],
    )


def ranked_missed(table: ScoredTable) -> list[Missed]:
    """All missed opportunities, the plainest first.

    First those that no other reply of the conversation made good, then by distress, then by how
    sure the reader is that nothing answers it, then the latest.
    """
    missed = missed_rows(table)
    answers = table.any_of(ANSWERS)
    if missed is None or answers is None:
        return []
    elsewhere = _in_conversation(answers, table)
    rows = np.flatnonzero(missed)
    columns = [table.strategies.index(label) for label in ANSWERS if label in table.strategies]
    surest = np.nan_to_num(table.scores[STRATEGIES][:, columns], nan=0).max(axis=1)
    order = np.lexsort((-rows, surest[rows], -table.distress[rows], elsewhere[rows]))
    return [_missed(table, row, bool(elsewhere[row])) for row in rows[order].tolist()]


def _in_conversation(answers: Bools, table: ScoredTable) -> Bools:
    """Whether any reply of a row's conversation answers, ``[R]``."""
    known = table.conversations >= 0
    found = np.zeros(len(table), np.bool_)
    if known.any():
        codes, place = np.unique(table.conversations[known], return_inverse=True)
        found[known] = (np.bincount(place, answers[known], len(codes)) > 0)[place]
    return found


def _missed(table: ScoredTable, row: int, elsewhere: bool) -> Missed:
    kinds = tuple(kind for kind, here in zip(KINDS, table.kinds[row], strict=True) if here)
    wanted = [label for kind in kinds for label in FITTING[kind]] or list(FITTING["emotion"])
    # What fits several kinds first; what the bundle does not know or the reply has already, not.
    wanted = sorted(dict.fromkeys(wanted), key=lambda label: -wanted.count(label))
    has = {table.strategies[column] for column in np.flatnonzero(table.has[row])}
    fitting = [label for label in wanted if label in table.strategies and label not in has]
    return Missed(row, float(table.distress[row]), kinds, tuple(fitting[:3]), elsewhere)
