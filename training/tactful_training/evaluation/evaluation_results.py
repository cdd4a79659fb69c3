"""The results of an evaluation and their two plain forms: nested JSON and flat metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tactful_training.evaluation.bootstrap import LEVEL, Estimate
from tactful_training.evaluation.decisions_on_rows import Answers
from tactful_training.evaluation.quality_metrics import MACRO_OF_ALL
from tactful_training.evaluation.slices import LEAST_ROWS, SliceResult, Slices, worst_slice


@dataclass(frozen=True)
class LabelResult:
    """One label.

    Attributes:
        support: rows that carry it.
        threshold: the least score that decides it; None where none is known or a task is single.
        too_rare: whether macro F1 leaves it out.
        estimates: precision, recall, f1 and average_precision.
        evidence: as of an `Evaluation`, of this label alone.
    """

    support: int
    threshold: float | None
    too_rare: bool
    estimates: Mapping[str, Estimate]
    evidence: Mapping[str, Estimate] | None = None


@dataclass(frozen=True)
class Bin:
    """What was said with a confidence from ``start`` to ``end``, and how often it was so.

    Attributes:
        n: how many scores fall here.
        confidence: their mean; None where there are none.
        frequency: the share that came true.
    """

    start: float
    end: float
    n: int
    confidence: float | None
    frequency: Estimate

    def to_dict(self) -> dict[str, Any]:
        """As in the JSON: ``low`` and ``high`` are the interval of the frequency."""
        return {
            "start": self.start,
            "end": self.end,
            "n": self.n,
            "confidence": self.confidence,
            "frequency": number(self.frequency.value),
            "low": number(self.frequency.low),
            "high": number(self.frequency.high),
        }


@dataclass(frozen=True)
class Confusion:
    """What was decided where what was right; both axes in the order of ``labels``.

    Attributes:
        labels: names of the classes.
        counts: rows of each right class (first axis) by decided class.
        shares: the same, as shares of the rows of the right class.
    """

    labels: Sequence[str]
    counts: Sequence[Sequence[int]]
    shares: Sequence[Sequence[Estimate]]

    def to_dict(self) -> dict[str, Any]:
        """As in the JSON; the first axis is what is right."""
        return {
            "labels": list(self.labels),
            "counts": [list(row) for row in self.counts],
            "shares": [[estimate_to_dict(cell) for cell in row] for row in self.shares],
        }


@dataclass(frozen=True)
class TaskResult:
    """One task.

    Attributes:
        n: rows whose labels are known.
        headline: macro_f1 and micro_f1 of a multi-label task, accuracy and macro_f1 of a single;
            macro_f1_all of both.
        labels: every label, in the order of the task.
        ece: expected calibration error; of all labels pooled, or of a single task's decision.
        reliability: the bins that it is made of.
        confusion: of a single task; None of a multilabel one.
    """

    n: int
    headline: Mapping[str, Estimate]
    labels: Mapping[str, LabelResult]
    ece: Estimate
    reliability: Sequence[Bin]
    confusion: Confusion | None

    @property
    def shown(self) -> dict[str, Estimate]:
        """What speaks for a model; macro F1 of all labels only where it is not macro F1."""
        rare = any(label.too_rare for label in self.labels.values())
        figures = {**self.headline, "ece": self.ece}
        return {key: each for key, each in figures.items() if rare or key != MACRO_OF_ALL}


@dataclass(frozen=True)
class Evaluation:
    """All that is measured.

    Attributes:
        n: number of rows.
        groups: number of groups of rows, the unit that is resampled.
        resamples: number of resamples behind the intervals.
        seed: fixes the resamples.
        tasks: results by the name of the task; tasks unknown in all rows are not there.
        evidence: token_f1, token_precision, token_recall and iou_f1; None where no words are marked
            or the system finds none by design.
        slices: task to column to value to what was measured on that part of the rows.
        answers: what was measured.
    """

    n: int
    groups: int
    resamples: int
    seed: int
    tasks: Mapping[str, TaskResult]
    evidence: Mapping[str, Estimate] | None
    slices: Mapping[str, Slices]
    answers: Answers = field(repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """The JSON of ``tactful evaluate``; what is undefined (0 / 0) is null."""
        content: dict[str, Any] = {"n": self.n}
        calibration = {}
        for name, task in self.tasks.items():
            content[name] = {
                "n": task.n,
                **_estimates(task.headline),
                "labels": {label: _label(result) for label, result in task.labels.items()},
            }
            if task.confusion is not None:
                content[name]["confusion"] = task.confusion.to_dict()
            calibration[name] = {
                **_estimates({"ece": task.ece}),
                "bins": [each.to_dict() for each in task.reliability],
            }
        content["evidence"] = None if self.evidence is None else _estimates(self.evidence)
        content["calibration"] = calibration
        content["slices"] = _slices(self.slices)
        content["bootstrap"] = {
            "level": LEVEL,
            "resamples": self.resamples,
            "groups": self.groups,
            "seed": self.seed,
        }
        return content


def headline(evaluation: Evaluation) -> dict[str, Estimate]:
    """The few figures that speak for a model, by path."""
    figures = {
        f"{name}/{key}": estimate
        for name, task in evaluation.tasks.items()
        for key, estimate in task.shown.items()
    }
    if evaluation.evidence is not None:
        figures["evidence/token_f1"] = evaluation.evidence["token_f1"]
    return figures


def number(value: float) -> float | None:
    """A finite value as it is, an undefined one as None: JSON has no NaN."""
    return float(value) if math.isfinite(value) else None


def _estimates(estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    return {key: estimate_to_dict(estimate) for key, estimate in estimates.items()}


def estimate_to_dict(estimate: Estimate) -> dict[str, float | None]:
    """Value and interval; what is undefined is null."""
    return {
        "value": number(estimate.value),
        "low": number(estimate.low),
        "high": number(estimate.high),
    }


def _slices(slices: Mapping[str, Slices]) -> dict[str, Any]:
    content: dict[str, Any] = {"least_rows": LEAST_ROWS, "worst": {}, "tasks": {}}
    for task, columns in slices.items():
        worst = worst_slice(columns)
        content["worst"][task] = worst and {"column": worst[0], "value": worst[1]}
        content["tasks"][task] = {
            column: {value: _slice(result) for value, result in values.items()}
            for column, values in columns.items()
        }
    return content


def _slice(result: SliceResult) -> dict[str, Any]:
    """``score`` is micro F1 of a multilabel task, accuracy of a single one."""
    content: dict[str, Any] = {"n": result.n, "too_small": result.too_small}
    if result.value is not None and result.gap is not None:
        content |= {"score": estimate_to_dict(result.value), "gap": estimate_to_dict(result.gap)}
    return content


def _label(result: LabelResult) -> dict[str, Any]:
    """Plain numbers, as readers of the JSON expect them, with the intervals beside them."""
    content: dict[str, Any] = {key: number(e.value) for key, e in result.estimates.items()}
    content["support"] = result.support
    if result.threshold is not None:
        content["threshold"] = result.threshold
    content["too_rare"] = result.too_rare
    content["intervals"] = {
        key: {"low": number(e.low), "high": number(e.high)} for key, e in result.estimates.items()
    }
    if result.evidence is not None:
        content["evidence"] = _estimates(result.evidence)
    return content
