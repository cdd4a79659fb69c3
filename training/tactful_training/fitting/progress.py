"""What a training says on the screen: few lines, and a bar where there is a terminal."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from tactful_training.fitting.epochs import Epoch

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
        self._started = self._spoken = time.monotonic()
        self._first = state.global_step
        self._task = self._bar.add_task("", total=state.max_steps, completed=state.global_step)
        self._bar.start()

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
    """One line of an epoch's losses and validation metric."""
    metrics = epoch.metrics
    prefix = "train/loss/"
    parts = ", ".join(
        f"{name.removeprefix(prefix)} {value:.3f}"
        for name, value in metrics.items()
        if name.startswith(prefix)
    )
    return (
        f"epoch {epoch.number} of {epochs}: loss {metrics['train/loss']:.3f} ({parts}); "
        f"validation loss {metrics['validation/loss']:.3f}, score {metrics['validation/score']:.4f}"
    )


def clock(seconds: float) -> str:
    """Seconds as ``h:mm:ss`` or ``m:ss``."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
