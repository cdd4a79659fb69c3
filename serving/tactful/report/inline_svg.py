"""Charts as inline SVG whose text is text and whose colours follow the page's."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal
from xml.etree import ElementTree

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from tactful.report.intervals import Estimate

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
INK, SOFT, LINE, ACCENT, SECOND, WASH = _COLOURS
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.id": None,
    "text.parse_math": False,
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 9,
    "axes.titlesize": 10,
    "axes.titlecolor": INK,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "legend.fontsize": 9,
}


def drawn(
    name: str,
    title: str,
    description: str,
    size: tuple[float, float],
    draw: Callable[[Figure], None],
    layout: Literal["constrained"] | None = "constrained",
) -> str:
    """A chart as an element of a page.

    Args:
        name: its id, and the beginning of all ids in it.
        title: what it shows, for those who do not see it.
        description: how to read it, likewise.
        size: width and height in inches.
        draw: draws it, in the colours of this module.
        layout: None where ``draw`` arranges the figure itself.
    """
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


def interval_mark(axes: Axes, place: float, each: Estimate, *, filled: bool, colour: str) -> None:
    """Draw a figure with its interval on a line of its own."""
    axes.plot([each.low, each.high], [place, place], color=colour, linewidth=1.6, alpha=0.75)
    axes.plot(
        [each.value],
        [place],
        "o",
        markersize=5,
        color=colour,
        markerfacecolor=colour if filled else WASH,
        markeredgewidth=1.3,
    )


def named_rows(axes: Axes, names: Sequence[str]) -> None:
    """Name the lines of a chart, the first at the top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(length=0)
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)


def percent(value: float, _: float) -> str:
    """A share as the tick of an axis shows it."""
    return f"{value:.0%}"


def bars(figure: Figure, values: Mapping[str, float], label: str, most: float) -> None:
    """Draw a bar for each value, on a scale that ends with ``most``."""
    axes = figure.subplots()
    axes.barh(range(len(values)), list(values.values()), color=ACCENT, alpha=0.8, height=0.6)
    named_rows(axes, list(values))
    axes.set_xlim(0, most)
    axes.set_xlabel(label)
