"""Runs encoded replies through a model: batches of like lengths, windows combined per reply.

``Forward`` is the only thing that differs between onnxruntime in serving and PyTorch in training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tactful.reading.decisions import Floats, combine_windows
from tactful.reading.encoding import Batch, Encoded, ReplyEncoding, Window
from tactful.reading.tasks import Tasks

Forward = Callable[[Batch], tuple[Floats, Floats]]
"""From a batch to raw logits float32 ``[W, L]`` and token scores float32 ``[W, T, L]``."""

# Padded tokens of one batch. More fill no core better, and what lies between two layers no longer
# fits a core's cache: see docs/performance.md.
TOKEN_BUDGET = 512
# Of its batch's longest window, the least length of any other. Padding is computed for nothing and
# keeps attention from its faster way, but batches of one window each waste time between them.
LEAST_FILLED = 0.8


@dataclass(frozen=True, eq=False, slots=True)
class RowOutput:
    """What the model says of one reply, before calibration.

    Attributes:
        encoded: what was read.
        logits: float32 ``[L]``, windows combined.
        token_scores: float32 ``[n, L]``, a row for each of ``encoded.offsets``.
    """

    encoded: Encoded
    logits: Floats
    token_scores: Floats


class Pass:
    """One pass of replies through the model: cut into batches first, then run batch by batch.

    The cut depends on the replies alone, never on when or where a batch runs.

    Args:
        encoded: the replies.
        encoding: what encoded them; pads the batches.
        tasks: the tasks of the label axis.
        token_budget: most padded tokens in one batch; a single window may exceed it.
    """

    def __init__(
        self,
        encoded: Sequence[Encoded],
        encoding: ReplyEncoding,
        tasks: Tasks,
        *,
        token_budget: int = TOKEN_BUDGET,
    ) -> None:
        self._encoded = encoded
        self._encoding = encoding
        self._tasks = tasks
        self._windows = [window for row in encoded for window in row.windows]
        self._batches = list(_batches(self._windows, token_budget))
        self._logits: list[Floats] = [np.empty(0, np.float32)] * len(self._windows)
        self._scores = list(self._logits)

    def __len__(self) -> int:
        """The number of batches."""
        return len(self._batches)

    def run(self, index: int, forward: Forward) -> None:
        """Run one batch; different ones may run in several threads at once."""
        members = self._batches[index]
        windows = [self._windows[member] for member in members]
        logits, scores = forward(self._encoding.collate(windows))
        for row, (member, window) in enumerate(zip(members, windows, strict=True)):
            self._logits[member] = logits[row]
            # A copy of the reply's part, so that the padded batch is freed.
            at = slice(window.reply_at, window.reply_at + window.size)
            self._scores[member] = scores[row, at].copy()

    def run_all(self, forward: Forward) -> None:
        """Run all batches, one after the other."""
        for index in range(len(self)):
            self.run(index, forward)

    def outputs(self) -> list[RowOutput]:
        """One output for each reply, in the order given, after all batches have run."""
        outputs, start = [], 0
        for row in self._encoded:
            stop = start + len(row.windows)
            outputs.append(
                _combine(row, self._logits[start:stop], self._scores[start:stop], self._tasks)
            )
            start = stop
        return outputs


def run_rows(
    encoded: Sequence[Encoded],
    encoding: ReplyEncoding,
    forward: Forward,
    tasks: Tasks,
    *,
    token_budget: int = TOKEN_BUDGET,
) -> list[RowOutput]:
    """Run replies through the model, one batch after the other; the arguments are `Pass`'s.

    Returns:
        One output for each reply, in the order given.
    """
    whole = Pass(encoded, encoding, tasks, token_budget=token_budget)
    whole.run_all(forward)
    return whole.outputs()


def _batches(windows: Sequence[Window], token_budget: int) -> Iterator[list[int]]:
    """Members of each batch, longest first."""
    lengths = [len(window.input_ids) for window in windows]
    order = sorted(range(len(windows)), key=lambda index: -lengths[index])
    start = 0
    while start < len(order):
        longest = lengths[order[start]]
        stop = min(start + max(1, token_budget // longest), len(order))
        while lengths[order[stop - 1]] < LEAST_FILLED * longest:
            stop -= 1
        yield order[start:stop]
        start = stop


def _combine(
    encoded: Encoded, logits: Sequence[Floats], scores: Sequence[Floats], tasks: Tasks
) -> RowOutput:
    if len(encoded.windows) == 1:
        return RowOutput(encoded, logits[0], scores[0])
    reply_tokens = np.array([window.size for window in encoded.windows])
    total = np.zeros((len(encoded.offsets), tasks.size), dtype=np.float32)
    count = np.zeros((len(encoded.offsets), 1), dtype=np.float32)
    for window, window_scores in zip(encoded.windows, scores, strict=True):
        at = slice(window.first, window.first + window.size)
        total[at] += window_scores
        count[at] += 1
    combined = combine_windows(np.stack(logits), reply_tokens, tasks)
    return RowOutput(encoded, combined, total / count)
