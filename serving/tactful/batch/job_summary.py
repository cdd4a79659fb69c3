"""What a job says at its end."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tactful.batch.report import PartReport
from tactful.reading.tasks import Tasks


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
            "resumed_rows": self.resumed_rows,
            "seconds": round(self.seconds, 3),
            "rows_per_second": round(self.rows_per_second, 1),
            "already_done": self.already_done,
        }


def summarize(
    report: PartReport,
    tasks: Tasks,
    *,
    output: str,
    bundle: str,
    resumed_rows: int = 0,
    seconds: float = 0.0,
    already_done: bool = False,
) -> Summary:
    """Make the summary of a report."""
    failed = report.errors.total()
    read = max(report.rows - failed, 1)
    return Summary(
        output=output,
        bundle=bundle,
        rows=report.rows,
        failed=failed,
        errors=dict(report.errors.most_common()),
        labels={
            task.name: {
                label: round(report.labels.get(task.name, Counter())[label] / read, 6)
                for label in task.names
            }
            for task in tasks
        },
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
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for task, rates in summary.labels.items():
        for label, rate in rates.items():
            table.add_row(task, Text(label), f"{rate:.1%}")
    parts.append(table)
    return Group(*parts)
