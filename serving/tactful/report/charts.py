"""The charts of the page: inline SVG whose text is text and whose colours follow the page's."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal
from xml.etree import ElementTree

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from tactful.report.figures import Figures
from tactful.report.intervals import Estimate
from tactful.report.label_roles import STRATEGIES, spoken
from tactful.report.overview import Groups, LabelRate

_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"
# Stand-ins: whatever matplotlib writes as one of these becomes a custom property of the page.
_COLOURS = {
    "#010101": "ink",
    "#020202": "soft",
    "#030303": "line",
    "#040404": "accent",
    "#050505": "second",
    "#060606": "wash",
}
_INK, _SOFT, _LINE, _ACCENT, _SECOND, _WASH = _COLOURS
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.id": None,
    "text.parse_math": False,
    "font.size": 10,
    "text.color": _INK,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _SOFT,
    "ytick.color": _SOFT,
    "xtick.labelcolor": _SOFT,
    "ytick.labelcolor": _INK,
    "xtick.labelsize": 9,
    "axes.titlesize": 10,
    "axes.titlecolor": _INK,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "grid.color": _LINE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.labelcolor": _INK,
    "legend.fontsize": 9,
}
_WEEKS_SHOWN = 60


def charts(figures: Figures) -> dict[str, str]:
    """Name to SVG of every chart for which there are figures."""
    return dict(_charts(figures))


def _charts(figures: Figures) -> Iterator[tuple[str, str]]:
    for task, labels in figures.overview.rates.items():
        yield (
            f"chart-{task}",
            _drawn(
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
            _drawn(
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
            _drawn(
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
            _drawn(
                "chart-wording",
                "How varied the wording is",
                "How many different wordings 100 sentences that carry a strategy hold. The table "
                "has the figures.",
                (7.2, 0.3 * len(varied) + 0.8),
                lambda figure: _bars(figure, varied, "different wordings in 100 sentences", 100),
            ),
        )
    if figures.outcome is not None and figures.outcome.associations:
        associations = figures.outcome.associations
        yield (
            "chart-outcome",
            _drawn(
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


def _drawn(
    name: str,
    title: str,
    description: str,
    size: tuple[float, float],
    draw: Callable[[Figure], None],
    layout: Literal["constrained"] | None = "constrained",
) -> str:
    content = io.StringIO()
    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": name}), warnings.catch_warnings():
        # Names may be of any script; it is the browser that needs glyphs for them.
        warnings.simplefilter("ignore")
        figure = Figure(figsize=size, layout=layout)
        FigureCanvasSVG(figure)
        draw(figure)
        figure.savefig(content, format="svg", transparent=True, metadata={"Date": None})
    return _inline(content.getvalue(), name, title, description)


def _inline(content: str, name: str, title: str, description: str) -> str:
    """An SVG file as an element of the page: named, with ids of its own and the page's colours."""
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _XLINK)
    root = ElementTree.fromstring(content)
    used = set(re.findall(r"""(?:url\(|href=")#([^")]+)""", content))
    for parent in list(root.iter()):
        for child in list(parent):
            # Their style sheet would hold for the whole page.
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):
                parent.remove(child)
        if (key := parent.get("id")) is not None:
            if key in used:
                parent.set("id", f"{name}-{key}")
            else:
                del parent.attrib["id"]
        for attribute, value in parent.attrib.items():
            value = re.sub(r"url\(#", f"url(#{name}-", value)
            if attribute == f"{{{_XLINK}}}href":
                value = value.replace("#", f"#{name}-", 1)
            if attribute == "style":
                value = re.sub(r"font-family: [^;]*(; |$)", "", value)
            for colour, property_ in _COLOURS.items():
                value = value.replace(colour, f"var(--{property_})")
            parent.set(attribute, value)
    for length in ("width", "height", "version"):
        root.attrib.pop(length, None)
    root.set("role", "img")
    root.set("class", "chart")
    root.set("aria-labelledby", f"{name}-title {name}-description")
    for place, (tag, text) in enumerate((("title", title), ("desc", description))):
        said = ElementTree.Element(f"{{{_SVG}}}{tag}")
        said.set("id", f"{name}-{'title' if tag == 'title' else 'description'}")
        said.text = text
        root.insert(place, said)
    return ElementTree.tostring(root, encoding="unicode")


