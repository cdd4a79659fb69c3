"""What is known of each epoch, read from the Trainer's log, and how a training shows it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

# The Trainer's own prefix of validation metrics, and ours of the parts of the training loss.
VALIDATION_PREFIX, TRAIN_PREFIX = "eval_", "train_"


@dataclass(frozen=True)
class Epoch:
    """What is known of one finished epoch.

    Attributes:
        number: from 1; 0 is the validation before the first step.
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


# Without a terminal (a log file), a line now and then shows that training goes on.
_LINE_SECONDS = 60.0


class ProgressReport(TrainerCallback):
    """Shows how far training is; a context manager, so that an error gives the terminal back.

    Args:
        console: where to.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._started = self._spoken = 0.0
        self._first = 0

    def __enter__(self) -> ProgressReport:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Start the bar, where a resumed run was left."""
        self._first = state.global_step
        self._task = self._bar.add_task("", total=state.max_steps, completed=state.global_step)
        self._bar.start()

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Start the clock with the first step: the validation before it says nothing of steps."""
        if not self._started:
            self._started = self._spoken = time.monotonic()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Move the bar; without a terminal, print a line now and then."""
        self._bar.update(self._task, completed=state.global_step)
        now = time.monotonic()
        if not self._console.is_terminal and now - self._spoken > _LINE_SECONDS:
            self._spoken = now
            speed = (state.global_step - self._first) / (now - self._started)
            left = (state.max_steps - state.global_step) / speed
            self._console.print(
                f"step {state.global_step} of {state.max_steps}, {clock(left)} left"
            )


def epoch_line(epoch: Epoch, epochs: int) -> str:
    """One line of an epoch's losses and validation metric; of validation alone for the start."""
    metrics = epoch.metrics
    validated = (
        f"validation loss {metrics['validation/loss']:.3f}, score {metrics['validation/score']:.4f}"
    )
    if epoch.number == 0:
        return f"before the first step: {validated}"
    prefix = "train/loss/"
    parts = ", ".join(
        f"{name.removeprefix(prefix)} {value:.3f}"
        for name, value in metrics.items()
        if name.startswith(prefix)
    )
    return (
        f"epoch {epoch.number} of {epochs}: loss {metrics['train/loss']:.3f} ({parts}); {validated}"
    )


def clock(seconds: float) -> str:
    """Seconds as ``h:mm:ss`` or ``m:ss``."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
