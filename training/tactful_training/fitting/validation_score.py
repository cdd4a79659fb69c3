"""How good a model in training is on the validation split, through serving's own batching."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tactful.reading.batches import run_rows
from tactful.reading.decisions import Floats
from tactful.reading.encoding import ReplyEncoding
from tactful.reading.tasks import Tasks
from tactful_training.fitting.losses import Loss
from tactful_training.fitting.model import torch_forward
from tactful_training.fitting.training_batches import Example

SCORE = "score"
"""The validation metric that decides which epoch is best and when training ends."""


class Validation:
    """Losses and the score of a model on some rows.

    Args:
        examples: the rows.
        encoding: what encoded them.
        loss: what training minimises.
    """

    def __init__(self, examples: Sequence[Example], encoding: ReplyEncoding, loss: Loss) -> None:
        self._encoded = [example.encoded for example in examples]
        self._encoding = encoding
        self._loss = loss
        self._targets = np.stack([example.targets for example in examples])
        self._marks = np.concatenate([example.marks for example in examples])
        self._counts = np.concatenate(
            [np.broadcast_to(e.marks.any(axis=0), e.marks.shape) for e in examples]
        )

    def __call__(self, model: nn.Module) -> Mapping[str, float]:
        """``score``, ``loss`` and ``loss/<part>`` of a model in evaluation mode."""
        outputs = run_rows(self._encoded, self._encoding, torch_forward(model), self._loss.tasks)
        logits = np.stack([output.logits for output in outputs])
        token_scores = np.concatenate([output.token_scores for output in outputs])
        total, parts = self._loss(
            torch.from_numpy(logits),
            torch.from_numpy(self._targets),
            torch.from_numpy(token_scores),
            torch.from_numpy(self._marks.astype(np.float32)),
            torch.from_numpy(self._counts.astype(np.float32)),
        )
        metrics = {SCORE: score(self._targets, logits, self._loss.tasks), "loss": total.item()}
        return metrics | {f"loss/{name}": part.item() for name, part in parts.items()}


def score(targets: Floats, logits: Floats, tasks: Tasks) -> float:
    """The one number that chooses the best epoch: the mean of micro and macro F1 over tasks.

    Decisions are plain (a probability of one half; the most probable class), since thresholds are
    chosen after training. Micro F1 alone would not see rare labels, macro F1 alone would follow
    their noise; of a single task micro F1 is accuracy. Macro F1 is over the labels that occur.

    Args:
        targets: ``[R, L]``, NaN where a task is unknown.
        logits: ``[R, L]``.
        tasks: the tasks of the label axis; one that is unknown in all rows does not count.
    """
    scores = []
    for task in tasks:
        at = tasks.slices[task.name]
        truth, z = targets[:, at], logits[:, at]
        decisions: NDArray[np.bool_] = z > 0
        if task.kind == "single":
            decisions = np.arange(z.shape[1]) == z.argmax(axis=1, keepdims=True)
        hits = (decisions & (truth == 1)).sum(axis=0)
        wrong = (decisions & (truth == 0) | ~decisions & (truth == 1)).sum(axis=0)
        occurs = (truth == 1).any(axis=0)
        if occurs.any():
            macro = (2 * hits / np.maximum(2 * hits + wrong, 1))[occurs].mean()
            micro = 2 * hits.sum() / (2 * hits.sum() + wrong.sum())
            scores.append((macro + micro) / 2)
    return float(np.mean(scores)) if scores else 0.0
