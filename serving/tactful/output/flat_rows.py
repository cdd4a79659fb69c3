"""The flat form of a reading: one row of a table, as batch jobs and the MLflow model write it.

Every task has a column (a list of labels, or one label), every label a column
``score.<task>.<label>``; then ``evidence``, ``truncated``, ``bundle`` and ``error``. Who asks for
notes gets ``skipped`` and ``language_doubtful`` after ``truncated``.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

from tactful.errors import InputError
from tactful.reading.readings import Reading
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
        notes: whether there are columns for what was left out of a reply and for its language.

    Attributes:
        notes: likewise.
        columns: the names of all columns, in order, prefix included.
    """

    def __init__(
        self,
        tasks: Tasks,
        bundle: str,
        *,
        scores: Scores = "all",
        prefix: str = "",
        notes: bool = False,
    ) -> None:
        if scores not in SCORES:
            raise ValueError(f"scores is {scores!r}, allowed: {', '.join(SCORES)}")
        self._bundle = bundle
        self._scores = scores
        self._tasks = tasks
        self._prefix = prefix
        self.score_columns = (
            {}
            if scores == "none"
            else {
                (task.name, label): f"{prefix}score.{task.name}.{label}"
                for task in tasks
                for label in task.names
            }
        )
        self.notes = notes
        noted = ("skipped", "language_doubtful") if notes else ()
        rest = ("evidence", "truncated", *noted, "bundle", "error")
        names = [task.name for task in tasks]
        self.columns = (
            *(prefix + name for name in names),
            *self.score_columns.values(),
            *(prefix + name for name in rest),
        )

    def row(self, result: Reading | InputError) -> dict[str, Any]:
        """Column name to value: plain data, ready for JSON.

        Args:
            result: a reading, or why there is none; then only ``bundle`` and ``error`` are set.
        """
        prefix = self._prefix
        row: dict[str, Any] = dict.fromkeys(self.columns)
        row[f"{prefix}bundle"] = self._bundle
        if isinstance(result, InputError):
            row[f"{prefix}error"] = {"code": result.code, "message": str(result)}
            return row
        spans = row[f"{prefix}evidence"] = []
        for task in self._tasks:
            labels = result.decided(task.name)
            names = [label.label for label in labels]
            row[prefix + task.name] = names if task.kind == "multilabel" else names[0]
            spans += [
                {"label": label.label, **span.to_dict()}
                for label in labels
                for span in label.evidence
            ]
            if self._scores == "decided":
                for label in labels:
                    row[self.score_columns[task.name, label.label]] = label.score
        if self._scores == "all":
            for (task_name, label_name), column in self.score_columns.items():
                row[column] = result.scores[task_name][label_name]
        row[f"{prefix}truncated"] = result.truncated
        if self.notes:
            row[f"{prefix}skipped"] = [stretch.to_dict() for stretch in result.skipped]
            row[f"{prefix}language_doubtful"] = result.language_doubtful
        return row
