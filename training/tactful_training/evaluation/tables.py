"""An evaluation as tables in a terminal, beside a baseline where there is one."""

from __future__ import annotations

import math

from rich.box import SIMPLE
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tactful_training.evaluation.bootstrap import Estimate
from tactful_training.evaluation.results import Confusion, Evaluation, TaskResult
from tactful_training.evaluation.slices import LEAST_ROWS, SliceResult, worst_slice

_NAMES = {
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "macro_f1_all": "macro F1 of all labels",
    "micro_f1": "micro F1",
    "token_f1": "token F1",
    "token_precision": "token precision",
    "token_recall": "token recall",
    "iou_f1": "span F1 (IoU)",
    "ece": "calibration error",
}
_MOST_CLASSES = 12
_MOST_MISTAKES = 15


def render_evaluation(evaluation: Evaluation, baseline: Evaluation | None = None) -> RenderableType:
    """Lay out an evaluation: headline figures with intervals, then a table for each task.

    Args:
        evaluation: what was measured.
        baseline: the same rows, answered by the baseline.

    Returns:
        A ``rich`` renderable.
    """
    parts: list[RenderableType] = [_headline(evaluation, baseline)]
    for name, task in evaluation.tasks.items():
        other = None if baseline is None else baseline.tasks[name]
        parts += [Text(), _labels(name, task, other)]
        if task.confusion is not None:
            parts += [Text(), _confusion(name, task.confusion)]
        if evaluation.slices[name]:
            parts += [Text(), _slices(evaluation, name)]
    if evaluation.resamples:
        parts.append(
            Text(
                f"\n{evaluation.n} rows in {evaluation.groups} groups; intervals are 95%, from "
                f"{evaluation.resamples} bootstrap resamples of the groups.",
                "dim",
            )
        )
    return Group(*parts)


def _headline(evaluation: Evaluation, baseline: Evaluation | None) -> Table:
    table = Table(title="Headline figures", title_justify="left", box=SIMPLE, pad_edge=False)
    table.add_column("")
    table.add_column("value", justify="right")
    table.add_column("interval", justify="right")
    if baseline is not None:
        table.add_column("baseline", justify="right")
        table.add_column("interval", justify="right")
    others = {} if baseline is None else _figures(baseline)
    for name, estimate in _figures(evaluation).items():
        cells = [value_text(estimate, 3), interval_text(estimate, 3)]
        if baseline is not None:
            other = others.get(name)
            cells += ["-", ""] if other is None else [value_text(other, 3), interval_text(other, 3)]
        table.add_row(name, *cells)
    return table


def _figures(evaluation: Evaluation) -> dict[str, Estimate]:
    figures = {}
    for name, task in evaluation.tasks.items():
        for key, estimate in task.shown.items():
            figures[f"{name} {_NAMES[key]}"] = estimate
    for key, estimate in (evaluation.evidence or {}).items():
        figures[f"evidence {_NAMES[key]}"] = estimate
    return figures


