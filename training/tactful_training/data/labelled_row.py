"""One labelled row: what it is, and how a record of a file becomes one.

JSONL nests the labels; CSV and Parquet may too (a JSON object in a CSV cell), but usually have a
column for each task, named ``strategies`` or ``labels.strategies``:

* several labels are joined, ``apology|gratitude``; a column ``labels`` of such text holds the
  labels of all tasks at once;
* an empty cell of a multi-label task means that no label applies, as in the table that
  ``tactful score`` writes; an empty cell of a single task means unknown;
* ``null`` in a cell (or null in Parquet), or no column at all, means unknown;
* ``evidence`` is a JSON list.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tactful.reading.tasks import Task, Tasks
from tactful.strict_json import unique_keys

_UNKNOWN = "null"
MAX_SHOWN = 80  # characters of a wrong value in a message

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


class RowError(ValueError):
    """Why one row cannot be used."""


class RowParser:
    """Turns records into rows; the one place that knows the columns.

    Attributes:
        tasks: the tasks that labels and evidence may name, by name.
        flat: whether the file is a table, whose cells may hold labels as text.
        require_labels: whether a row must say something of its labels, be it null for a task.
    """

    def __init__(self, tasks: Tasks, *, flat: bool, require_labels: bool) -> None:
        self.tasks = {task.name: task for task in tasks}
        self.flat = flat
        self.require_labels = require_labels
        self.tasks_of: dict[str, list[str]] = {}  # label to the tasks that have it
        for task in tasks:
            for label in task.labels:
                self.tasks_of.setdefault(label, []).append(task.name)

    def parse(self, values: dict[str, Any], place: str) -> Row:
        """Check the values of a record, and make it a row of what is taken out of them.

        Raises:
            RowError: says what is wrong with it.
        """
        if not self.require_labels:  # replies as they come, not a data set
            values.setdefault("id", place)
        for required in ("id", "reply"):
            if required not in values:
                raise RowError(f"no {required!r}; the columns are: {', '.join(map(str, values))}")
        reply, row_id = _text(values, "reply"), _text(values, "id")
        if row_id is None or not row_id.strip() or reply is None or not reply.strip():
            raise RowError("id and reply must not be empty")
        return Row(
            id=row_id,
            reply=reply,
            context=_text(values, "context") or None,
            group=_text(values, "group") or row_id,
            labels=self._labels(values),
            evidence=self._evidence(values.pop("evidence", None), reply),
            columns=values,
        )

    def _labels(self, values: dict[str, Any]) -> dict[str, Decided]:
        """Take the labels out of ``values``, nested or in columns of their own."""
        given = values.pop("labels", None)
        if self.flat:
            columns = [
                (name, column)
                for name in self.tasks
                for column in (name, f"labels.{name}")
                if column in values
            ]
            if isinstance(given, str):
                given = self._split_labels(given)
            if len({name for name, _ in columns}) < len(columns) or (columns and given is not None):
                raise RowError("the labels of a task are given in more than one column")
            if columns:
                given = {
                    name: _cell(values.pop(column), self.tasks[name]) for name, column in columns
                }
        if given is None:
            if self.require_labels:
                raise RowError(f"no labels; the tasks are: {', '.join(self.tasks)}")
            given = {}
        if not isinstance(given, Mapping):
            raise RowError(f"labels must map tasks to labels, not {_shown(given)}")
        for name in given:
            _known("task", name, self.tasks)
        return {name: _decided(given.get(name), task) for name, task in self.tasks.items()}

    def _split_labels(self, text: str) -> Any:
        """A cell ``labels``: a JSON object, or the labels of all tasks as ``a|b``."""
        if text.lstrip().startswith("{"):
            return _json(text, "labels")
        if text.strip() == _UNKNOWN:
            return None
        found: dict[str, list[str]] = {name: [] for name in self.tasks}
        for label in filter(None, map(str.strip, text.split("|"))):
            found[self._task_of(label)].append(label)
        nested: dict[str, Any] = {}
        for name, labels in found.items():
            if self.tasks[name].kind == "multilabel":
                nested[name] = labels
            elif len(labels) > 1:
                raise RowError(f"{name}: one label is allowed, not {' and '.join(labels)}")
            else:
                nested[name] = labels[0] if labels else None
        return nested

    def _task_of(self, label: object) -> str:
        owners = self.tasks_of[_known("label", label, self.tasks_of)]
        if len(owners) > 1:
            raise RowError(f"label {label!r} belongs to the tasks {', '.join(owners)}; name one")
        return owners[0]

    def _evidence(self, given: object, reply: str) -> tuple[EvidenceSpan, ...]:
        if isinstance(given, str) and self.flat:
            given = _json(given, "evidence") if given.strip() else None
        if given is None:
            return ()
        if not isinstance(given, list):
            raise RowError(f"evidence must be a list, not {_shown(given)}")
        return tuple(self._span(entry, reply) for entry in given)

    def _span(self, entry: object, reply: str) -> EvidenceSpan:
        if not isinstance(entry, Mapping) or not {"label", "start", "end"} <= set(entry):
            raise RowError(f"evidence needs label, start and end; given: {_shown(entry)}")
        start, end = entry["start"], entry["end"]
        if entry.get("task") is None:
            name = self._task_of(entry["label"])
        else:
            name = _known("task", entry["task"], self.tasks)
        label = _known("label", entry["label"], self.tasks[name].labels, name)
        if type(start) is not int or type(end) is not int or not 0 <= start < end <= len(reply):
            raise RowError(
                f"evidence of {label!r}: start {start!r} and end {end!r} must be whole numbers "
                f"with 0 <= start < end <= {len(reply)}, the reply's length in code points"
            )
        quoted = entry.get("text")
        if quoted is not None and quoted != reply[start:end]:
            raise RowError(
                f"evidence of {label!r}: {start} to {end} is {_shown(reply[start:end])}, "
                f"not {_shown(quoted)}; offsets count code points of the reply"
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
        raise RowError(f"{task.name}: a list of labels is needed, not {_shown(given)}")
    names = tuple(_known("label", label, task.labels, task.name) for label in labels)
    if len(set(names)) < len(names):
        raise RowError(f"{task.name}: a label is given twice: {', '.join(names)}")
    return names[0] if task.kind == "single" else names


def _cell(value: object, task: Task) -> object:
    """The value of a task's own column, as nested labels would hold it."""
    if not isinstance(value, str) or value.strip() == _UNKNOWN:
        return None if isinstance(value, str) else value
    labels = [label for part in value.split("|") if (label := part.strip())]
    if task.kind == "multilabel":
        return labels
    return value.strip() or None


def _text(values: dict[str, Any], column: str) -> str | None:
    value = values.pop(column, None)
    if value is not None and not isinstance(value, str):
        raise RowError(f"{column} must be text, not {_shown(value)} ({type(value).__name__})")
    return value


def parse_json(text: str) -> Any:
    """Parse JSON; an object that has a key twice is an error, as only one value would count.

    Raises:
        ValueError: says what is wrong.
        RecursionError: it is nested too deeply.
    """
    return json.loads(text, object_pairs_hook=unique_keys)


def _json(text: str, column: str) -> Any:
    try:
        return parse_json(text)
    except (ValueError, RecursionError) as error:
        raise RowError(f"{column} is not valid JSON: {error}") from error


def _known(kind: str, given: object, allowed: Mapping[str, object], task: str = "") -> str:
    """``given`` if it is one of the allowed names; otherwise a RowError with the nearest."""
    if isinstance(given, str) and given in allowed:
        return given
    near = get_close_matches(given, allowed, n=1) if isinstance(given, str) else []
    hint = f"did you mean {near[0]!r}?" if near else f"allowed: {', '.join(allowed)}"
    raise RowError(f"{task}{': ' if task else ''}unknown {kind} {_shown(given)}; {hint}")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


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
