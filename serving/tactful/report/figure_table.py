"""What a table of the report is, and all of them as one CSV file."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tactful.batch.csv_format import defused
from tactful.report.intervals import Estimate

Form = Literal["text", "share", "count", "number", "seconds"]


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table.

    Attributes:
        value: what it holds; None where that is not known or not shown.
        form: how a number is written.
        low: lower end of its 95% interval.
        high: upper end.
        n: how many replies it rests on.
    """

    value: float | str | None
    form: Form = "text"
    low: float | None = None
    high: float | None = None
    n: int | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose first column names its rows.

    Attributes:
        name: its name in the CSV file, and its id on the page.
        caption: what it shows.
        columns: heads of all columns.
        rows: cells, each row as long as ``columns``.
        shaded: whether the page shades shares by their size, row by row.
    """

    name: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    shaded: bool = False


def share(estimate: Estimate | None) -> Cell:
    """A share with its interval."""
    if estimate is None:
        return Cell(None, "share")
    return Cell(estimate.value, "share", estimate.low, estimate.high, estimate.n)


def as_csv(named: Mapping[str, Table]) -> str:
    """All tables, one cell a line; safe to be opened as a spreadsheet."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["table", "row", "column", "value", "low", "high", "n"])
    for table in named.values():
        for row in table.rows:
            for column, cell in zip(table.columns[1:], row[1:], strict=True):
                numbers = [cell.value, cell.low, cell.high, cell.n]
                line = [table.name, str(row[0].value), column, *map(_written, numbers)]
                writer.writerow([defused(each) for each in line])
    return text.getvalue()


def _written(value: float | str | None) -> str:
    if value is None:
        return ""
    return str(round(value, 6)) if isinstance(value, float) else str(value)
