"""A comparison as tables in a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich.box import SIMPLE
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tactful.output.terminal import visible
from tactful_training.data.data_check import NO_LABEL
from tactful_training.evaluation.comparison import Comparison
from tactful_training.evaluation.flips import Flip
from tactful_training.evaluation.paired_differences import Difference, TaskComparison
from tactful_training.evaluation.results import MACRO_OF_ALL

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
        parts += [_labels(name, task) for name, task in comparison.tasks.items()]
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


def _labels(name: str, task: TaskComparison) -> Table:
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
