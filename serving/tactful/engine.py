"""One model with its tokenizer and its heads: from texts to calibrated scores and decisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tactful.decisions import Floats, Heads, calibrated_scores, decide
from tactful.encoding import Encoded, ReplyEncoding
from tactful.inference import run_rows
from tactful.session import Session
from tactful.tasks import Tasks

SCORE_DECIMALS = 6  # finer than fp32 results agree between processors
Scores = dict[str, dict[str, float]]
Decisions = dict[str, list[str] | str]
_PROBE = [("a reply", None), ("another reply of more words", "a context")]


@dataclass(frozen=True, eq=False, slots=True)
class Labelled:
    """What the model says of one reply.

    Attributes:
        encoded: what was read.
        scores: calibrated probabilities, float32 ``[L]``.
        decisions: bool ``[L]``.
        token_scores: float32 ``[n, L]``, a row for each of ``encoded.offsets``.
    """

    encoded: Encoded
    scores: Floats
    decisions: npt.NDArray[np.bool_]
    token_scores: Floats


class Engine:
    """Labels replies; safe to use from several threads.

    Args:
        heads: the content of ``labels.json``.
        tokenizer: the bytes of ``tokenizer.json``.
        model: the bytes of ``model.onnx``.
        threads: threads of one run; by default the processors this process may use.

    Raises:
        ValueError: names the file that cannot be used or that does not fit the others.
    """

    def __init__(
        self, heads: Heads, tokenizer: bytes, model: bytes, *, threads: int | None = None
    ) -> None:
        self.heads = heads
        try:
            self._encoding = ReplyEncoding(
                tokenizer,
                max_tokens=heads.max_tokens,
                max_windows=heads.max_windows,
                window_overlap=heads.window_overlap,
                use_context=heads.use_context,
            )
        except ValueError as error:
            raise ValueError(f"tokenizer.json: {error}") from error
        try:
            self._session = Session(model, threads=threads)
            self._probe()
        except ValueError as error:
            raise ValueError(f"model.onnx: {error}") from error

    def _probe(self) -> None:
        """Run the extremes, so that no graph, tokenizer and limits that disagree go into service:
        another number of windows, the longest one and the largest token id.
        """
        windows = [row.windows[0] for row in self._encoding.encode(_PROBE)]
        longest = self._encoding.collate(windows[:1], length=self.heads.max_tokens)
        longest.input_ids[0, -1] = self._encoding.largest_id
        for batch in (self._encoding.collate(windows), longest):
            self._session.check(batch, self.heads.tasks.size)

    def read(self, pairs: Sequence[tuple[str, str | None]]) -> list[Labelled]:
        """Label (reply, context) pairs, in order; similar lengths share a run of the model."""
        encoded = self._encoding.encode(pairs)
        outputs = run_rows(encoded, self._encoding, self._session, self.heads.tasks)
        if not outputs:
            return []
        scores = calibrated_scores(np.stack([output.logits for output in outputs]), self.heads)
        return [
            Labelled(output.encoded, row_scores, row_decisions, output.token_scores)
            for output, row_scores, row_decisions in zip(
                outputs, scores, decide(scores, self.heads), strict=True
            )
        ]


def scores_of(labelled: Labelled, tasks: Tasks) -> Scores:
    """Task name to label to calibrated probability, rounded to `SCORE_DECIMALS`."""
    values = labelled.scores.tolist()
    return {
        task.name: {
            label: round(value, SCORE_DECIMALS)
            for label, value in zip(task.names, values[tasks.slices[task.name]], strict=True)
        }
        for task in tasks
    }


def decisions_of(labelled: Labelled, tasks: Tasks) -> Decisions:
    """Task name to the decided labels, in card order, or for a single task to its label."""
    decided: Decisions = {}
    for task in tasks:
        flags = labelled.decisions[tasks.slices[task.name]]
        labels = [label for label, flag in zip(task.names, flags, strict=True) if flag]
        decided[task.name] = labels if task.kind == "multilabel" else labels[0]
    return decided