def _labels(name: str, task: TaskResult, baseline: TaskResult | None) -> Table:
    rare = any(label.too_rare for label in task.labels.values())
    table = Table(
        title=f"{name} ({task.n} rows)",
        title_justify="left",
        box=SIMPLE,
        pad_edge=False,
        caption="dim: too rare, left out of macro F1" if rare else None,
        caption_justify="left",
    )
    thresholds = any(label.threshold is not None for label in task.labels.values())
    marked = any(label.evidence for label in task.labels.values())
    headings = ["rows", "P", "R", "F1", "95%", "AP"]
    headings += ["at least"] * thresholds + ["words F1", "spans F1"] * marked
    headings += ["base F1"] * (baseline is not None)
    table.add_column("label", no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for label, result in task.labels.items():
        estimates = result.estimates
        cells = [
            str(result.support),
            value_text(estimates["precision"]),
            value_text(estimates["recall"]),
        ]
        cells += [value_text(estimates["f1"]), interval_text(estimates["f1"])]
        cells.append(value_text(estimates["average_precision"]))
        if thresholds:
            cells.append("-" if result.threshold is None else f"{result.threshold:.2f}")
        if marked:
            found = result.evidence or {}
            cells += [value_text(found[key]) if found else "" for key in ("token_f1", "iou_f1")]
        if baseline is not None:
            cells.append(value_text(baseline.labels[label].estimates["f1"]))
        table.add_row(Text(label), *cells, style="dim" if result.too_rare else "")
    return table


def _confusion(name: str, confusion: Confusion) -> Table:
    """The matrix; of many classes, for which no terminal is wide enough, the commonest mistakes."""
    if len(confusion.labels) > _MOST_CLASSES:
        return _mistakes(name, confusion)
    table = Table(
        title=f"{name}: what was decided (across) where what was right (down)",
        title_justify="left",
        box=SIMPLE,
        pad_edge=False,
    )
    table.add_column("")
    for label in confusion.labels:
        table.add_column(Text(label), justify="right")  # plain: "[laughs]" would be markup
    for label, counts in zip(confusion.labels, confusion.counts, strict=True):
        table.add_row(Text(label), *(str(count) if count else "·" for count in counts))
    return table


def _mistakes(name: str, confusion: Confusion) -> Table:
    table = Table(
        title=f"{name}: most frequent mistakes",
        title_justify="left",
        box=SIMPLE,
        pad_edge=False,
    )
    for heading in ("right", "decided"):
        table.add_column(heading)
    table.add_column("rows", justify="right")
    mistakes = [
        (count, Text(right), Text(decided))
        for right, counts in zip(confusion.labels, confusion.counts, strict=True)
        for decided, count in zip(confusion.labels, counts, strict=True)
        if count and right != decided
    ]
    for count, right, decided in sorted(mistakes, key=lambda one: -one[0])[:_MOST_MISTAKES]:
        table.add_row(right, decided, str(count))
    return table


def _slices(evaluation: Evaluation, name: str) -> RenderableType:
    slices = evaluation.slices[name]
    worst = worst_slice(slices)
    figure = _NAMES["accuracy" if "accuracy" in evaluation.tasks[name].headline else "micro_f1"]
    table = Table(title=f"{name} by slices", title_justify="left", box=SIMPLE, pad_edge=False)
    table.add_column("column")
    table.add_column("value")
    for heading in ("rows", figure, "95%", "to the rest", "95%"):
        table.add_column(heading, justify="right", no_wrap=True)
    for column, values in slices.items():
        for value, result in values.items():
            style = "bold" if (column, value) == worst else "dim" if result.too_small else ""
            table.add_row(Text(column), Text(value), *_slice(result), style=style)
    lines = [f"worst: {worst[0]} = {worst[1]}"] if worst else []
    if any(result.too_small for values in slices.values() for result in values.values()):
        lines.append(f"dim: too small to be ranked, fewer than {LEAST_ROWS} labelled rows")
    return Group(table, Text("\n".join(lines)))


def _slice(result: SliceResult) -> list[str]:
    if result.value is None or result.gap is None:
        return [str(result.n), "too small", "", "", ""]
    gap = result.gap
    cells = [str(result.n), value_text(result.value), interval_text(result.value), "", ""]
    if math.isfinite(gap.value):
        cells[3] = f"{gap.value:+.2f}"
    if math.isfinite(gap.low):
        cells[4] = f"{gap.low:+.2f} to {gap.high:+.2f}"
    return cells


def value_text(estimate: Estimate, digits: int = 2) -> str:
    """A value; ``-`` where it is undefined."""
    return f"{estimate.value:.{digits}f}" if math.isfinite(estimate.value) else "-"


def interval_text(estimate: Estimate, digits: int = 2) -> str:
    """Its interval; nothing where there is none."""
    if not math.isfinite(estimate.low):
        return ""
    return f"{estimate.low:.{digits}f}-{estimate.high:.{digits}f}"