def _interval(axes: Axes, place: float, each: Estimate, *, filled: bool, colour: str) -> None:
    axes.plot([each.low, each.high], [place, place], color=colour, linewidth=1.6, alpha=0.75)
    axes.plot(
        [each.value],
        [place],
        "o",
        markersize=5,
        color=colour,
        markerfacecolor=colour if filled else _WASH,
        markeredgewidth=1.3,
    )


def _rates(figure: Figure, labels: Mapping[str, LabelRate]) -> None:
    axes = figure.subplots()
    adjusted = any(each.adjusted is not None for each in labels.values())
    for place, each in enumerate(labels.values()):
        _interval(axes, place - 0.14 * adjusted, each.seen, filled=True, colour=_ACCENT)
        if each.adjusted is not None:
            _interval(axes, place + 0.2, each.adjusted, filled=False, colour=_SECOND)
    if adjusted:
        axes.plot([], [], "o", color=_ACCENT, label="as read")
        axes.plot([], [], "o", color=_SECOND, markerfacecolor=_WASH, label="adjusted for errors")
        axes.legend(loc="lower right")
    _named(axes, [spoken(label) for label in labels])
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(_percent)
    axes.set_xlabel("share of replies")


def _named(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(length=0)
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)


def _percent(value: float, _: float) -> str:
    return f"{value:.0%}"


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
            color=_ACCENT,
            alpha=0.22,
            linewidth=0,
        )
        axes.plot([each.value for each in found], color=_ACCENT, linewidth=1.5)
        axes.set_title(spoken(label))
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(_percent)
        axes.locator_params(axis="y", nbins=3)
    counts = grid[len(labels)]
    counts.bar(range(len(shown)), [week.replies for week in shown], color=_SECOND, alpha=0.6)
    counts.set_title("replies")
    counts.locator_params(axis="y", nbins=3)
    for axes in grid[: len(labels) + 1]:
        axes.set_xticks(ticks, [names[tick][5:] for tick in ticks])
        axes.tick_params(length=0, labelsize=8, labelcolor=_SOFT)
        axes.grid(axis="y")
        axes.set_axisbelow(True)
    for axes in grid[len(labels) + 1 :]:
        axes.set_visible(False)


def _columns(figure: Figure, shares: Mapping[str, float], label: str) -> None:
    axes = figure.subplots()
    axes.bar(range(len(shares)), list(shares.values()), color=_ACCENT, alpha=0.8, width=0.7)
    axes.set_xticks(range(len(shares)), list(shares))
    axes.yaxis.set_major_formatter(_percent)
    axes.set_ylabel(label)
    axes.tick_params(length=0, labelcolor=_SOFT)
    axes.grid(axis="y")
    axes.set_axisbelow(True)


def _bars(figure: Figure, values: Mapping[str, float], label: str, most: float) -> None:
    axes = figure.subplots()
    axes.barh(range(len(values)), list(values.values()), color=_ACCENT, alpha=0.8, height=0.6)
    _named(axes, list(values))
    axes.set_xlim(0, most)
    axes.set_xlabel(label)


def _forest(figure: Figure, found: Mapping[str, tuple[Estimate, bool]]) -> None:
    axes = figure.subplots()
    axes.axvline(0, color=_SOFT, linewidth=1)
    for place, (difference, supported) in enumerate(found.values()):
        colour = _ACCENT if supported else _SOFT
        _interval(axes, place, difference, filled=supported, colour=colour)
    _named(axes, list(found))
    axes.set_xlabel("difference in outcome")
