"""One model with its tokenizer and its heads: from texts to calibrated scores and decisions."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tactful.errors import ModelError
from tactful.reading.decisions import Floats, Heads, calibrated_scores, decide
from tactful.reading.encoding import Encoded, ReplyEncoding
from tactful.reading.passes import Pass, RowOutput
from tactful.reading.session import Session
from tactful.reading.tasks import Tasks
from tactful.reading.threads import Workers

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
        bundle: the id of the bundle that it is of, for readings; empty where there is none.
        threads: threads of one run; by default the processors this process may use.

    Raises:
        ValueError: names the file that cannot be used or that does not fit the others.
    """

    def __init__(
        self,
        heads: Heads,
        tokenizer: bytes,
        model: bytes,
        *,
        bundle: str = "",
        threads: int | None = None,
    ) -> None:
        self.heads = heads
        self.bundle = bundle
        try:
            self._encoding = ReplyEncoding(tokenizer, heads.limits)
        except ValueError as error:
            raise ValueError(f"tokenizer.json: {error}") from error
        try:
            self._session = Session(model, threads=threads)
            self._probe()
        except ValueError as error:
            raise ValueError(f"model.onnx: {error}") from error
        self._workers = Workers(model, threads=threads)
        self._process = os.getpid()

    def _probe(self) -> None:
        """Run the extremes, so that no graph, tokenizer and limits that disagree go into service:
        several windows, padding and none, the longest one and the largest token id.
        """
        windows = [row.windows[0] for row in self._encoding.encode(_PROBE)]
        longest = self._encoding.collate(windows, length=self.heads.limits.max_tokens)
        longest.input_ids[0, -1] = self._encoding.largest_id
        longest.attention_mask[:] = 1
        for batch in (self._encoding.collate(windows), longest):
            self._session.check(batch, self.heads.tasks.size)

    def read(self, pairs: Sequence[tuple[str, str | None]]) -> list[Labelled]:
        """Label (reply, context) pairs, in order.

        Raises:
            ModelError: the model cannot run them.
        """
        rows = self._pass(pairs)
        rows.run_all(self._session)
        return label_outputs(rows.outputs(), self.heads)

    def start(self, pairs: Sequence[tuple[str, str | None]]) -> Job:
        """Tokenise pairs and begin to label them, so that the caller can prepare the next ones.

        Several batches run side by side, each in a thread of its own; a single one waits for
        `Job.result`, which runs it with all threads together.

        Raises:
            ModelError: there is no memory for the threads' session.
        """
        rows = self._pass(pairs)
        batches = self._workers.run(rows) if len(rows) > 1 else []
        return Job(rows, batches, self._session, self.heads)

    def _pass(self, pairs: Sequence[tuple[str, str | None]]) -> Pass:
        if os.getpid() != self._process:
            # The threads of a session are not in a forked child: it would wait for them for ever.
            raise ModelError(
                "a classifier cannot be used in a process forked from the one that loaded it; "
                "load it there, or start processes by 'spawn' or 'forkserver'"
            )
        return Pass(self._encoding.encode(pairs), self._encoding, self.heads.tasks)


class Job:
    """Replies that are being labelled; see `Engine.start`."""

    def __init__(
        self, rows: Pass, batches: Sequence[Future[None]], session: Session, heads: Heads
    ) -> None:
        self._rows = rows
        self._batches = batches
        self._session = session
        self._heads = heads

    def result(self) -> list[Labelled]:
        """Wait until all are labelled; in the order given.

        Raises:
            ModelError: the model cannot run them.
        """
        if not self._batches:
            self._rows.run_all(self._session)
        try:
            for batch in self._batches:
                batch.result()
        finally:
            self.cancel()
        return label_outputs(self._rows.outputs(), self._heads)

    def cancel(self) -> None:
        """Give up the batches that have not begun to run."""
        for batch in self._batches:
            batch.cancel()


def label_outputs(outputs: Sequence[RowOutput], heads: Heads) -> list[Labelled]:
    """Calibrate and decide what the model says of some replies, in order."""
    if not outputs:
        return []
    scores = calibrated_scores(np.stack([output.logits for output in outputs]), heads)
    return [
        Labelled(output.encoded, row_scores, row_decisions, output.token_scores)
        for output, row_scores, row_decisions in zip(
            outputs, scores, decide(scores, heads), strict=True
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
