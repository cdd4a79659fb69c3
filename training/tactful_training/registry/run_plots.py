"""The plots of a run: how training went, and where scores, thresholds and decisions stand.

Labels may be in any script. Where the usual font lacks a letter, an installed font that has it is
taken; where none has, the letter's code stands in its place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib import font_manager, rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from numpy.typing import NDArray

from tactful.reading.tasks import Task
from tactful_training.evaluation.decisions_on_rows import Answers
from tactful_training.evaluation.evaluation_results import Confusion, Evaluation
from tactful_training.evaluation.quality_metrics import precision_recall_f1
from tactful_training.fitting.epochs import Epoch

_COLUMNS = 4
# Fonts of signs, and those that have a box for every letter.
_NOT_FOR_READING = ("Last Resort", "STIXSize", "STIXNonUnicode", "cm")
_GRID = np.arange(1, 100) / 100


def draw_run_plots(
    epochs: Sequence[Epoch], evaluations: Mapping[str, Evaluation]
) -> Iterator[tuple[str, Figure]]:
    """All plots of a run, by the name of their file.

    Args:
        epochs: what is known of each.
        evaluations: split name to what was measured there.
    """
    yield "loss.png", loss_curves(epochs)
    for split, evaluation in evaluations.items():
        answers = evaluation.answers
        for name, result in evaluation.tasks.items():
            task = answers.tasks.named(name)
            yield f"{split}/{name}_precision_recall.png", precision_recall(answers, task)
            if task.kind == "multilabel":
                yield f"{split}/{name}_thresholds.png", threshold_curves(answers, task)
            if result.confusion is not None:
                yield f"{split}/{name}_confusion.png", confusion_matrix(name, result.confusion)
        yield f"{split}/reliability.png", reliability(evaluation)


@contextmanager
def lettering(labels: Iterable[str]) -> Iterator[Callable[[str], str]]:
    """Draw with fonts that have the letters of the labels; gives what can be drawn of a text."""
    families, drawable = _fonts(frozenset("".join(labels)))
    with rc_context({"font.family": families}):
        yield lambda text: "".join(
            letter if letter in drawable else letter.encode("ascii", "backslashreplace").decode()
            for letter in text
        )


@lru_cache
def _fonts(letters: frozenset[str]) -> tuple[list[str], frozenset[str]]:
    """Families that together have the letters, the usual one first, and the letters they have."""
    usual = font_manager.get_font(font_manager.findfont(FontProperties()))
    families, drawable = [usual.family_name], {chr(code) for code in usual.get_charmap()}
    others = sorted(
        font_manager.fontManager.ttflist,
        key=lambda font: (font.style != "normal", abs(int(font.weight) - 400), font.name),
    )
    for font in others:
        if letters <= drawable:
            break
        if font.name.startswith(_NOT_FOR_READING) or font.name in families:
            continue
        try:
            face = font_manager.get_font(font.fname)
            found = {chr(code) for code in face.get_charmap()} if face.scalable else set()
        except (OSError, RuntimeError):  # a file that is gone or that FreeType cannot read
            continue
        if (letters - drawable) & found:
            families.append(font.name)
            drawable |= found
    return families, frozenset(drawable | {"\n"})


def loss_curves(epochs: Sequence[Epoch]) -> Figure:
    """Losses of training and validation by epoch, and the score that chooses the best epoch."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    losses, score = figure.subplots(1, 2)
    numbers = [epoch.number for epoch in epochs]
    names = dict.fromkeys(name for epoch in epochs for name in epoch.metrics)
    for name in names:
        values = [epoch.metrics.get(name, math.nan) for epoch in epochs]
        if name == "validation/score":
            score.plot(numbers, values, marker="o")
        elif "loss" in name:
            style = "-" if name.startswith("validation") else "--"
            losses.plot(numbers, values, style, marker=".", label=name)
    losses.set(title="loss", xlabel="epoch")
    losses.legend(fontsize=7)
    score.set(title="validation score", xlabel="epoch")
    return figure


def precision_recall(answers: Answers, task: Task) -> Figure:
    """A curve for each label; the dot is where the decisions stand."""
    figure, panels = _panels(task, "precision (up) by recall (right)")
    for axes, (truth, scores, decided) in zip(panels, _columns(answers, task), strict=True):
        order = np.argsort(-scores, kind="stable")
        hits = np.cumsum(truth[order] == 1)
        if truth.sum():
            axes.plot(hits / truth.sum(), hits / np.arange(1, len(hits) + 1), linewidth=1)
            right = float((truth * decided).sum())
            axes.plot(right / truth.sum(), right / max(decided.sum(), 1), "o", markersize=4)
        axes.set(xlim=(0, 1.02), ylim=(0, 1.02))
    return figure


