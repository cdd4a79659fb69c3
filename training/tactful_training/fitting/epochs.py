"""What is known of each epoch, read from the Trainer's log."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# The Trainer's own prefix of validation metrics, and ours of the parts of the training loss.
VALIDATION_PREFIX, TRAIN_PREFIX = "eval_", "train_"


@dataclass(frozen=True)
class Epoch:
    """What is known of one finished epoch.

    Attributes:
        number: from 1.
        metrics: ``train/loss``, ``train/loss/<part>``, ``validation/loss/<part>``,
            ``validation/score`` and so on. Train losses of an epoch that was interrupted are of
            the steps after the interruption.
    """

    number: int
    metrics: dict[str, float]


def read_epochs(history: Sequence[Mapping[str, float]]) -> tuple[Epoch, ...]:
    """Epochs from the Trainer's log: one entry of training, one of validation for each."""
    metrics: dict[int, dict[str, float]] = {}
    for entry in history:
        epoch = metrics.setdefault(math.ceil(entry["epoch"]), {})
        for key, value in entry.items():
            if key.startswith(VALIDATION_PREFIX):
                epoch[f"validation/{key.removeprefix(VALIDATION_PREFIX)}"] = value
            elif "loss" not in entry:
                continue  # a summary of the whole training
            elif key in ("loss", "learning_rate"):
                epoch[f"train/{key}"] = value
            elif key.startswith(TRAIN_PREFIX):
                epoch[f"train/loss/{key.removeprefix(TRAIN_PREFIX)}"] = value
    return tuple(Epoch(number, found) for number, found in sorted(metrics.items()))
