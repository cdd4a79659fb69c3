"""What is said of a job: counts of its parts, progress while it runs, the summary at its end."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table
from rich.text import Text

from tactful.batch.column_types import ColumnType, add_columns
from tactful.batch.job_spec import Part, Row, Source
from tactful.errors import InputError
from tactful.reading.readings import Reading

if TYPE_CHECKING:
    from tactful.bundle.loading import Bundle

_LINE_SECONDS = 30.0


@dataclass
class PartReport:
    """What became of a part; stands in the journal.

    Attributes:
        rows: how many there were.
        errors: cause to number of rows.
        labels: task to label to number of rows that have it.
        lines: how many rows could not be taken apart.
        shortened: of how many rows something was left out.
        doubtful: how many rows do not look like English.
        columns: the input columns with their types, where the output needs to know them.
    """

    rows: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    labels: dict[str, Counter[str]] = field(default_factory=dict)
    lines: int = 0
    shortened: int = 0
    doubtful: int = 0
    columns: dict[str, ColumnType] = field(default_factory=dict)

    def count(self, row: Row, result: Reading | InputError) -> None:
        """Take note of one row."""
        self.rows += 1
        self.lines += row.line is not None
        if isinstance(result, InputError):
            self.errors[result.code] += 1
            return
        self.shortened += bool(result.skipped)
        self.doubtful += result.language_doubtful
        for task in result.labels:
            names = [label.label for label in result.decided(task)]
            self.labels.setdefault(task, Counter()).update(names)

    def add(self, other: PartReport) -> None:
        """Take note of a part that follows."""
        self.rows += other.rows
        self.lines += other.lines
        self.shortened += other.shortened
        self.doubtful += other.doubtful
        self.errors.update(other.errors)
        for task, counts in other.labels.items():
            self.labels.setdefault(task, Counter()).update(counts)
        add_columns(self.columns, other.columns)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "rows": self.rows,
            "errors": dict(self.errors),
            "labels": {task: dict(counts) for task, counts in self.labels.items()},
            "lines": self.lines,
            "shortened": self.shortened,
            "doubtful": self.doubtful,
            "columns": self.columns,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> PartReport:
        """The inverse of `to_json`."""
        labels = {task: Counter(counts) for task, counts in content["labels"].items()}
        return cls(
            content["rows"],
            Counter(content["errors"]),
            labels,
            content["lines"],
            content["shortened"],
            content["doubtful"],
            content["columns"],
        )


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


@dataclass(frozen=True)
class Summary:
    """The result of a job.

    Attributes:
        output: what was written.
        bundle: the id of the bundle.
        rows: rows in OUTPUT.
        failed: rows that have an ``error``.
        errors: cause to number of rows.
        labels: task to label to its share of the rows that were read.
        shortened: rows of which something was left out: what is not the agent's words.
        language_doubtful: rows that were read, but do not look like English.
        resumed_rows: rows that an interrupted run had done already.
        seconds: how long the rest took, from the first row on.
        already_done: whether OUTPUT was there, made by the same job.
    """

    output: str
    bundle: str
    rows: int
    failed: int
    errors: dict[str, int]
    labels: dict[str, dict[str, float]]
    shortened: int
    language_doubtful: int
    resumed_rows: int
    seconds: float
    already_done: bool

    @property
    def rows_per_second(self) -> float:
        """Speed of this run, rows of an earlier one not counted."""
        return (self.rows - self.resumed_rows) / self.seconds if self.seconds else 0.0

    def to_dict(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        return {
            "output": self.output,
            "bundle": self.bundle,
            "rows": self.rows,
            "failed": self.failed,
            "errors": self.errors,
            "labels": self.labels,
            "shortened": self.shortened,
            "language_doubtful": self.language_doubtful,
            "resumed_rows": self.resumed_rows,
            "seconds": round(self.seconds, 3),
            "rows_per_second": round(self.rows_per_second, 1),
            "already_done": self.already_done,
        }


def summarize(
    report: PartReport,
    bundle: Bundle,
    *,
    resumed_rows: int = 0,
    seconds: float = 0.0,
    already_done: bool = False,
) -> Summary:
    """Make the summary of a report; its output is for the caller to name."""
    failed = report.errors.total()
    read = max(report.rows - failed, 1)
    return Summary(
        output="",
        bundle=bundle.id,
        rows=report.rows,
        failed=failed,
        errors=dict(report.errors.most_common()),
        labels={
            task.name: {
                label: round(report.labels.get(task.name, Counter())[label] / read, 6)
                for label in task.names
            }
            for task in bundle.heads.tasks
        },
        shortened=report.shortened,
        language_doubtful=report.doubtful,
        resumed_rows=resumed_rows,
        seconds=seconds,
        already_done=already_done,
    )


def render_summary(summary: Summary) -> RenderableType:
    """The summary for a person."""
    if summary.already_done:
        head = f"{summary.output} is there already, made by the same command: {summary.rows:,} rows"
    else:
        head = (
            f"{summary.output}: {summary.rows:,} rows in {summary.seconds:,.1f} s "
            f"({summary.rows_per_second:,.0f} rows/s)"
        )
        if summary.resumed_rows:
            head += f", {summary.resumed_rows:,} of them done before"
    parts: list[RenderableType] = [Text(head)]
    if summary.failed:
        causes = ", ".join(f"{cause} {count:,}" for cause, count in summary.errors.items())
        parts.append(Text(f"failed: {summary.failed:,} rows ({causes})", style="bold red"))
    else:
        parts.append(Text("failed: none"))
    if summary.shortened:
        parts.append(
            Text(f"words that are not the agent's left out of {summary.shortened:,} rows (--notes)")
        )
    if summary.language_doubtful:
        told = f"{summary.language_doubtful:,} rows do not look like English (--notes says which)"
        parts.append(Text(told, style="yellow"))
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for task, rates in summary.labels.items():
        for label, rate in rates.items():
            table.add_row(task, Text(label), f"{rate:.1%}")
    parts.append(table)
    return Group(*parts)
