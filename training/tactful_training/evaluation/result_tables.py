"""An evaluation or a comparison as tables in a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.text import Text

from tactful.output.terminal import visible
from tactful_training.data.label_counts import NO_LABEL
from tactful_training.evaluation.bootstrap import Estimate
from tactful_training.evaluation.bundle_comparison import Comparison, Flip
from tactful_training.evaluation.evaluation_results import Confusion, Evaluation, TaskResult
from tactful_training.evaluation.figure_table import (
    INTERVAL,
    FigureTable,
    interval_text,
    number_text,
    value_text,
)
from tactful_training.evaluation.paired_differences import Difference, TaskComparison
from tactful_training.evaluation.quality_metrics import MACRO_OF_ALL
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
_MOST_CLASSES, _MOST_MISTAKES, _MOST_FLIPS = 12, 15, 20


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
            parts += [Text(), _ConfusionTable(name, task.confusion)]
        if evaluation.slices[name]:
            parts += [Text(), *_slices(evaluation, name)]
    if evaluation.resamples:
        parts.append(
            Text(
                f"\n{evaluation.n} rows in {evaluation.groups} groups; intervals are 95%, from "
                f"{evaluation.resamples} bootstrap resamples of the groups.",
                "dim",
            )
        )
    return Group(*parts)


def _headline(evaluation: Evaluation, baseline: Evaluation | None) -> FigureTable:
    figures = ["value", INTERVAL, *(["baseline", INTERVAL] if baseline else [])]
    table = FigureTable("Headline figures", [""], figures)
    others = {} if baseline is None else _figures(baseline)
    for name, estimate in _figures(evaluation).items():
        cells = [value_text(estimate, 3), interval_text(estimate, 3)]
        if baseline is not None:
            other = others.get(name)
            cells += ["-", ""] if other is None else [value_text(other, 3), interval_text(other, 3)]
        table.add(name, *cells)
    return table


def _figures(evaluation: Evaluation) -> dict[str, Estimate]:
    figures = {
        f"{name} {_NAMES[key]}": estimate
        for name, task in evaluation.tasks.items()
        for key, estimate in task.shown.items()
    }
    evidence = (evaluation.evidence or {}).items()
    return figures | {f"evidence {_NAMES[key]}": estimate for key, estimate in evidence}


def _labels(name: str, task: TaskResult, baseline: TaskResult | None) -> FigureTable:
    rare = any(label.too_rare for label in task.labels.values())
    thresholds = any(label.threshold is not None for label in task.labels.values())
    marked = any(label.evidence for label in task.labels.values())
    headings = ["rows", "P", "R", "F1", INTERVAL, "AP"]
    headings += ["at least"] * thresholds + ["words F1", "spans F1"] * marked
    headings += ["base F1"] * (baseline is not None)
    caption = "dim: too rare, left out of macro F1" if rare else None
    table = FigureTable(f"{name} ({task.n} rows)", ["label"], headings, caption)
    for label, result in task.labels.items():
        each = result.estimates
        cells = [str(result.support), value_text(each["precision"]), value_text(each["recall"])]
        cells += [value_text(each["f1"]), interval_text(each["f1"])]
        cells.append(value_text(each["average_precision"]))
        if thresholds:
            cells.append("-" if result.threshold is None else f"{result.threshold:.2f}")
        if marked:
            found = result.evidence or {}
            cells += [value_text(found[key]) if found else "" for key in ("token_f1", "iou_f1")]
        if baseline is not None:
            cells.append(value_text(baseline.labels[label].estimates["f1"]))
        table.add(label, *cells, style="dim" if result.too_rare else "")
    return table


class _ConfusionTable:
    """The matrix; of classes for which the terminal is not wide enough, the commonest mistakes."""

    def __init__(self, task: str, confusion: Confusion) -> None:
        self._task, self._confusion = task, confusion

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[FigureTable]:
        labels = list(map(visible, self._confusion.labels))
        numbers = [str(index + 1) for index in range(len(labels))]
        numbered = [f"{number} {label}" for number, label in zip(numbers, labels, strict=True)]
        if len(labels) <= _MOST_CLASSES:
            for headings, names in ((labels, labels), (numbers, numbered)):
                matrix = self._matrix(headings, names)
                # The narrowest that it can be without breaking a name.
                width = max(map(len, names)) + sum(
                    max(len(heading), *(len(str(row[place])) for row in self._confusion.counts)) + 1
                    for place, heading in enumerate(headings)
                )
                if width <= options.max_width:
                    yield matrix
                    return
        yield self._mistakes()

    def _matrix(self, headings: Sequence[str], names: Sequence[str]) -> FigureTable:
        title = f"{self._task}: what was decided (across) where what was right (down)"
        table = FigureTable(title, [""], headings)
        for name, counts in zip(names, self._confusion.counts, strict=True):
            table.add(name, *(str(count) if count else "·" for count in counts))
        return table

    def _mistakes(self) -> FigureTable:
        table = FigureTable(f"{self._task}: most frequent mistakes", ["right", "decided"], ["rows"])
        mistakes = [
            (count, right, decided)
            for right, counts in zip(self._confusion.labels, self._confusion.counts, strict=True)
            for decided, count in zip(self._confusion.labels, counts, strict=True)
            if count and right != decided
        ]
        for count, right, decided in sorted(mistakes, key=lambda one: -one[0])[:_MOST_MISTAKES]:
            table.add(right, decided, str(count))
        return table


def _slices(evaluation: Evaluation, name: str) -> list[RenderableType]:
    slices = evaluation.slices[name]
    worst = worst_slice(slices)
    figure = _NAMES["accuracy" if "accuracy" in evaluation.tasks[name].headline else "micro_f1"]
    headings = ["rows", figure, INTERVAL, "to the rest", INTERVAL]
    table = FigureTable(f"{name} by slices", ["column", "value"], headings)
    for column, values in slices.items():
        for value, result in values.items():
            style = "bold" if (column, value) == worst else "dim" if result.too_small else ""
            table.add(column, value, *_slice(result), style=style)
    lines = [f"worst: {worst[0]} = {visible(worst[1])}"] if worst else []
    if any(result.too_small for values in slices.values() for result in values.values()):
        lines.append(f"dim: too small to be ranked, fewer than {LEAST_ROWS} labelled rows")
    return [table, Text("\n".join(lines))]


def _slice(result: SliceResult) -> list[str]:
    if result.value is None or result.gap is None:
        return [str(result.n), "too small", "", "", ""]
    gap = f"{result.gap.value:+.2f}" if math.isfinite(result.gap.value) else ""
    value = [value_text(result.value), interval_text(result.value)]
    return [str(result.n), *value, gap, _signed_interval(result.gap, 2)]


def render_comparison(comparison: Comparison) -> RenderableType:
    """Lay out a comparison; JSON has all flips, the table the largest.

    Returns:
        A ``rich`` renderable.
    """
    a, b = comparison.bundles
    parts: list[RenderableType] = [Text(f"A: {a}\nB: {b}\n"), _costs(comparison)]
    if comparison.tasks:
        parts.append(_overall(comparison))
        parts += [_compared_labels(name, task) for name, task in comparison.tasks.items()]
    parts.append(_flip_rates(comparison))
    if comparison.flips:
        replies = len({flip.row for flip in comparison.flips})
        parts.append(Text(f"{replies} of {comparison.n} replies flip:\n", "bold"))
        parts += _flips(comparison.flips[:_MOST_FLIPS])
    if len(comparison.flips) > _MOST_FLIPS:
        parts.append(Text(f"{len(comparison.flips) - _MOST_FLIPS} more flips: --json", "dim"))
    if comparison.informative:
        parts.append(Text(f"\n{len(comparison.informative)} unlabelled replies to read:\n", "bold"))
        parts += _flips(comparison.informative)
    parts.append(
        Text(
            f"\n{comparison.n} rows in {comparison.groups} groups; differences are B minus A on "
            f"the same rows, intervals 95%, from {comparison.resamples} bootstrap resamples of the "
            "groups. *: the interval does not hold 0.",
            "dim",
        )
    )
    return Group(*parts)


def _costs(comparison: Comparison) -> FigureTable:
    table = FigureTable("Speed and size", [""], ["A", "B", "B / A", INTERVAL])
    a, b, slower = comparison.costs.a, comparison.costs.b, comparison.costs.slowdown
    for name, first, second in (
        ("milliseconds of one reply, median", a.median_ms, b.median_ms),
        ("of the slowest twentieth", a.slowest_ms, b.slowest_ms),
        ("megabytes", a.megabytes, b.megabytes),
    ):
        table.add(name, f"{first:.1f}", f"{second:.1f}", f"{second / first:.2f}", "")
    table.add("time of a reply, by pairs", "", "", value_text(slower), interval_text(slower))
    return table


def _overall(comparison: Comparison) -> FigureTable:
    headings = ["A", "B", "B - A", INTERVAL, "right in A/B alone"]
    table = FigureTable("Overall", [""], headings)
    for name, task in comparison.tasks.items():
        rare = any(label.too_rare for label in task.labels.values())
        for key, figure in task.headline.items():
            if key == MACRO_OF_ALL and not rare:
                continue  # it is macro F1
            rows = task.mcnemar if key in ("accuracy", "micro_f1") else None
            alone = f"{rows.only_a}/{rows.only_b} rows, p {rows.p:.3f}" if rows else ""
            table.add(f"{name} {key}", *_difference(figure), alone)
    for key, figure in comparison.evidence.items():
        table.add(f"evidence {key}", *_difference(figure), "")
    return table


def _compared_labels(name: str, task: TaskComparison) -> FigureTable:
    headings = ["rows", "A", "B", "B - A", INTERVAL, "A/B alone"]
    table = FigureTable(f"{name}, F1", ["label"], headings)
    for label, found in task.labels.items():
        alone = f"{found.mcnemar.only_a}/{found.mcnemar.only_b}"
        cells = [str(found.support), *_difference(found.figures["f1"]), alone]
        table.add(label, *cells, style="dim" if found.too_rare else "")
    return table


def _flip_rates(comparison: Comparison) -> FigureTable:
    headings = ["gained by B", "lost by B", "share of replies"]
    table = FigureTable("Flips by label", ["label"], headings)
    for task, rates in comparison.rates.items():
        for label, rate in rates.items():
            if rate.rate:
                table.add(f"{task}: {label}", str(rate.gained), str(rate.lost), f"{rate.rate:.1%}")
    for task, columns in comparison.slices.items():
        for column, values in columns.items():
            for value, found in values.items():
                share = "too small" if found["rate"] is None else f"{found['rate']:.1%}"
                name = f"{task} where {column} = {value}"
                table.add(name, "", f"{found['n']} rows", share, style="dim")
    return table


def _flips(flips: Sequence[Flip]) -> Iterator[RenderableType]:
    for flip in flips:
        before, after = (", ".join(labels) or NO_LABEL for labels in (flip.a, flip.b))
        right = "" if flip.truth is None else f"; right: {', '.join(flip.truth) or NO_LABEL}"
        yield Text(f"{flip.id}  {flip.task}: {before} → {after}{right}")
        yield Text(f"  {visible(flip.reply)}\n", "dim")


def _difference(figure: Difference) -> list[str]:
    each = figure.difference
    values = [number_text(figure.a, 3), number_text(figure.b, 3)]
    if not math.isfinite(each.value):
        return [*values, "-", ""]
    sure = "*" if each.low > 0 or each.high < 0 else ""
    return [*values, f"{sure}{each.value:+.3f}", _signed_interval(each, 3)]


def _signed_interval(each: Estimate, digits: int) -> str:
    if not math.isfinite(each.low):
        return ""
    return f"{each.low:+.{digits}f} to {each.high:+.{digits}f}"
