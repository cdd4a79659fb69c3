"""An evaluation as tables in a terminal, beside a baseline where there is one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich.box import SIMPLE
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tactful.output.terminal import visible
from tactful_training.data.data_check import NO_LABEL
from tactful_training.evaluation.bootstrap import Estimate
from tactful_training.evaluation.bundle_comparison import Comparison, Flip
from tactful_training.evaluation.evaluation_results import (
    MACRO_OF_ALL,
    Confusion,
    Evaluation,
    TaskResult,
)
from tactful_training.evaluation.paired_differences import Difference, TaskComparison
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


_SHOWN = 20


def render_comparison(comparison: Comparison) -> RenderableType:
    """Lay out a comparison; JSON has all flips, the table the largest.

    Returns:
        A ``rich`` renderable.
    """
    a, b = comparison.bundles
    parts: list[RenderableType] = [Text(f"A: {a}\nB: {b}\n"), _costs(comparison)]
    if comparison.tasks:
        parts += [_overall(comparison)]
        parts += [_compared_labels(name, task) for name, task in comparison.tasks.items()]
    parts += [_flip_rates(comparison)]
    if comparison.flips:
        replies = len({flip.row for flip in comparison.flips})
        parts.append(Text(f"{replies} of {comparison.n} replies flip:\n", "bold"))
        parts += _flips(comparison.flips[:_SHOWN])
    if len(comparison.flips) > _SHOWN:
        parts.append(Text(f"{len(comparison.flips) - _SHOWN} more flips: --json", "dim"))
    if comparison.informative:
        parts.append(Text(f"\n{len(comparison.informative)} unlabelled replies to read:\n", "bold"))
        parts += _flips(comparison.informative)
    parts.append(
        Text(
            f"\n{comparison.n} rows in {comparison.groups} groups; differences are B minus A on "
            f"the same rows, intervals 95%, from {comparison.resamples} bootstrap resamples of the "
            "groups. Bold: the interval does not hold 0.",
            "dim",
        )
    )
    return Group(*parts)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE, pad_edge=False)
    table.add_column(columns[0])
    for column in columns[1:]:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _costs(comparison: Comparison) -> Table:
    table = _table("Speed and size", "", "A", "B", "B / A")
    a, b = comparison.costs
    for name, first, second in (
        ("milliseconds of one reply, median", a.median_ms, b.median_ms),
        ("of the slowest twentieth", a.slowest_ms, b.slowest_ms),
        ("megabytes", a.megabytes, b.megabytes),
    ):
        table.add_row(name, f"{first:.1f}", f"{second:.1f}", f"{second / first:.2f}")
    return table


def _overall(comparison: Comparison) -> Table:
    table = _table("Overall", "", "A", "B", "B - A", "95%", "right in A/B alone")
    for name, task in comparison.tasks.items():
        rare = any(label.too_rare for label in task.labels.values())
        for key, figure in task.headline.items():
            if key == MACRO_OF_ALL and not rare:
                continue  # it is macro F1
            rows = task.mcnemar if key in ("accuracy", "micro_f1") else None
            alone = f"{rows.only_a}/{rows.only_b} rows, p {rows.p:.3f}" if rows else ""
            table.add_row(f"{name} {key}", *_cells(figure), alone)
    for key, figure in comparison.evidence.items():
        table.add_row(f"evidence {key}", *_cells(figure), "")
    return table


def _compared_labels(name: str, task: TaskComparison) -> Table:
    table = _table(f"{name}, F1", "label", "rows", "A", "B", "B - A", "95%", "A/B alone")
    for label, found in task.labels.items():
        alone = f"{found.mcnemar.only_a}/{found.mcnemar.only_b}"
        cells = [str(found.support), *_cells(found.figures["f1"]), alone]
        table.add_row(Text(label), *cells, style="dim" if found.too_rare else "")
    return table


def _flip_rates(comparison: Comparison) -> Table:
    table = _table("Flips by label", "label", "gained by B", "lost by B", "share of replies")
    for task, rates in comparison.rates.items():
        for label, rate in rates.items():
            if rate.rate:
                cells = (str(rate.gained), str(rate.lost), f"{rate.rate:.1%}")
                table.add_row(Text(f"{task}: {label}"), *cells)
    for task, columns in comparison.slices.items():
        for column, values in columns.items():
            for value, found in values.items():
                share = "too small" if found["rate"] is None else f"{found['rate']:.1%}"
                place = Text(f"{task} where {column} = {value}", "dim")
                table.add_row(place, "", f"{found['n']} rows", share)
    return table


def _flips(flips: Sequence[Flip]) -> Iterator[RenderableType]:
    for flip in flips:
        before, after = (", ".join(labels) or NO_LABEL for labels in (flip.a, flip.b))
        right = "" if flip.truth is None else f"; right: {', '.join(flip.truth) or NO_LABEL}"
        yield Text(f"{flip.id}  {flip.task}: {before} → {after}{right}")
        yield Text(f"  {visible(flip.reply)}\n", "dim")


def _cells(figure: Difference) -> list[str]:
    each = figure.difference
    if not math.isfinite(each.value):
        return [_value(figure.a), _value(figure.b), "-", ""]
    real = each.low > 0 or each.high < 0
    between = f"{each.low:+.3f} to {each.high:+.3f}" if math.isfinite(each.low) else ""
    change = f"[bold]{each.value:+.3f}[/]" if real else f"{each.value:+.3f}"
    return [_value(figure.a), _value(figure.b), change, between]


def _value(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "-"
