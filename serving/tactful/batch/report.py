"""What became of the rows of a part, or of a whole job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tactful.batch.column_types import ColumnType, merged_columns
from tactful.batch.parts import Row
from tactful.errors import InputError
from tactful.reading.readings import Reading


@dataclass
class PartReport:
    """What became of a part; stands in the journal.

    Attributes:
        rows: how many there were.
        errors: cause to number of rows.
        labels: task to label to number of rows that have it.
        lines: how many rows could not be taken apart.
        columns: the input columns with their types, where the output needs to know them.
    """

    rows: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    labels: dict[str, Counter[str]] = field(default_factory=dict)
    lines: int = 0
    columns: dict[str, ColumnType] = field(default_factory=dict)

    def count(self, row: Row, result: Reading | InputError) -> None:
        """Take note of one row."""
        self.rows += 1
        self.lines += row.line is not None
        if isinstance(result, InputError):
            self.errors[result.code] += 1
            return
        for task in result.labels:
            names = [label.label for label in result.decided(task)]
            self.labels.setdefault(task, Counter()).update(names)

    def add(self, other: PartReport) -> None:
        """Take note of a part that follows."""
        self.rows += other.rows
        self.lines += other.lines
        self.errors.update(other.errors)
        for task, counts in other.labels.items():
            self.labels.setdefault(task, Counter()).update(counts)
        self.columns = merged_columns(self.columns, other.columns)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "rows": self.rows,
            "errors": dict(self.errors),
            "labels": {task: dict(counts) for task, counts in self.labels.items()},
            "lines": self.lines,
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
            content["columns"],
        )
