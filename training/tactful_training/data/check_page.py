"""What `check_data` found as one HTML page, made as the coaching report is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from tactful.report.figure_table import Cell, Table
from tactful.report.inline_svg import (
    ACCENT,
    INK,
    SECOND,
    SOFT,
    WASH,
    drawn,
    interval_mark,
    named_rows,
    percent,
)
from tactful.report.intervals import Estimate
from tactful.report.page_templates import inlined, page_environment
from tactful.storage import write_file
from tactful_training.data.data_check import DataReport
from tactful_training.data.label_counts import NO_LABEL
from tactful_training.data.label_statistics import ASSUMED_RECALL, LabelStatistics
from tactful_training.errors import DataError

_COLOURS = (ACCENT, SECOND, SOFT)
# More labels than this make a matrix that nobody can read.
_MOST_LABELS = 60


def write_check_page(report: DataReport, path: Path) -> None:
    """Write the page; what lies in its place is replaced.

    Raises:
        DataError: it cannot be written, or ``path`` does not end in .html.
    """
    check_page_path(path)
    try:
        write_file(path, check_page(report).encode(errors="replace"))
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}") from error


def check_page_path(path: Path) -> None:
    """Check that a page can be written there, before the work that it takes.

    Raises:
        DataError: it does not end in .html, or its folder is not there.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise DataError(f"{path}: the page must end in .html")
    if not path.parent.is_dir():
        raise DataError(f"{path} cannot be written: {path.parent} is no folder; make it first")


def check_page(report: DataReport) -> str:
    """The page: verdict, findings, charts and tables; nothing in it is fetched, nothing runs."""
    template = page_environment("tactful_training.data").get_template("data_check.html")
    return template.render(
        report=report,
        charts=inlined(_charts(report)),
        counts=_counts_table(report),
        together=_together_table(report.statistics),
        widths=_width_table(report),
        assumed=ASSUMED_RECALL,
    )


def _charts(report: DataReport) -> dict[str, str]:
    charts = {}
    for task in report.tasks:
        shares = {
            split: [
                counts.labels[task.name][label] / max(counts.rows - counts.unknown[task.name], 1)
                for label in task.labels
            ]
            for split, counts in report.splits.items()
        }
        charts[f"labels-{task.name}"] = drawn(
            f"labels-{task.name}",
            f"How often: {task.name}",
            "Share of the rows of each split that have each label. The table has the counts.",
            (7.2, 0.4 * len(task.labels) + 0.9),
            partial(_shares, names=task.names, shares=shares),
        )
        for split, recall in report.statistics.recall.items():
            known = {name: each for name, each in recall[task.name].items() if each is not None}
            if known:
                charts[f"recall-{task.name}-{split}"] = drawn(
                    f"recall-{task.name}-{split}",
                    f"How well {task.name} could be measured in {split}",
                    f"The 95% interval that a recall of {ASSUMED_RECALL:.0%} would have, by label. "
                    "The table has the widths.",
                    (7.2, 0.3 * len(known) + 0.9),
                    partial(_intervals, recall=known),
                )
    words = {split: [len(row.reply.split()) for row in rows] for split, rows in report.rows.items()}
    if any(words.values()):
        charts["lengths"] = drawn(
            "lengths",
            "How long the replies are",
            "Replies by their number of words, on a logarithmic scale, for each split.",
            (7.2, 2.8),
            partial(_lengths, words=words),
        )
    if len(report.statistics.labels) <= _MOST_LABELS:
        charts["together"] = drawn(
            "together",
            "Which labels occur together",
            "Of the rows that have the label of a line, the share that have that of a column. The "
            "table has the counts.",
            (8.6, 0.27 * len(report.statistics.labels) + 2.2),
            partial(_matrix, statistics=report.statistics),
        )
    return charts


