"""The figures as tables, which the page shows and the CSV file holds: the same cells in both."""

from __future__ import annotations

from collections.abc import Iterator

from tactful.report.coaching import AgentPage
from tactful.report.figure_table import Cell, Form, Table, share
from tactful.report.figures import Figures
from tactful.report.label_roles import STRATEGIES, spoken
from tactful.report.overview import Groups

_GROUPS_WIDE = 8


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


def _by_group(role: str, groups: Groups) -> Iterator[Table]:
    """Rates by channel or team, some columns at a time: as many as a printed page takes."""
    adjusted = any(
        each.adjusted
        for group in groups.shown
        for labels in group.rates.values()
        for each in labels.values()
    )
    for kind in ("seen", "adjusted") if adjusted else ("seen",):
        for task in groups.shown[0].rates:
            for number, start in enumerate(range(0, len(groups.shown), _GROUPS_WIDE), 1):
                shown = groups.shown[start : start + _GROUPS_WIDE]
                rows = [(Cell("replies"), *(Cell(group.replies, "count") for group in shown))]
                for label in shown[0].rates[task]:
                    cells = (share(getattr(group.rates[task][label], kind)) for group in shown)
                    rows.append((Cell(spoken(label)), *cells))
                part = f" ({number})" if number > 1 else ""
                errors = ", adjusted for the reader's errors" if kind == "adjusted" else ""
                name = f"{role}-{task}" + ("" if kind == "seen" else "-adjusted")
                yield Table(
                    name + (f"-{number}" if number > 1 else ""),
                    f"By {role}{errors}: {task}{part}",
                    ("label", *(group.name for group in shown)),
                    tuple(rows),
                    shaded=True,
                )


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
