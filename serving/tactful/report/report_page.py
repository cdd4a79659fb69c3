"""The report as one HTML page."""

from __future__ import annotations

from collections.abc import Mapping

from tactful.report.charts import charts
from tactful.report.distress import THRESHOLD
from tactful.report.drift import ADVICE
from tactful.report.figure_table import Table, share
from tactful.report.figures import MISSED_LISTED, Figures
from tactful.report.intervals import proportion
from tactful.report.label_roles import ANSWERS, spoken
from tactful.report.missed_opportunities import Missed
from tactful.report.page_templates import inlined, page_environment
from tactful.report.stock_phrases import STOCK_FROM, STOCK_FROM_ONE

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
    environment = page_environment()
    environment.filters.update(spoken=spoken, kinds=_kinds)
    measured = figures.distress_measured
    return environment.get_template("report.html").render(
        figures=figures,
        tables=tables,
        charts=inlined(charts(figures)),
        precision=share(proportion(measured.found, measured.found + measured.wrongly)),
        recall=share(proportion(measured.found, measured.distressed)),
        answers=[spoken(label) for label in ANSWERS],
        threshold=THRESHOLD,
        missed_listed=MISSED_LISTED,
        stock_from=STOCK_FROM,
        stock_from_one=STOCK_FROM_ONE,
        advice=ADVICE,
    )


def _kinds(missed: Missed) -> str:
    return ", ".join(KIND_WORDS[kind] for kind in missed.kinds)