def _shares(figure: Figure, names: Sequence[str], shares: Mapping[str, Sequence[float]]) -> None:
    axes = figure.subplots()
    height = 0.8 / max(len(shares), 1)
    for number, (split, values) in enumerate(shares.items()):
        places = [place + (number - (len(shares) - 1) / 2) * height for place in range(len(names))]
        colour = _COLOURS[number % len(_COLOURS)]
        axes.barh(places, values, color=colour, alpha=0.8, height=height * 0.9, label=split)
    named_rows(axes, names)
    axes.xaxis.set_major_formatter(percent)
    axes.set_xlabel("share of rows")
    if len(shares) > 1:
        axes.legend(loc="lower right")


def _intervals(figure: Figure, recall: Mapping[str, Estimate]) -> None:
    axes = figure.subplots()
    for place, each in enumerate(recall.values()):
        interval_mark(axes, place, each, filled=True, colour=ACCENT)
    named_rows(axes, [f"{name} ({each.n})" for name, each in recall.items()])
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(percent)
    axes.set_xlabel("recall")


def _lengths(figure: Figure, words: Mapping[str, Sequence[int]]) -> None:
    axes = figure.subplots()
    longest = max(max(some, default=1) for some in words.values())
    edges = [float(edge) for edge in np.geomspace(1, max(longest, 2) + 1, 30)]
    for number, (split, some) in enumerate(words.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        axes.hist(some, edges, color=colour, histtype="step", linewidth=1.6, label=split)
    axes.set_xscale("log")
    ticks = [tick for tick in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if tick <= longest]
    axes.set_xticks(ticks, list(map(str, ticks)))
    axes.minorticks_off()
    axes.tick_params(length=0, labelcolor=SOFT)
    axes.set_xlabel("words of the reply")
    axes.set_ylabel("rows")
    if len(words) > 1:
        axes.legend()


def _matrix(figure: Figure, statistics: LabelStatistics) -> None:
    axes = figure.subplots()
    single = np.maximum(statistics.together.diagonal(), 1)[:, None]
    shares = statistics.together / single
    names = [label for _, label in statistics.labels]
    for line, row in enumerate(shares):
        for column, share in enumerate(row):
            if line != column and share > 0:
                axes.scatter(column, line, s=90 * share, color=ACCENT, linewidths=0)
    axes.set_xticks(range(len(names)), names, rotation=90)
    named_rows(axes, names)
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.tick_params(axis="x", labelcolor=INK)
    axes.set_facecolor(WASH)


def _counts_table(report: DataReport) -> Table:
    splits = list(report.splits.values())
    lines: list[tuple[str, list[int]]] = [
        ("rows", [split.rows for split in splits]),
        ("groups", [split.groups for split in splits]),
    ]
    for task in report.tasks:
        for label in task.labels:
            counts = [split.labels[task.name][label] for split in splits]
            lines.append((f"{task.name}: {label}", counts))
        if task.kind == "multilabel":
            none = [split.none[task.name] for split in splits]
            lines.append((f"{task.name}: {NO_LABEL}", none))
    return Table(
        "counts",
        "Rows, groups, and rows that have each label",
        ("", *report.splits),
        tuple((Cell(name), *(Cell(each, "count") for each in counts)) for name, counts in lines),
    )


def _width_table(report: DataReport) -> Table:
    recall = report.statistics.recall
    return Table(
        "widths",
        f"The interval that a recall of {ASSUMED_RECALL:.0%} would have",
        ("label", *recall),
        tuple(
            (
                Cell(f"{task}: {label}"),
                *(
                    Cell(None, "share")
                    if (each := split[task][label]) is None
                    else Cell(each.value, "share", each.low, each.high, each.n)
                    for split in recall.values()
                ),
            )
            for task, label in report.statistics.labels
        ),
    )


def _together_table(statistics: LabelStatistics) -> Table:
    names = [label for _, label in statistics.labels]
    return Table(
        "together",
        "Rows that have both labels",
        ("label", *names),
        tuple(
            (Cell(f"{task}: {label}"), *(Cell(int(count), "count") for count in row))
            for (task, label), row in zip(statistics.labels, statistics.together, strict=True)
        ),
    )
