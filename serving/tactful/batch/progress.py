"""How far a job is: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from tactful.batch.parts import Part
from tactful.batch.spec import Source

_LINE_SECONDS = 30.0


class JobProgress:
    """Shows rows, rows per second and the time that is left; a context manager.

    Args:
        console: where to; None shows nothing.
    """

    def __init__(self, console: Console | None) -> None:
        self._console = console or Console(quiet=True)
        self._shown = self._console.is_terminal and console is not None
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[state]}"),
            console=self._console,
            transient=True,
            disable=not self._shown,
        )
        self._task = self._bar.add_task("", total=1.0, state="")
        self._before: list[int] = [0]
        self.rows = 0

    def __enter__(self) -> JobProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        """What is being done; a line in a log."""
        self._bar.update(self._task, description=text, state="")
        if not self._shown:
            self._console.print(text, highlight=False, soft_wrap=True, markup=False)

    def start(self, sources: Sequence[Source], last: Part | None, rows: int) -> None:
        """Begin to count.

        Args:
            sources: the input files.
            last: the last part of an interrupted run.
            rows: how many rows that run committed.
        """
        for source in sources:
            self._before.append(self._before[-1] + source.size)
        self._rows_before = rows
        self._read_before = self._read(last)
        self._started = self._spoken = time.monotonic()
        if last is not None:
            self.say(f"going on after {rows:,} rows")
        self.say("scoring")

    def advance(self, part: Part) -> None:
        """One more part is committed."""
        self.rows += part.rows
        now = time.monotonic()
        passed = max(now - self._started, 1e-6)
        read, total = self._read(part), max(self._before[-1], 1)
        left = (total - read) * passed / max(read - self._read_before, 1)
        state = (
            f"{self._rows_before + self.rows:,} rows, {self.rows / passed:,.0f} rows/s, "
            f"{clock(left)} left"
        )
        self._bar.update(self._task, completed=read / total, state=state)
        if not self._shown and now - self._spoken > _LINE_SECONDS:
            self._spoken = now
            self._console.print(f"{read / total:.0%}: {state}", highlight=False, soft_wrap=True)

    @property
    def seconds(self) -> float:
        """Seconds since the counting began."""
        return time.monotonic() - self._started

    def _read(self, part: Part | None) -> int:
        return 0 if part is None else self._before[part.source] + part.read


def clock(seconds: float) -> str:
    """Seconds as ``h:mm:ss`` or ``m:ss``."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
