"""The figures as tables, which the page shows and the CSV file holds: the same cells in both."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from tactful.batch.csv_format import defused
from tactful.report.coaching import AgentPage
from tactful.report.figures import Figures
from tactful.report.intervals import Estimate
from tactful.report.label_roles import STRATEGIES, spoken
from tactful.report.overview import Groups

Form = Literal["text", "share", "count", "number", "seconds"]


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table.

    Attributes:
        value: what it holds; None where that is not known or not shown.
        form: how a number is written.
        low: lower end of its 95% interval.
        high: upper end.
        n: how many replies it rests on.
    """

    value: float | str | None
    form: Form = "text"
    low: float | None = None
    high: float | None = None
    n: int | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose first column names its rows.

    Attributes:
        name: its name in the CSV file, and its id on the page.
        caption: what it shows.
        columns: heads of all columns.
        rows: cells, each row as long as ``columns``.
        shaded: whether the page shades shares by their size, row by row.
    """

    name: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    shaded: bool = False


def share(estimate: Estimate | None) -> Cell:
    """A share with its interval."""
    if estimate is None:
        return Cell(None, "share")
    return Cell(estimate.value, "share", estimate.low, estimate.high, estimate.n)


def tables(figures: Figures) -> dict[str, Table]:
    """Name to table, in the order of the page."""
    found = [
        *_labels(figures),
        *_overview(figures),
        *_distress(figures),
        *_response(figures),
        *_endings(figures),
        *_wording(figures),
        *_differences(figures),
        *_outcome(figures),
        *_drift(figures),
        *(
            agent_table(page, figures)
            for page in (figures.coaching.agents if figures.coaching else ())
        ),
    ]
    return {table.name: table for table in found}


def agent_table(page: AgentPage, figures: Figures) -> Table:
    """How often an agent uses each strategy."""
    notes = {"above": "more than the team", "below": "less than the team", None: ""}
    rows = [
        (
            Cell(spoken(strategy)),
            share(each.own),
            Cell(each.team, "share"),
            Cell(notes[each.apart]),
            share(each.seen),
        )
        for strategy, each in page.strategies.items()
    ]
    columns = ("strategy", "in own words", "team", "beyond chance", "with stock phrases")
    return Table(f"agent: {page.name}", f"Strategies of {page.name}", columns, tuple(rows))


def as_csv(named: Mapping[str, Table]) -> str:
    """All tables, one cell a line; safe to be opened as a spreadsheet."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["table", "row", "column", "value", "low", "high", "n"])
    for table in named.values():
        for row in table.rows:
            for column, cell in zip(table.columns[1:], row[1:], strict=True):
                numbers = [cell.value, cell.low, cell.high, cell.n]
                line = [table.name, str(row[0].value), column, *map(_written, numbers)]
                writer.writerow([defused(each) for each in line])
    return text.getvalue()


def _written(value: float | str | None) -> str:
    if value is None:
        return ""
    return str(round(value, 6)) if isinstance(value, float) else str(value)


def _number(value: float | None, form: Form = "number") -> Cell:
    return Cell(value, form)


def _labels(figures: Figures) -> Iterator[Table]:
    for task, labels in figures.labels.items():
        rows = []
        for label, facts in labels.items():
            known = facts.reliability
            measured = (known.f1, known.precision, known.recall) if known else (None, None, None)
            rows.append(
                (
                    Cell(spoken(label)),
                    Cell(facts.meaning),
                    *(_number(each) for each in measured),
                    Cell(known.positives if known else None, "count"),
                )
            )
        columns = ("label", "a reply has it that …", "F1", "precision", "recall", "examples")
        yield Table(f"labels-{task}", f"What the labels mean: {task}", columns, tuple(rows))


def _overview(figures: Figures) -> Iterator[Table]:
    overview = figures.overview
    for task, labels in overview.rates.items():
        columns = ["label", "of all replies", "adjusted for the reader's errors"]
        if task == STRATEGIES:
            columns.append("in own words")
        rows = []
        for label, each in labels.items():
            row = [Cell(spoken(label)), share(each.seen), share(each.adjusted)]
            if task == STRATEGIES:
                row.append(share(each.own))
            rows.append(tuple(row))
        yield Table(f"overview-{task}", f"How often: {task}", tuple(columns), tuple(rows))
    for name, groups in (("channel", overview.channels), ("team", overview.teams)):
        if groups is not None and groups.shown:
            yield from _by_group(name, groups)
    if overview.weeks is not None:
        yield from _by_week(overview.weeks)


def _by_group(name: str, groups: Groups) -> Iterator[Table]:
    for task in groups.shown[0].rates:
        columns = ["label", *(group.name for group in groups.shown)]
        rows = [(Cell("replies"), *(Cell(group.replies, "count") for group in groups.shown))]
        for label in groups.shown[0].rates[task]:
            cells = (share(group.rates[task][label].seen) for group in groups.shown)
            rows.append((Cell(spoken(label)), *cells))
        yield Table(f"{name}-{task}", f"By {name}: {task}", tuple(columns), tuple(rows), True)
        if any(each.adjusted for group in groups.shown for each in group.rates[task].values()):
            adjusted = [
                (
                    Cell(spoken(label)),
                    *(share(group.rates[task][label].adjusted) for group in groups.shown),
                )
                for label in groups.shown[0].rates[task]
            ]
            caption = f"By {name}, adjusted for the reader's errors: {task}"
            yield Table(f"{name}-{task}-adjusted", caption, tuple(columns), tuple(adjusted), True)


