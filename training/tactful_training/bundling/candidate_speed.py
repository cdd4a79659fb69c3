"""How fast forms of one model read replies, side by side."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tactful.reading.batches import Pass
from tactful.reading.encoding import Encoded
from tactful.reading.session import Workers
from tactful_training.bundling.candidates import Candidate
from tactful_training.fitting.training_inputs import TrainingInputs

# Enough replies for a steady rate in a second, few enough to time a handful of candidates.
_REPLIES = 96
_ROUNDS = 9


@dataclass(frozen=True)
class Rate:
    """Replies per second, with all threads.

    Attributes:
        median: of the rounds.
        low: lower end of its 96% interval: the second slowest of nine rounds.
        high: upper end: the second fastest.
    """

    median: float
    low: float
    high: float


def measure_rates(
    candidates: Sequence[Candidate], inputs: TrainingInputs, encoded: Sequence[Encoded]
) -> list[Rate]:
    """The speed of each; they take turns, so that a busy moment of the machine hits all alike.

    Args:
        candidates: the forms.
        inputs: what was trained on.
        encoded: replies, of which the first 96 are read.
    """
    read = encoded[:_REPLIES]
    workers = [Workers(candidate.content) for candidate in candidates]
    rounds: list[list[float]] = [[] for _ in candidates]
    for turn in range(_ROUNDS + 1):
        for index, each in enumerate(workers):
            rows = Pass(read, inputs.encoding, inputs.tasks)
            begin = time.perf_counter()
            for batch in each.run(rows):
                batch.result()
            if turn:  # the first one warms up
                rounds[index].append(len(read) / (time.perf_counter() - begin))
    ordered = [sorted(each) for each in rounds]
    # Order statistics of nine independent rounds: the median is outside with 2 x 10 / 2^9 = 4%.
    return [Rate(statistics.median(each), each[1], each[-2]) for each in ordered]
