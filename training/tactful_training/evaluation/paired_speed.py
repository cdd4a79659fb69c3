"""How fast two bundles are, measured side by side on the same replies."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tactful.classifier import Classifier
from tactful_training.data.labelled_row import Row

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