def threshold_curves(answers: Answers, task: Task) -> Figure:
    """Precision, recall and F1 of each label by its threshold; the line is the bundle's own."""
    figure, panels = _panels(task, "what each threshold would give")
    columns = zip(panels, task.names, _columns(answers, task), strict=True)
    for axes, label, (truth, scores, _) in columns:
        decided = scores[None] >= _GRID[:, None]
        hits = (decided & (truth == 1)).sum(axis=1).astype(float)
        false = (decided & (truth == 0)).sum(axis=1).astype(float)
        for name, curve in zip(
            ("precision", "recall", "F1"),
            precision_recall_f1(hits, false, truth.sum() - hits),
            strict=True,
        ):
            axes.plot(_GRID, curve, linewidth=1, label=name)
        threshold = answers.thresholds.get((task.name, label))
        if threshold is not None:
            axes.axvline(threshold, color="grey", linewidth=0.8, linestyle=":")
        axes.set(xlim=(0, 1), ylim=(0, 1.02))
    panels[0].legend(fontsize=6)
    return figure


def confusion_matrix(name: str, confusion: Confusion) -> Figure:
    """Counts, shaded by the share of the right class."""
    size = len(confusion.labels)
    figure = Figure(figsize=(1.5 + 0.8 * size, 1.2 + 0.7 * size), layout="constrained")
    axes = figure.subplots()
    shares = np.array([[cell.value for cell in row] for row in confusion.shares])
    axes.imshow(np.nan_to_num(shares), cmap="Blues", vmin=0, vmax=1)
    for row, counts in enumerate(confusion.counts):
        for column, count in enumerate(counts):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=colour)
    with lettering(confusion.labels) as drawn:
        labels = list(map(drawn, confusion.labels))
        axes.set_xticks(range(size), labels, rotation=45, ha="right", parse_math=False)
        axes.set_yticks(range(size), labels, parse_math=False)
    axes.set(title=name, xlabel="decided", ylabel="right")
    return figure


def reliability(evaluation: Evaluation) -> Figure:
    """How often what was said with some confidence came true, with 95% intervals."""
    figure = Figure(figsize=(4.5 * len(evaluation.tasks), 4.5), layout="constrained")
    every = np.atleast_1d(figure.subplots(1, len(evaluation.tasks)))
    for axes, (name, result) in zip(every, evaluation.tasks.items(), strict=True):
        axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
        bins = [each for each in result.reliability if each.confidence is not None]
        value = np.array([each.frequency.value for each in bins])
        low = np.nan_to_num(value - [each.frequency.low for each in bins])
        high = np.nan_to_num([each.frequency.high for each in bins] - value)
        axes.errorbar(
            [each.confidence for each in bins], value, yerr=[low, high], marker="o", capsize=2
        )
        axes.set(title=f"{name}, ECE {result.ece.value:.3f}", xlim=(0, 1), ylim=(0, 1.02))
        axes.set(xlabel="confidence", ylabel="came true")
    return figure


def _panels(task: Task, what: str) -> tuple[Figure, list[Axes]]:
    """A small panel for each label, under a title of all."""
    rows = math.ceil(len(task.labels) / _COLUMNS)
    height = 1 + 1.9 * rows
    figure = Figure(figsize=(10, height))
    # Places that are known: a layout engine takes four times as long to find them.
    places = {"left": 0.03, "right": 0.99, "bottom": 0.3 / height, "top": 1 - 0.75 / height}
    panels = list(
        np.ravel(
            figure.subplots(
                rows,
                _COLUMNS,
                squeeze=False,
                subplot_kw={"xticks": (0, 0.5, 1), "yticks": (0, 0.5, 1)},
                gridspec_kw={**places, "wspace": 0.15, "hspace": 0.35},
            )
        )
    )
    for axes in panels[len(task.labels) :]:
        axes.set_axis_off()
    figure.suptitle(f"{task.name}: {what}")
    with lettering(task.names) as drawn:
        for axes, label in zip(panels, task.names, strict=False):
            # Two "$" would be a formula.
            axes.set_title(drawn(label), fontsize=8, parse_math=False)
            axes.tick_params(labelsize=6)
    return figure, panels[: len(task.labels)]


def _columns(answers: Answers, task: Task) -> Iterator[tuple[NDArray[Any], ...]]:
    """Truth, scores and decisions of each label over the rows that know the task."""
    at = answers.tasks.slices[task.name]
    known = ~np.isnan(answers.truth[:, at.start])
    for column in range(at.start, at.stop):
        yield tuple(
            table[known, column] for table in (answers.truth, answers.scores, answers.decisions)
        )
