"""All figures of a report, from a table that was read; pure, and the same whatever shows them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

import tactful
from tactful.errors import ReportError
from tactful.report.bundle_facts import BundleFacts
from tactful.report.coaching import Coaching, coaching
from tactful.report.distress import MEASURED, Measured
from tactful.report.drift import DriftFigure, Reference, drift, reference_of
from tactful.report.endings import Endings, endings
from tactful.report.intake import Intake, Note
from tactful.report.intervals import Reliability
from tactful.report.label_roles import MEANINGS
from tactful.report.missed_opportunities import (
    DistressFigures,
    Missed,
    distress_figures,
    ranked_missed,
)
from tactful.report.outcome import OutcomeFigures, outcome_figures
from tactful.report.overview import LabelCounter, Overview, overview
from tactful.report.report_command import ReportOptions
from tactful.report.response_times import ResponseTimes, response_times
from tactful.report.scored_table import ScoredTable, labels_of
from tactful.report.stock_phrases import (
    StockPhrase,
    StrategyWording,
    find_phrases,
    stock_phrases,
    strategy_wordings,
)

MISSED_LISTED = 25


@dataclass(frozen=True, slots=True)
class LabelFacts:
    """What is known of a label; ``reliability`` is None where it was not measured."""

    meaning: str
    reliability: Reliability | None


@dataclass(frozen=True, slots=True)
class QuotedReply:
    """The text of a reply that the report quotes.

    Attributes:
        row: its place in SCORED, from 0.
        context: what the customer said before it.
        reply: the reply.
    """

    row: int
    context: str
    reply: str


@dataclass(frozen=True)
class Figures:
    """What a report says; parts that SCORED says nothing about are None.

    Attributes:
        title: heading of the report.
        made: when it was made, ISO 8601.
        tactful: version of tactful.
        intake: what was read and what was left out.
        minimum_replies: groups of fewer are not shown.
        first: when the first reply was sent, ISO 8601, where times are known.
        last: when the last one was.
        conversations: how many there are, where they are known.
        agents: likewise.
        labels: task to label to what is known of it.
        reliability_source: where the measured errors of labels are from; empty where unknown.
        distress_measured: how well distress is found.
        overview: rates of labels.
        distress: how distress was met.
        missed: the plainest of the replies that did not answer it.
        response: how long customers waited.
        endings: how conversations end.
        wording: how strategies are worded.
        stock: stock phrases.
        coaching: pages of agents.
        ranked: whether the agents that differ from their team are listed.
        outcome: what goes with the outcome.
        drift: how far the replies are from the reference.
        reference_source: where that is from; empty where there is none.
        reference: what these replies are like, for later reports.
        quotes: by row of the table the texts that are quoted.
    """

    title: str
    made: str
    tactful: str
    intake: Intake
    minimum_replies: int
    first: str | None
    last: str | None
    conversations: int | None
    agents: int | None
    labels: Mapping[str, Mapping[str, LabelFacts]]
    reliability_source: str
    distress_measured: Measured
    overview: Overview
    distress: DistressFigures | None
    missed: tuple[Missed, ...]
    response: ResponseTimes | None
    endings: Endings | None
    wording: Mapping[str, StrategyWording]
    stock: tuple[StockPhrase, ...]
    coaching: Coaching | None
    ranked: bool
    outcome: OutcomeFigures | None
    drift: tuple[DriftFigure, ...] | None
    reference_source: str
    reference: Reference
    quotes: Mapping[int, QuotedReply]

    def to_dict(self) -> dict[str, Any]:
        """As plain data, for JSON; numbers have six digits."""
        found: dict[str, Any] = _plain(asdict(self))
        return found


def make_figures(
    table: ScoredTable,
    facts: BundleFacts,
    options: ReportOptions,
    now: datetime,
    texts: Callable[[set[int]], dict[int, tuple[str, str]]],
) -> Figures:
    """All figures of a report.

    Args:
        table: what was read.
        facts: what is known of the bundle that read it.
        options: what was asked.
        now: when the report is made.
        texts: gives reply and context of rows of SCORED.

    Raises:
        ReportError: the agent that was asked for is not there, or has too few replies.
    """
    minimum, persons = options.minimum_replies, not options.aggregate_only
    phrases = find_phrases(table)
    counter = LabelCounter(table, phrases.own, facts.reliabilities)
    missed = ranked_missed(table)
    pages = coaching(table, phrases.own, missed, minimum=minimum) if persons else None
    if options.only_agent is not None and pages is not None:
        pages = _only(pages, options.only_agent, minimum)
    shown = tuple(missed[:MISSED_LISTED]) if options.names_persons else ()
    quoted = {each.row for each in shown}
    if pages is not None:
        quoted |= {example.row for page in pages.agents for example in page.examples}
    found = texts({int(table.numbers[row]) for row in quoted})
    quotes = {}
    for row in sorted(quoted):
        number = int(table.numbers[row])
        reply, context = found[number]
        quotes[row] = QuotedReply(number, context, reply)
    reference = reference_of(table)
    lengths = {"replies": table.words.astype(float), "contexts": table.context_words.astype(float)}
    known = table.time[np.isfinite(table.time)]
    zone = options.zone or UTC
    first, last = (
        datetime.fromtimestamp(float(end), zone).isoformat(timespec="minutes")
        if len(known)
        else None
        for end in ((known.min(), known.max()) if len(known) else (0, 0))
    )
    return Figures(
        options.title,
        now.isoformat(timespec="minutes"),
        tactful.__version__,
        table.intake,
        minimum,
        first,
        last,
        _count(table, "conversation"),
        _count(table, "agent"),
        {task: _label_facts(task, labels, facts) for task, labels, _ in labels_of(table)},
        facts.reliability_source,
        MEASURED,
        overview(table, counter, minimum=minimum, zone=options.zone, persons=persons),
        distress_figures(table, minimum=minimum, persons=persons),
        shown,
        response_times(table, minimum=minimum),
        endings(table, minimum=minimum, persons=persons),
        strategy_wordings(table, phrases),
        tuple(stock_phrases(table, phrases, alone=options.names_persons)),
        pages,
        options.rank and options.names_persons,
        outcome_figures(table),
        None if facts.reference is None else tuple(drift(reference, facts.reference, lengths)),
        facts.reference_source,
        reference,
        quotes,
    )


def usable_facts(facts: BundleFacts, table: ScoredTable) -> tuple[BundleFacts, ScoredTable]:
    """The facts if they are of the bundle that scored; else none, and a note if it was named."""
    read_by = table.intake.bundle
    if facts.id in ("", read_by):
        return facts, table
    if facts.asked:
        text = (
            f"the bundle that was named, {facts.id}, is not the one that scored, {read_by}: "
            "nothing of it is used"
        )
        table = replace(table, intake=table.intake.noting(Note("bundle_differs", 0, text)))
    return BundleFacts(), table


def _only(pages: Coaching, agent: str, minimum: int) -> Coaching:
    wanted = tuple(page for page in pages.agents if page.name == agent)
    if not wanted:
        raise ReportError(
            f"--only-agent is {agent!r}; there is no agent of that name with {minimum} replies or "
            "more"
        )
    return replace(pages, agents=wanted)


def _count(table: ScoredTable, role: str) -> int | None:
    column = table.names.get(role)
    return None if column is None else len(np.unique(column.codes[column.codes >= 0]))


def _label_facts(task: str, labels: tuple[str, ...], facts: BundleFacts) -> dict[str, LabelFacts]:
    meanings = facts.meanings.get(task) or MEANINGS[task]
    known = facts.reliabilities.get(task, {})
    return {label: LabelFacts(meanings.get(label, ""), known.get(label)) for label in labels}


def _plain(value: Any) -> Any:
    """Keys as text, numbers with six digits."""
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value
