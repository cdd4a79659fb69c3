"""Paired differences of two systems on the same rows, B minus A, with 95% intervals.

Both answer the same rows, so both see the same resamples: what the rows have in common cancels out,
and a difference that two separate intervals would hide shows. Time is paired too: both read the
same replies in turn.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tactful.classifier import Classifier
from tactful.reading.tasks import Task
from tactful_training.data.labelled_row import Row
from tactful_training.evaluation.bootstrap import (
    LEVELS,
    RESAMPLES,
    Doubles,
    Estimate,
    Resamples,
    Statistic,
)
from tactful_training.evaluation.decisions_on_rows import Answers
from tactful_training.evaluation.evaluation_results import estimate_to_dict, number
from tactful_training.evaluation.evidence_metrics import evidence_counts, marked_tasks
from tactful_training.evaluation.quality_metrics import (
    TaskFigures,
    calibration_bins,
    calibration_statistic,
    confidences,
    overlap_statistic,
)

# A second or two for a default bundle on one core.
TIMED_REPLIES, TIMED_ROUNDS = 48, 7


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

    def to_dict(self) -> dict[str, Any]:
        """As in the JSON of ``tactful compare``."""
        return {
            "n": self.n,
            **differences_to_dict(self.headline),
            "mcnemar": asdict(self.mcnemar),
            "labels": {
                label: {
                    "support": found.support,
                    "too_rare": found.too_rare,
                    **differences_to_dict(found.figures),
                    "mcnemar": asdict(found.mcnemar),
                }
                for label, found in self.labels.items()
            },
        }


def differences_to_dict(figures: Mapping[str, Difference]) -> dict[str, Any]:
    """Both values and their difference with its interval; what is undefined is null."""
    return {
        key: {
            "a": number(each.a),
            "b": number(each.b),
            "difference": estimate_to_dict(each.difference),
        }
        for key, each in figures.items()
    }


def compare_tasks(a: Answers, b: Answers, drawn: Resamples) -> dict[str, TaskComparison]:
    """Compare every task that some row knows."""
    results = {}
    for task in a.tasks:
        if not np.isnan(a.truth[:, a.tasks.slices[task.name]]).all():
            results[task.name] = _compare_task(task, a, b, drawn)
    return results


def compare_evidence(a: Answers, b: Answers, drawn: Resamples) -> dict[str, Difference]:
    """Token precision, recall and F1 over the tasks with marked words; empty without any."""
    tasks = marked_tasks(a.rows, a.tasks)
    if tasks is None or a.spans is None or b.spans is None:
        return {}
    counts = [
        drawn.sums(evidence_counts(a.rows, spans, tasks)).reshape(drawn.size, 3, tasks.size)
        for spans in (a.spans, b.spans)
    ]
    statistics = [overlap_statistic(each.sum(axis=2)) for each in counts]
    precision, _, recall, _, f1, _ = _differences(drawn, *statistics)  # one label, and all of one
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
    both = [(each.scores[:, at], each.decisions[:, at]) for each in (a, b)]
    figures = TaskFigures(task, truth, drawn)
    headline, per_label = figures.named(
        _differences(drawn, *(figures.statistic(*each) for each in both))
    )
    bins = [calibration_bins(*confidences(task, truth, scores), drawn) for scores, _ in both]
    [headline["ece"]] = _differences(drawn, *map(calibration_statistic, bins))
    known = ~np.isnan(truth).any(axis=1)
    right_a, right_b = ((decisions == (truth == 1))[known] for _, decisions in both)
    return TaskComparison(
        n=int(known.sum()),
        headline=headline,
        labels={
            label: LabelComparison(
                int(figures.support[index]),
                not figures.counted[index],
                per_label[label],
                mcnemar(right_a[:, index], right_b[:, index]),
            )
            for index, label in enumerate(task.names)
        },
        mcnemar=mcnemar(right_a.all(axis=1), right_b.all(axis=1)),
    )


def _differences(drawn: Resamples, a: Statistic, b: Statistic) -> list[Difference]:
    ones = np.ones((1, drawn.size))
    values: Sequence[Any] = list(zip(a(ones)[0].tolist(), b(ones)[0].tolist(), strict=True))
    estimates = drawn.estimates(lambda weights: b(weights) - a(weights))
    return [Difference(x, y, each) for (x, y), each in zip(values, estimates, strict=True)]


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


@dataclass(frozen=True)
class Costs:
    """The costs of two bundles.

    Attributes:
        a: of the first.
        b: of the second.
        slowdown: time of a reply with B as a factor of that with A, with its 95% interval.
    """

    a: Cost
    b: Cost
    slowdown: Estimate

    @property
    def growth(self) -> float:
        """The size of B as a factor of that of A."""
        return self.b.megabytes / self.a.megabytes


def measure_costs(a: Classifier, b: Classifier, rows: Sequence[Row]) -> Costs:
    """Time both in turn on every reply, so that what else the machine does hits both alike."""
    step = max(1, len(rows) // TIMED_REPLIES)
    some = [row for row in rows[::step] if row.is_encodable][:TIMED_REPLIES] or list(rows[:1])
    seconds = np.empty((2, TIMED_ROUNDS, len(some)))
    for turn in range(TIMED_ROUNDS):
        for place, row in enumerate(some):
            for index, classifier in enumerate((a, b)):
                start = time.perf_counter()
                classifier.classify(row.reply, row.context)
                seconds[index, turn, place] = time.perf_counter() - start
    first, second = (
        Cost(
            sum(file["size"] for file in classifier.bundle.manifest["files"].values()) / 1e6,
            float(np.median(best)) * 1000,
            float(np.quantile(best, 0.95)) * 1000,
        )
        for classifier, best in zip((a, b), seconds.min(axis=1), strict=True)
    )
    return Costs(first, second, slowdown(*seconds))


def slowdown(a: Doubles, b: Doubles, *, resamples: int = RESAMPLES, seed: int = 0) -> Estimate:
    """How many times as long B takes as A, with a percentile interval.

    The factor is the median over replies of the ratio of the median rounds. Rounds and replies are
    drawn with return, both: a disturbed round widens the interval as an odd reply does.

    Args:
        a: seconds of the first by round and reply, ``[T, N]``.
        b: of the second, likewise.
        resamples: behind the interval.
        seed: fixes them.
    """

    def factor(rounds: Any, replies: Any) -> float:
        first, second = (np.median(each[rounds][:, replies], axis=0) for each in (a, b))
        return float(np.median(second / first))

    rng = np.random.default_rng(seed)
    turns, count = a.shape
    draws = [
        factor(rng.integers(0, turns, turns), rng.integers(0, count, count))
        for _ in range(resamples)
    ]
    value = factor(np.arange(turns), np.arange(count))
    low, high = np.quantile(draws, LEVELS)
    return Estimate(value, float(min(low, value)), float(max(high, value)))
