"""What a candidate costs and how well it reads, measured on the validation split."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tactful.errors import ModelError
from tactful.reading.assembling import to_reading
from tactful.reading.decisions import Heads
from tactful.reading.engine import label_outputs
from tactful.reading.passes import Pass, RowOutput
from tactful.reading.session import Session
from tactful.reading.threads import Workers
from tactful_training.bundling.candidates import Candidate
from tactful_training.data.labelled_row import Row
from tactful_training.errors import ExportError
from tactful_training.evaluation.bundle_evaluation import evaluate_readings
from tactful_training.evaluation.evaluation_results import Evaluation
from tactful_training.fitting.validation import Validation

# Enough replies for a steady rate in a second, few enough to time a handful of candidates.
_TIMED_REPLIES = 96
_ROUNDS = 5


@dataclass(frozen=True)
class Measured:
    """A candidate with what was measured.

    Attributes:
        candidate: the graph.
        outputs: what the graph says of the validation split.
        heads: calibration and thresholds fitted on that.
        evaluation: of its decisions and evidence on the validation split, without intervals.
    """

    candidate: Candidate
    outputs: Sequence[RowOutput]
    heads: Heads
    evaluation: Evaluation


def measure(
    candidate: Candidate,
    rows: Sequence[Row],
    validation: Validation,
    calibrate: Callable[[Sequence[RowOutput]], Heads],
) -> Measured:
    """Measure how well a candidate reads.

    Args:
        candidate: the graph.
        rows: the validation split.
        validation: the same rows, encoded.
        calibrate: fits heads to what a graph says of them.

    Raises:
        ExportError: onnxruntime cannot run it.
    """
    try:
        outputs = validation.outputs(Session(candidate.content))
    except (ValueError, ModelError) as error:
        raise ExportError(f"the candidate {candidate.name} cannot be run: {error}") from error
    heads = calibrate(outputs)
    readings = (
        to_reading(row.reply, labelled, heads, candidate.name)
        for row, labelled in zip(rows, label_outputs(outputs, heads), strict=True)
    )
    evaluation = evaluate_readings(readings, rows, heads, resamples=0)
    return Measured(candidate, outputs, heads, evaluation)


def rates(candidates: Sequence[Candidate], validation: Validation) -> list[float]:
    """Replies per second of each, with all threads: medians of several rounds.

    They take turns, so that a busy moment of the machine hits all alike.
    """
    encoded = validation.encoded[:_TIMED_REPLIES]
    workers = [Workers(candidate.content) for candidate in candidates]
    seconds: list[list[float]] = [[] for _ in candidates]
    for turn in range(_ROUNDS + 1):
        for index, each in enumerate(workers):
            rows = Pass(encoded, validation.encoding, validation.tasks)
            begin = time.perf_counter()
            for batch in each.run(rows):
                batch.result()
            if turn:  # the first one warms up
                seconds[index].append(time.perf_counter() - begin)
    return [len(encoded) / statistics.median(times) for times in seconds]
