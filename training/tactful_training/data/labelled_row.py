"""One labelled row: what it is, and how the values of a record become one.

JSONL nests the labels: ``"labels": {"strategies": ["apology"], "tone": "warm"}``, where a task that
is null or left out is unknown. Tables hold them as `tactful_training.data.label_cells` says, and
evidence as a JSON list in a cell. Whole numbers are taken as text where they are ids, groups or
labels; names of labels are compared in one Unicode form.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tactful.reading.tasks import Task, Tasks, one_form
from tactful_training.data.label_cells import (
    MISSING_NAMES,
    UNKNOWN,
    LabelColumns,
    RowError,
    parse_json,
    shown,
    split_labels,
)

# What is known of one task: labels, the label of a single task, or None where it is unknown.
Decided = tuple[str, ...] | str | None


class EvidenceSpan(NamedTuple):
    """Words of a reply that carry a label: code points ``start`` to ``end`` (exclusive)."""

    task: str
    label: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Row:
    """One reply with what is known about it.

    Attributes:
        id: unique within its file.
        reply: the text that is labelled, never blank.
        context: what the customer said before it, or None.
        group: rows of one group belong in one split; the id where none is given.
        labels: every task by name; None where the task is unknown, which is not negative.
        evidence: marked words, in the order of the file.
        columns: the further columns, untouched.
    """

    id: str
    reply: str
    context: str | None
    group: str
    labels: Mapping[str, Decided]
    evidence: tuple[EvidenceSpan, ...]
    columns: Mapping[str, Any]

    @property
    def is_encodable(self) -> bool:
        """Whether UTF-8 can hold reply and context: JSON may escape half a surrogate pair."""
        return not any(
            "\ud800" <= letter <= "\udfff" for letter in self.reply + (self.context or "")
        )


class RowParser:
    """Turns the values of records into rows.

    Args:
        tasks: the tasks that labels and evidence may name.
        columns: those of a table, whose cells may hold labels as text; None for nested JSON.
        require_labels: whether a row must say something of its labels, be it null for a task.

    Attributes:
        stated: the tasks of which any row so far says something, be it that they are unknown.
        others: the further columns that were seen.
    """

    def __init__(self, tasks: Tasks, columns: LabelColumns | None, *, require_labels: bool) -> None:
        self._tasks = {task.name: task for task in tasks}
        self._columns = columns
        self._require_labels = require_labels
        self._tasks_of: dict[str, list[str]] = {}  # label to the tasks that have it
        for task in tasks:
            for label in task.labels:
                self._tasks_of.setdefault(label, []).append(task.name)
        self.stated = set() if columns is None else set(columns.stated)
        self.others: dict[str, None] = {}

    def parse(self, values: dict[str, Any], place: str) -> Row:
        """Check the values of a record, and make it a row of what is taken out of them.

        Raises:
            RowError: says what is wrong with it.
        """
        if not self._require_labels:  # replies as they come, not a data set
            values.setdefault("id", place)
        for required in ("id", "reply"):
            if required not in values:
                raise RowError(f"no {required!r}; the columns are: {', '.join(map(str, values))}")
        reply, row_id = _text(values, "reply"), _name(values, "id")
        if row_id is None or not row_id.strip() or reply is None or not reply.strip():
            raise RowError("id and reply must not be empty")
        context, group = _text(values, "context") or None, _name(values, "group") or row_id
        labels = self._labels(values)
        evidence = self._evidence(values.pop("evidence", None), reply)
        self.others.update(dict.fromkeys(values))
        return Row(row_id, reply, context, group, labels, evidence, values)

    def _labels(self, values: dict[str, Any]) -> dict[str, Decided]:
        """Take the labels out of ``values``, nested or in columns of their own."""
        given = values.pop("labels", None)
        joined = isinstance(given, str) and not given.lstrip().startswith("{")
        if self._columns is not None:
            if isinstance(given, str):
                given = self._split(given)
            if self._columns.repeated or (self._columns.stated and given is not None):
                raise RowError("the labels of a task are given in more than one column")
            given = self._columns.take(values) if self._columns.stated else given
        if given is None:
            if self._require_labels:
                where = "" if self._columns else '; write "labels": {"task": …}'
                raise RowError(f"no labels; the tasks are: {', '.join(self._tasks)}{where}")
            given = {}
        if not isinstance(given, Mapping):
            raise RowError(f"labels must map tasks to labels, not {shown(given)}")
        for name in given:
            if name in self._tasks_of and name not in self._tasks:
                task = self._tasks_of[name][0]
                raise RowError(f"unknown task {name!r}: it is a label of {task!r}")
            task = _known("task", name, self._tasks)
            # Where the labels of all tasks are joined, one that never occurs may not be meant.
            if not joined or given[name]:
                self.stated.add(task)
        return {name: _decided(given.get(name), task) for name, task in self._tasks.items()}

    def _split(self, text: str) -> Any:
        """A cell ``labels``: a JSON object, or the labels of all tasks as ``a|b``."""
        text = one_form(text.strip())
        if text == UNKNOWN and text not in self._tasks_of:
            return None
        if text.startswith("{") and text.split("|")[0].strip() not in self._tasks_of:
            return _json(text, "labels")
        found: dict[str, list[str]] = {name: [] for name in self._tasks}
        for label in split_labels(text, self._tasks_of):
            name = self._task_of(label)
            found[name].append(_known("label", label, self._tasks[name].labels))
        nested: dict[str, Any] = {}
        for name, labels in found.items():
            if self._tasks[name].kind == "multilabel":
                nested[name] = labels
            elif len(labels) > 1:
                raise RowError(f"{name}: one label is allowed, not {' and '.join(labels)}")
            else:
                nested[name] = labels[0] if labels else None
        return nested

    def _task_of(self, label: object) -> str:
        owners = self._tasks_of[_known("label", label, self._tasks_of)]
        if len(owners) > 1:
            raise RowError(f"label {label!r} belongs to the tasks {', '.join(owners)}; name one")
        return owners[0]

    def _evidence(self, given: object, reply: str) -> tuple[EvidenceSpan, ...]:
        if isinstance(given, str) and self._columns is not None:
            given = _json(given, "evidence") if given.strip() else None
        if given is None:
            return ()
        if not isinstance(given, list):
            raise RowError(f"evidence must be a list, not {shown(given)}")
        return tuple(self._span(entry, reply) for entry in given)

    def _span(self, entry: object, reply: str) -> EvidenceSpan:
        if not isinstance(entry, Mapping) or not {"label", "start", "end"} <= set(entry):
            raise RowError(f"evidence needs label, start and end; given: {shown(entry)}")
        start, end = entry["start"], entry["end"]
        if entry.get("task") is None:
            name = self._task_of(entry["label"])
        else:
            name = _known("task", entry["task"], self._tasks)
        label = _known("label", entry["label"], self._tasks[name].labels, name)
        if type(start) is not int or type(end) is not int or not 0 <= start < end <= len(reply):
            raise RowError(
                f"evidence of {label!r}: start {start!r} and end {end!r} must be whole numbers "
                f"with 0 <= start < end <= {len(reply)}, the reply's length in code points"
            )
        quoted = entry.get("text")
        if quoted is not None and quoted != reply[start:end]:
            raise RowError(
                f"evidence of {label!r}: {start} to {end} is {shown(reply[start:end])}, "
                f"not {shown(quoted)}; offsets count code points of the reply"
            )
        return EvidenceSpan(name, label, start, end)


def _decided(given: object, task: Task) -> Decided:
    if given is None:
        return None
    if task.kind == "single":
        labels: Sequence[object] = [given]
    elif isinstance(given, list):
        labels = given
    else:
        raise RowError(f"{task.name}: a list of labels is needed, not {shown(given)}")
    names = tuple(_known("label", label, task.labels, task.name) for label in labels)
    if len(set(names)) < len(names):
        raise RowError(f"{task.name}: a label is given twice: {', '.join(names)}")
    return names[0] if task.kind == "single" else names


def _text(values: dict[str, Any], column: str) -> str | None:
    value = values.pop(column, None)
    if isinstance(value, float) and math.isnan(value):
        return None  # what pandas has where there is nothing
    if value is not None and not isinstance(value, str):
        raise RowError(f"{column} must be text, not {shown(value)} ({type(value).__name__})")
    return value


def _name(values: dict[str, Any], column: str) -> str | None:
    """An id or a group: text, or a whole number, which a table of numbers may hold as 7.0."""
    value = values.get(column)
    if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53:
        value = int(value)
    if type(value) is int:
        values[column] = str(value)
    return _text(values, column)


def _json(text: str, column: str) -> Any:
    try:
        return parse_json(text)
    except (ValueError, RecursionError) as error:
        raise RowError(f"{column} is not valid JSON: {error}") from error


def _known(kind: str, given: object, allowed: Mapping[str, object], task: str = "") -> str:
    """``given`` if it is one of the allowed names; otherwise a RowError with the nearest."""
    name = str(given) if type(given) is int else given
    if isinstance(name, str):
        name = one_form(name)
        if name in allowed:
            return name
    near = get_close_matches(name, allowed, n=1) if isinstance(name, str) else []
    hint = f"did you mean {near[0]!r}?" if near else f"allowed: {', '.join(allowed)}"
    if isinstance(name, str) and name in MISSING_NAMES:
        hint += f"; where labels are not known, write {UNKNOWN}"
    raise RowError(f"{task}{': ' if task else ''}unknown {kind} {shown(given)}; {hint}")


def targets(rows: Sequence[Row], tasks: Tasks) -> NDArray[np.float32]:
    """What the model should answer.

    Returns:
        float32[R, L]: 1 where a label applies, 0 where not, NaN where its task is unknown.
    """
    table = np.full((len(rows), tasks.size), np.nan, dtype=np.float32)
    for task, place in tasks.slices.items():
        for target, row in zip(table, rows, strict=True):
            decided = row.labels[task]
            if decided is None:
                continue
            target[place] = 0.0
            for label in (decided,) if isinstance(decided, str) else decided:
                target[tasks.columns[task, label]] = 1.0
    return table
