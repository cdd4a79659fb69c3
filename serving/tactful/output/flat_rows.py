"""The flat form of a reading: one row of a table, as batch jobs and the MLflow model write it.

Every task has a column (a list of labels, or one label), every label a column
``score.<task>.<label>``; then ``evidence``, ``truncated``, ``bundle`` and ``error``.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

from tactful.errors import InputError
from tactful.reading.readings import LabelReading, Reading
from tactful.reading.tasks import Tasks

Scores = Literal["none", "decided", "all"]
"""Which score columns are filled: no such columns, those of decided labels, or every one."""

SCORES: tuple[Scores, ...] = get_args(Scores)


class FlatRows:
    """Turns readings into flat rows that all have the same columns.

    Args:
        tasks: the tasks of the bundle.
        bundle: the id of the bundle, for rows that have no reading.
        scores: which scores are given; with ``decided`` the others are None.
        prefix: put before each column's name.

    Attributes:
        columns: the names of all columns, in order, prefix included.
    """

    def __init__(
        self, tasks: Tasks, bundle: str, *, scores: Scores = "all", prefix: str = ""
    ) -> None:
        if scores not in SCORES:
            raise ValueError(f"scores is {scores!r}, allowed: {', '.join(SCORES)}")
        self._bundle = bundle
        self._scores = scores
        self._tasks = {task.name: prefix + task.name for task in tasks}
        self.score_columns = (
            {}
            if scores == "none"
            else {
                (task.name, label): f"{prefix}score.{task.name}.{label}"
                for task in tasks
                for label in task.names
            }
        )
        self._rest = [f"{prefix}{name}" for name in ("evidence", "truncated", "bundle", "error")]
        self.columns = (*self._tasks.values(), *self.score_columns.values(), *self._rest)

    def row(self, result: Reading | InputError) -> dict[str, Any]:
        """Column name to value: plain data, ready for JSON.

        Args:
            result: a reading, or why there is none; then only ``bundle`` and ``error`` are set.
        """
        evidence, truncated, bundle, error = self._rest
        row: dict[str, Any] = dict.fromkeys(self.columns)
        row[bundle] = self._bundle
        if isinstance(result, InputError):
            row[error] = {"code": result.code, "message": str(result)}
            return row
        spans = row[evidence] = []
        for task, decided in result.labels.items():
            single = isinstance(decided, LabelReading)
            labels = (decided,) if isinstance(decided, LabelReading) else decided
            names = [label.label for label in labels]
            row[self._tasks[task]] = names[0] if single else names
            spans += [
                {"label": label.label, **span.to_dict()}
                for label in labels
                for span in label.evidence
            ]
            if self._scores == "decided":
                for label in labels:
                    row[self.score_columns[task, label.label]] = label.score
        if self._scores == "all":
            for (task, name), column in self.score_columns.items():
                row[column] = result.scores[task][name]
        row[truncated] = result.truncated
        return row
