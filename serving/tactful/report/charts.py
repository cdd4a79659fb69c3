"""The charts of the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from matplotlib.figure import Figure

from tactful.report.figures import Figures
from tactful.report.inline_svg import (
    ACCENT,
    SECOND,
    SOFT,
    WASH,
    bars,
    drawn,
    interval_mark,
    named_rows,
    percent,
)
from tactful.report.intervals import Estimate
from tactful.report.label_roles import STRATEGIES, spoken
from tactful.report.overview import Groups, LabelRate

_WEEKS_SHOWN = 60


def charts(figures: Figures) -> dict[str, str]:
    """Name to SVG of every chart for which there are figures."""
    return dict(_charts(figures))


def _charts(figures: Figures) -> Iterator[tuple[str, str]]:
    for task, labels in figures.overview.rates.items():
        yield (
            f"chart-{task}",
            drawn(
                f"chart-{task}",
                f"How often: {task}",
                "Share of replies with each label, a dot with its 95% interval. The table below "
                "has the figures.",
                (7.2, 0.34 * len(labels) + 0.9),
                partial(_rates, labels=labels),
            ),
        )
    weeks = figures.overview.weeks
    if weeks is not None and len(weeks.shown) > 1:
        yield (
            "chart-weeks",
            drawn(
                "chart-weeks",
                "Strategies week by week",
                "One small chart for each strategy: share of replies by week with its 95% "
                "interval; the last shows the number of replies. The table has the figures.",
                (9.4, 1.35 * -(-(len(weeks.shown[0].rates[STRATEGIES]) + 1) // 4)),
                partial(_weeks, weeks=weeks),
                None,  # it would measure each text of the many charts several times
            ),
        )
    if (response := figures.response) is not None:
        spans = {span.name: span.share for span in response.spans}
        yield (
            "chart-response",
            drawn(
                "chart-response",
                "Response times",
                "Share of replies that came within each span of time. The table has the figures.",
                (7.2, 2.6),
                lambda figure: _columns(figure, spans, "share of replies"),
            ),
        )
    varied = {
        spoken(strategy): each.distinct_in_100
        for strategy, each in figures.wording.items()
        if each.distinct_in_100 is not None
    }
    if varied:
        yield (
            "chart-wording",
            drawn(
                "chart-wording",
                "How varied the wording is",
                "How many different wordings 100 sentences that carry a strategy hold. The table "
                "has the figures.",
                (7.2, 0.3 * len(varied) + 0.8),
                lambda figure: bars(figure, varied, "different wordings in 100 sentences", 100),
            ),
        )
    if figures.outcome is not None and figures.outcome.associations:
        associations = figures.outcome.associations
        yield (
            "chart-outcome",
            drawn(
                "chart-outcome",
                "What goes with the outcome",
                "Difference in outcome between replies with and without each strategy, a dot with "
                "its 95% interval; filled where it is beyond chance. The table has the figures.",
                (7.2, 0.34 * len(associations) + 0.9),
                lambda figure: _forest(
                    figure, {spoken(a.strategy): (a.difference, a.supported) for a in associations}
                ),
            ),
        )


def _rates(figure: Figure, labels: Mapping[str, LabelRate]) -> None:
    axes = figure.subplots()
    adjusted = any(each.adjusted is not None for each in labels.values())
    for place, each in enumerate(labels.values()):
        interval_mark(axes, place - 0.14 * adjusted, each.seen, filled=True, colour=ACCENT)
        if each.adjusted is not None:
            interval_mark(axes, place + 0.2, each.adjusted, filled=False, colour=SECOND)
    if adjusted:
        axes.plot([], [], "o", color=ACCENT, label="as read")
        axes.plot([], [], "o", color=SECOND, markerfacecolor=WASH, label="adjusted for errors")
        axes.legend(loc="lower right")
    named_rows(axes, [spoken(label) for label in labels])
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(percent)
    axes.set_xlabel("share of replies")


def _weeks(figure: Figure, weeks: Groups) -> None:
    shown = weeks.shown[-_WEEKS_SHOWN:]
    names = [week.name for week in shown]
    labels = list(shown[0].rates[STRATEGIES])
    rows = -(-(len(labels) + 1) // 4)
    grid = figure.subplots(rows, 4, squeeze=False).ravel()
    figure.subplots_adjust(0.045, 0.04, 0.99, 0.965, wspace=0.24, hspace=0.55)
    ticks = sorted({0, len(names) - 1})
    for axes, label in zip(grid, labels, strict=False):
        found = [week.rates[STRATEGIES][label].seen for week in shown]
        axes.fill_between(
            range(len(found)),
            [each.low for each in found],
            [each.high for each in found],
            color=ACCENT,
            alpha=0.22,
            linewidth=0,
        )
        axes.plot([each.value for each in found], color=ACCENT, linewidth=1.5)
        axes.set_title(spoken(label))
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(percent)
        axes.locator_params(axis="y", nbins=3)
    counts = grid[len(labels)]
    counts.bar(range(len(shown)), [week.replies for week in shown], color=SECOND, alpha=0.6)
    counts.set_title("replies")
    counts.locator_params(axis="y", nbins=3)
    for axes in grid[: len(labels) + 1]:
        axes.set_xticks(ticks, [names[tick][5:] for tick in ticks])
        axes.tick_params(length=0, labelsize=8, labelcolor=SOFT)
        axes.grid(axis="y")
        axes.set_axisbelow(True)
    for axes in grid[len(labels) + 1 :]:
        axes.set_visible(False)


def _columns(figure: Figure, shares: Mapping[str, float], label: str) -> None:
    axes = figure.subplots()
    axes.bar(range(len(shares)), list(shares.values()), color=ACCENT, alpha=0.8, width=0.7)
    axes.set_xticks(range(len(shares)), list(shares))
    axes.yaxis.set_major_formatter(percent)
    axes.set_ylabel(label)
    axes.tick_params(length=0, labelcolor=SOFT)
    axes.grid(axis="y")
    axes.set_axisbelow(True)


def _forest(figure: Figure, found: Mapping[str, tuple[Estimate, bool]]) -> None:
    axes = figure.subplots()
    axes.axvline(0, color=SOFT, linewidth=1)
    for place, (difference, supported) in enumerate(found.values()):
        colour = ACCENT if supported else SOFT
        interval_mark(axes, place, difference, filled=supported, colour=colour)
    named_rows(axes, list(found))
    axes.set_xlabel("difference in outcome")
