"""Chosen thresholds as a table in a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from tactful_training.bundling.threshold_goals import Chosen
from tactful_training.evaluation.bootstrap import Estimate


def render_chosen(chosen: Sequence[Chosen]) -> Table:
    """A line for each goal: thresholds, and what is to be expected with 95% intervals."""
    table = Table(title="Thresholds", title_justify="left", box=SIMPLE, pad_edge=False)
    table.add_column("label")
    for heading in ("goal", "before", "now", "precision", "recall", "share of replies"):
        table.add_column(heading, justify="right")
    for each in chosen:
        now = "not met" if each.threshold is None else f"{each.threshold:.3f}"
        table.add_row(
            Text(each.goal.label),
            f"{each.goal.figure} >= {each.goal.least:g}",
            f"{each.before:.3f}",
            now,
            *(_estimate(each.figures[name]) for name in ("precision", "recall", "rate")),
        )
    return table


def _estimate(each: Estimate) -> str:
    if not math.isfinite(each.value):
        return "-"
    between = f" {each.low:.2f}-{each.high:.2f}" if math.isfinite(each.low) else ""
    return f"{each.value:.2f}{between}"
