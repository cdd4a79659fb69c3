"""Paired differences of two systems on the same rows, B minus A, with 95% intervals.

Both answer the same rows, so both see the same resamples: what the rows have in common cancels out,
and a difference that two separate intervals would hide shows.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tactful.classifier import Classifier
from tactful.reading.tasks import Task
from tactful_training.data.labelled_row import Row
from tactful_training.evaluation.bootstrap import Estimate, Resamples, Statistic
from tactful_training.evaluation.bundle_evaluation import LEAST_ROWS, said
from tactful_training.evaluation.decisions_on_rows import Answers
from tactful_training.evaluation.evaluation_results import MACRO_OF_ALL
from tactful_training.evaluation.quality_metrics import (
    average_precision_statistic,
    calibration_bins,
    calibration_statistic,
    decision_counts,
    decision_statistic,
    evidence_counts,
    evidence_tasks,
    overlap_statistic,
)

PER_LABEL = ("precision", "recall", "f1", "average_precision")


@dataclass(frozen=True)
class Difference:
    """One figure of two systems.

    Attributes:
        a: of the first.
        b: of the second.
        difference: b minus a, with its interval.
    """

    a: float
    b: float
    difference: Estimate


@dataclass(frozen=True)
class McNemar:
    """Rows that one of two systems gets right and the other does not.

    Attributes:
        only_a: right in A alone.
        only_b: right in B alone.
        p: how likely so uneven a split is if both were equally good (exact, two-sided). It takes
            rows as independent; where groups have several rows, trust the intervals.
    """

    only_a: int
    only_b: int
    p: float


@dataclass(frozen=True)
class LabelComparison:
    """One label.

    Attributes:
        support: rows that carry it.
        too_rare: whether macro F1 leaves it out.
        figures: precision, recall, f1 and average_precision.
        mcnemar: of the decisions about this label.
    """

    support: int
    too_rare: bool
    figures: Mapping[str, Difference]
    mcnemar: McNemar


@dataclass(frozen=True)
class TaskComparison:
    """One task.

    Attributes:
        n: rows whose labels are known.
        headline: accuracy or micro_f1, macro_f1, macro_f1_all, and ece.
        labels: every label, in the order of the task.
        mcnemar: of rows all of whose labels are right.
    """

    n: int
    headline: Mapping[str, Difference]
    labels: Mapping[str, LabelComparison]
    mcnemar: McNemar


def compare_tasks(a: Answers, b: Answers, drawn: Resamples) -> dict[str, TaskComparison]:
    """Compare every task that some row knows."""
    results = {}
    for task in a.tasks:
        if not np.isnan(a.truth[:, a.tasks.slices[task.name]]).all():
            results[task.name] = _compare_task(task, a, b, drawn)
    return results


def compare_evidence(a: Answers, b: Answers, drawn: Resamples) -> dict[str, Difference]:
    """Token precision, recall and F1 over the tasks with marked words; empty without any."""
    marked = evidence_tasks(a.rows) & {task.name for task in a.tasks}
    if not marked or a.spans is None or b.spans is None:
        return {}
    statistics = [
        overlap_statistic(drawn.sums(evidence_counts(each.rows, spans, marked)))
        for each, spans in ((a, a.spans), (b, b.spans))
    ]
    precision, recall, f1 = _differences(drawn, *statistics)
    return {"token_f1": f1, "token_precision": precision, "token_recall": recall}


def mcnemar(right_a: NDArray[np.bool_], right_b: NDArray[np.bool_]) -> McNemar:
    """Count disagreements of two systems on rows ``[R]``."""
    from scipy.stats import binomtest

    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    total = only_a + only_b
    return McNemar(only_a, only_b, float(binomtest(only_a, total).pvalue) if total else 1.0)


def _compare_task(task: Task, a: Answers, b: Answers, drawn: Resamples) -> TaskComparison:
    at = a.tasks.slices[task.name]
    truth = a.truth[:, at]
    support = np.nansum(truth, axis=0)
    counted = support >= LEAST_ROWS[task.kind]
    both = [(each.scores[:, at], each.decisions[:, at]) for each in (a, b)]
    counts = [drawn.sums(decision_counts(truth, decisions)) for _, decisions in both]
    *per_label, macro, micro = _differences(
        drawn, *(decision_statistic(each, counted) for each in counts)
    )
    macro_of_all = macro
    if not counted.all():
        every = np.ones_like(counted)
        *_, macro_of_all, _ = _differences(
            drawn, *(decision_statistic(each, every) for each in counts)
        )
    per_label += _differences(
        drawn, *(average_precision_statistic(truth, scores, drawn) for scores, _ in both)
    )
    bins = [calibration_bins(*said(task, truth, scores), drawn) for scores, _ in both]
    [ece] = _differences(drawn, *(calibration_statistic(each) for each in bins))
    known = ~np.isnan(truth).any(axis=1)
    right = [(decisions == (truth == 1))[known] for _, decisions in both]
    size = len(task.labels)
    labels = {
        label: LabelComparison(
            int(support[index]),
            not counted[index],
            dict(zip(PER_LABEL, per_label[index::size], strict=True)),
            mcnemar(right[0][:, index], right[1][:, index]),
        )
        for index, label in enumerate(task.labels)
    }
    main = "accuracy" if task.kind == "single" else "micro_f1"
    return TaskComparison(
        n=int(known.sum()),
        headline={main: micro, "macro_f1": macro, MACRO_OF_ALL: macro_of_all, "ece": ece},
        labels=labels,
        mcnemar=mcnemar(right[0].all(axis=1), right[1].all(axis=1)),
    )


def _differences(drawn: Resamples, a: Statistic, b: Statistic) -> list[Difference]:
    ones = np.ones((1, drawn.size))
    values: Sequence[Any] = list(zip(a(ones)[0].tolist(), b(ones)[0].tolist(), strict=True))
    estimates = drawn.estimates(lambda weights: b(weights) - a(weights))
    return [Difference(x, y, each) for (x, y), each in zip(values, estimates, strict=True)]


_REPLIES = 48  # a second or two for a default bundle on one core
_ROUNDS = 3


@dataclass(frozen=True)
class Cost:
    """What a bundle costs to run.

    Attributes:
        megabytes: size of its files.
        median_ms: milliseconds of a reply on its own, the median over replies of their fastest run.
        slowest_ms: the same of the slowest twentieth of replies.
    """

    megabytes: float
    median_ms: float
    slowest_ms: float


def measure_costs(classifiers: Sequence[Classifier], rows: Sequence[Row]) -> list[Cost]:
    """Time both in turn on every reply, so that what else the machine does hits both alike."""
    step = max(1, len(rows) // _REPLIES)
    some = [row for row in rows[::step] if row.is_encodable][:_REPLIES] or list(rows[:1])
    best = np.full((len(classifiers), len(some)), np.inf)
    for _ in range(_ROUNDS):
        for place, row in enumerate(some):
            for index, classifier in enumerate(classifiers):
                start = time.perf_counter()
                classifier.classify(row.reply, row.context)
                best[index, place] = min(best[index, place], time.perf_counter() - start)
    return [
        Cost(
            sum(file["size"] for file in classifier.bundle.manifest["files"].values()) / 1e6,
            float(np.median(times)) * 1000,
            float(np.quantile(times, 0.95)) * 1000,
        )
        for classifier, times in zip(classifiers, best, strict=True)
    ]
