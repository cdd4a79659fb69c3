"""HTML pages of templates: nothing is fetched, nothing runs, every text is shown as text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tactful.report.figure_table import Cell

# What no HTML document may hold: control characters, and halves of surrogate pairs.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_NONE = "\u2013"
_LONGEST_QUOTE = 700


def page_environment(*packages: str) -> Environment:
    """Templates of packages, and those of the report, with what they call.

    Args:
        packages: names of packages with a folder ``templates``; the first that has one gives it.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(each) for each in (*packages, "tactful.report")]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        share=_share, number=_number, duration=_duration, count=_count,
        cell=_cell, interval=_interval, heat=_heat, quote=_quote,
    )  # fmt: skip
    return environment


def inlined(charts: Mapping[str, str]) -> dict[str, Markup]:
    """Charts by name, as templates take them."""
    return {name: Markup(_FORBIDDEN.sub("\ufffd", svg)) for name, svg in charts.items()}


def _shown(value: Any) -> Any:
    if isinstance(value, str) and not isinstance(value, Markup):
        return _FORBIDDEN.sub("\ufffd", value)
    return value


def _share(value: float | None) -> str:
    if value is None:
        return _NONE
    # A share of 0.4% or 99.6% is neither none nor all.
    return f"{value:.0%}" if value in (0, 1) else f"{value:.1%}"


def _number(value: float | None) -> str:
    if value is None:
        return _NONE
    return (
        f"{value:.3f}" if abs(value) < 1 else f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"
    )


def _count(value: float | None) -> str:
    return _NONE if value is None else f"{value:,.0f}"


def _duration(seconds: float | None) -> str:
    """Seconds as people say them, two units at most."""
    if seconds is None:
        return _NONE
    seconds = round(seconds)
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    parts: list[str] = []
    for name, size in units:
        if seconds >= size or (parts and len(parts) < 2):
            amount, seconds = divmod(seconds, size)
            parts.append(f"{amount} {name}")
        if len(parts) == 2:
            break
    return " ".join(part for part in parts if not part.startswith("0 ")) or "0 s"


def _cell(cell: Cell) -> str:
    """The value of a cell as text."""
    if isinstance(cell.value, str):
        return cell.value
    write = {"share": _share, "number": _number, "count": _count, "seconds": _duration}
    return write.get(cell.form, _number)(cell.value)


def _interval(cell: Cell) -> str:
    """The interval of a cell as text; empty where it has none."""
    if cell.low is None or cell.high is None:
        return ""
    if cell.form == "share":
        return f"{100 * cell.low:.1f}\u2013{100 * cell.high:.1f}%"
    return f"{_number(cell.low)} to {_number(cell.high)}"


def _heat(cell: Cell, row: Sequence[Cell]) -> int:
    """How large a share is beside the largest of its row, in percent."""
    shares = [each.value for each in row if each.form == "share" and isinstance(each.value, float)]
    if cell.form != "share" or not isinstance(cell.value, float) or not max(shares) > 0:
        return 0
    return round(100 * cell.value / max(shares))


def _quote(text: str) -> str:
    """A text short enough to be read in a report."""
    text = text.strip()
    return text if len(text) <= _LONGEST_QUOTE else text[:_LONGEST_QUOTE].rstrip() + " …"
