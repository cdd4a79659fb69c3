"""The report as one HTML page: nothing is fetched, nothing runs, every text is shown as text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tactful.report.charts import charts
from tactful.report.distress import THRESHOLD
from tactful.report.drift import ADVICE
from tactful.report.figure_table import Cell, Table, share
from tactful.report.figures import MISSED_LISTED, Figures
from tactful.report.intervals import proportion
from tactful.report.label_roles import ANSWERS, spoken
from tactful.report.missed_opportunities import Missed
from tactful.report.stock_phrases import STOCK_FROM, STOCK_FROM_ONE

# What no HTML document may hold: control characters, and halves of surrogate pairs.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_LONGEST_QUOTE = 700
_NONE = "\u2013"
KIND_WORDS: Mapping[str, str] = {
    "emotion": "emotion",
    "loss": "loss or hardship",
    "failure": "repeated failure",
}


def page(figures: Figures, tables: Mapping[str, Table]) -> str:
    """The page.

    Args:
        figures: what it says.
        tables: the same as tables, by name.
    """
    environment = Environment(
        loader=PackageLoader("tactful.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        share=_share, number=_number, duration=_duration, count=_count, spoken=spoken, quote=_quote,
        cell=_cell, interval=_interval, kinds=_kinds, heat=_heat,
    )  # fmt: skip
    measured = figures.distress_measured
    drawn = charts(figures)
    return environment.get_template("report.html").render(
        figures=figures,
        tables=tables,
        charts={name: Markup(_FORBIDDEN.sub("\ufffd", svg)) for name, svg in drawn.items()},
        precision=share(proportion(measured.found, measured.found + measured.wrongly)),
        recall=share(proportion(measured.found, measured.distressed)),
        answers=[spoken(label) for label in ANSWERS],
        threshold=THRESHOLD,
        missed_listed=MISSED_LISTED,
        stock_from=STOCK_FROM,
        stock_from_one=STOCK_FROM_ONE,
        advice=ADVICE,
    )


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


def _quote(text: str) -> str:
    """A text short enough to be read in a report."""
    text = text.strip()
    return text if len(text) <= _LONGEST_QUOTE else text[:_LONGEST_QUOTE].rstrip() + " …"


def _kinds(missed: Missed) -> str:
    return ", ".join(KIND_WORDS[kind] for kind in missed.kinds)


def _heat(cell: Cell, row: Sequence[Cell]) -> int:
    """How large a share is beside the largest of its row, in percent."""
    shares = [each.value for each in row if each.form == "share" and isinstance(each.value, float)]
    if cell.form != "share" or not isinstance(cell.value, float) or not max(shares) > 0:
        return 0
    return round(100 * cell.value / max(shares))