def _by_week(weeks: Groups) -> Iterator[Table]:
    if not weeks.shown:
        return
    for task, labels in weeks.shown[0].rates.items():
        columns = ("week from", "replies", *map(spoken, labels))
        rows = [
            (
                Cell(week.name),
                Cell(week.replies, "count"),
                *(share(each.seen) for each in week.rates[task].values()),
            )
            for week in weeks.shown
        ]
        yield Table(f"weeks-{task}", f"Week by week: {task}", columns, tuple(rows))


def _distress(figures: Figures) -> Iterator[Table]:
    distress = figures.distress
    if distress is None:
        return
    rows = (
        (Cell("replies to a customer in distress"), share(distress.distressed)),
        (
            Cell("of these: without acknowledgement, apology or concern"),
            share(distress.unanswered),
        ),
        (Cell("of these: without any strategy at all"), share(distress.nothing)),
    )
    yield Table("distress", "Customers in distress", ("what", "share"), rows)
    for name, groups in (("team", distress.teams), ("channel", distress.channels)):
        if groups:
            by = tuple((Cell(group), share(each)) for group, each in sorted(groups.items()))
            caption = f"Distress without acknowledgement, apology or concern, by {name}"
            yield Table(f"distress-{name}", caption, (name, "share"), by)


def _response(figures: Figures) -> Iterator[Table]:
    response = figures.response
    if response is None:
        return
    quantiles = [
        (Cell(f"{quantile:.0%} of replies within"), _number(value, "seconds"))
        for quantile, value in response.quantiles.items()
    ]
    yield Table("response", "Response times", ("what", "time"), tuple(quantiles))
    if response.medians:
        medians = [
            (Cell(name), _number(value, "seconds")) for name, value in response.medians.items()
        ]
        yield Table("response-channel", "Median by channel", ("channel", "time"), tuple(medians))
    columns = ("label", *(span.name for span in response.spans))
    counts = (Cell("replies"), *(Cell(span.replies, "count") for span in response.spans))
    shares = (Cell("share of replies"), *(Cell(span.share, "share") for span in response.spans))
    rows = [counts, shares]
    for task, labels in figures.labels.items():
        for label in labels:
            cells = (share(span.rates.get(task, {}).get(label)) for span in response.spans)
            rows.append((Cell(spoken(label)), *cells))
    yield Table("response-spans", "Labels by response time", columns, tuple(rows), True)


def _endings(figures: Figures) -> Iterator[Table]:
    endings = figures.endings
    if endings is None:
        return
    columns = ("the last turn", "all conversations", *endings.teams)
    rows = [
        (Cell(name), share(each), *(share(team.get(name)) for team in endings.teams.values()))
        for name, each in endings.shares.items()
    ]
    yield Table("endings", "How conversations end", columns, tuple(rows), True)


def _wording(figures: Figures) -> Iterator[Table]:
    rows = [
        (
            Cell(spoken(strategy)),
            Cell(each.uses, "count"),
            Cell(each.distinct, "count"),
            _number(each.distinct_in_100),
            share(each.stock),
        )
        for strategy, each in figures.wording.items()
    ]
    columns = ("strategy", "sentences", "wordings", "wordings in 100", "by stock phrases only")
    if rows:
        yield Table("wording", "How varied the wording is", columns, tuple(rows))
    stock = [
        (
            Cell(phrase.text),
            Cell(phrase.replies, "count"),
            Cell(phrase.agents, "count"),
            Cell(phrase.forms, "count"),
            Cell(", ".join(map(spoken, phrase.strategies))),
        )
        for phrase in figures.stock
    ]
    if stock:
        columns = ("phrase", "replies", "agents", "forms", "carries")
        yield Table("stock", "Stock phrases", columns, tuple(stock))


def _differences(figures: Figures) -> Iterator[Table]:
    """Agents whom more than chance tells from their team, by strategy and size of difference."""
    if figures.coaching is None or not figures.ranked:
        return
    found: list[tuple[int, float, tuple[Cell, ...]]] = []
    for page in figures.coaching.agents:
        for place, (strategy, each) in enumerate(page.strategies.items()):
            if each.apart is not None:
                cells = (
                    Cell(spoken(strategy)),
                    Cell(page.name),
                    Cell(page.team),
                    share(each.own),
                    Cell(each.team, "share"),
                    Cell("more" if each.apart == "above" else "less"),
                )
                found.append((place, each.team - each.own.value, cells))
    rows = [cells for _, _, cells in sorted(found, key=lambda each: each[:2])]
    columns = ("strategy", "agent", "team", "in own words", "team's mean", "than the team")
    yield Table("differences", "Differences beyond chance", columns, tuple(rows))


def _outcome(figures: Figures) -> Iterator[Table]:
    if figures.outcome is None:
        return
    rows = [
        (
            Cell(spoken(each.strategy)),
            Cell(
                each.difference.value,
                "number",
                each.difference.low,
                each.difference.high,
                each.difference.n,
            ),
            Cell("yes" if each.supported else "no"),
            Cell(each.difference.n, "count"),
        )
        for each in figures.outcome.associations
    ]
    columns = ("strategy", "difference in outcome", "beyond chance", f"{figures.outcome.unit} with")
    yield Table("outcome", "What goes with the outcome", columns, tuple(rows))


def _drift(figures: Figures) -> Iterator[Table]:
    if not figures.drift:
        return
    rows = [
        (
            Cell(each.what.replace("_", " ")),
            Cell(each.measure),
            _number(each.value),
            _number(each.chance),
            Cell(each.verdict),
            _number(each.before, "share"),
            _number(each.now, "share"),
        )
        for each in figures.drift
    ]
    columns = ("what", "measure", "value", "chance alone", "verdict", "before", "now")
    yield Table("drift", "Drift", columns, tuple(rows))
