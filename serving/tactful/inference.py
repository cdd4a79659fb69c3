"""Runs encoded replies through a model: length-sorted batches, windows combined per reply.

``Forward`` is the only thing that differs between onnxruntime in serving and PyTorch in training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tactful.decisions import Floats, combine_windows
from tactful.encoding import Batch, Encoded, ReplyEncoding, Window
from tactful.tasks import Tasks

Forward = Callable[[Batch], tuple[Floats, Floats]]
"""From a batch to raw logits float32 ``[W, L]`` and token scores float32 ``[W, T, L]``."""

# Padded tokens of one batch: eight windows of 256, enough to fill two cores, small in memory.
TOKEN_BUDGET = 2048


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


def run_rows(
    encoded: Sequence[Encoded],
    encoding: ReplyEncoding,
    forward: Forward,
    tasks: Tasks,
    *,
    token_budget: int = TOKEN_BUDGET,
) -> list[RowOutput]:
    """Run replies through the model.

    Args:
        encoded: the replies.
        encoding: what encoded them; pads the batches.
        forward: the model.
        tasks: the tasks of the label axis.
        token_budget: most padded tokens in one batch; a single window may exceed it.

    Returns:
        One output for each reply, in the order given.
    """
    windows = [window for row in encoded for window in row.windows]
    logits: list[Floats] = [np.empty(0, np.float32)] * len(windows)
    scores = list(logits)
    for batch in _batches(windows, token_budget):
        batch_logits, batch_scores = forward(encoding.collate([windows[i] for i in batch]))
        for row, index in enumerate(batch):
            window = windows[index]
            logits[index] = batch_logits[row]
            # A copy of the reply's part, so that the padded batch is freed.
            at = slice(window.reply_at, window.reply_at + window.size)
            scores[index] = batch_scores[row, at].copy()
    outputs, start = [], 0
    for row_encoded in encoded:
        stop = start + len(row_encoded.windows)
        outputs.append(_combine(row_encoded, logits[start:stop], scores[start:stop], tasks))
        start = stop
    return outputs


def _batches(windows: Sequence[Window], token_budget: int) -> Iterator[list[int]]:
    """Indices of windows in batches of similar length, longest first."""
    order = sorted(range(len(windows)), key=lambda index: -len(windows[index].input_ids))
    start = 0
    while start < len(order):
        longest = len(windows[order[start]].input_ids)
        stop = start + max(1, token_budget // longest)
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
