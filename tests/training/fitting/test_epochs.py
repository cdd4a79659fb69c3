from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from transformers import TrainerControl, TrainerState

from tactful_training.fitting import epochs
from tactful_training.fitting.epochs import Epoch, ProgressReport, clock, epoch_line


def walk(report: ProgressReport, steps: int, first: int = 0) -> None:
    state = TrainerState(max_steps=steps, global_step=first)
    arguments: Any = None
    report.on_train_begin(arguments, state, TrainerControl())
    while state.global_step < steps:
        report.on_step_begin(arguments, state, TrainerControl())
        state.global_step += 1
        report.on_step_end(arguments, state, TrainerControl())


def test_a_log_file_gets_lines_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    said = io.StringIO()
    with ProgressReport(Console(file=said)) as report:
        walk(report, 50)
    assert said.getvalue() == ""
    monkeypatch.setattr(epochs, "_LINE_SECONDS", 0)
    with ProgressReport(Console(file=said)) as report:
        walk(report, 50, first=48)
    lines = said.getvalue().splitlines()
    assert [line.partition(",")[0] for line in lines] == ["step 49 of 50", "step 50 of 50"]
    assert lines[-1].endswith("0:00 left")


def test_the_validation_before_the_first_step_is_not_a_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said, now = io.StringIO(), [1.0]
    arguments: Any = None
    monkeypatch.setattr(epochs, "time", SimpleNamespace(monotonic=lambda: now[0]))
    state: Any = TrainerState(max_steps=3, global_step=0)
    with ProgressReport(Console(file=said)) as report:
        report.on_train_begin(arguments, state, TrainerControl())
        now[0] += 3600
        report.on_step_begin(arguments, state, TrainerControl())
        now[0] += 61
        state.global_step = 1
        report.on_step_end(arguments, state, TrainerControl())
    assert said.getvalue().strip() == "step 1 of 3, 2:02 left"


def interrupted(console: Console) -> None:
    with ProgressReport(console) as report:
        walk(report, 50)
        raise KeyboardInterrupt


def test_a_terminal_gets_a_bar_and_its_cursor_back() -> None:
    said = io.StringIO()
    with pytest.raises(KeyboardInterrupt):
        interrupted(Console(file=said, force_terminal=True))
    assert "50/50" in said.getvalue()
    assert said.getvalue().rindex("\x1b[?25h") > said.getvalue().rindex("\x1b[?25l")


def test_an_epoch_in_a_line() -> None:
    epoch = Epoch(
        2,
        {
            "train/loss": 1.5,
            "train/loss/moves": 0.25,
            "train/loss/evidence": 0.5,
            "validation/loss": 1.25,
            "validation/score": 0.75,
        },
    )
    assert epoch_line(epoch, 5) == (
        "epoch 2 of 5: loss 1.500 (moves 0.250, evidence 0.500); "
        "validation loss 1.250, score 0.7500"
    )


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (754, "12:34"), (3723, "1:02:03")]
)
def test_durations(seconds: float, text: str) -> None:
    assert clock(seconds) == text
