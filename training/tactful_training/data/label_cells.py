"""Where a table (CSV, Parquet) holds labels: which column speaks of which task, and how.

A column for each task is named ``strategies`` or ``labels.strategies``:

* several labels are joined, ``apology|gratitude``; a list in JSON (``["apology", "gratitude"]``) is
  read too, and ``apology;gratitude`` or ``apology, gratitude`` where nothing else can be meant;
* an empty cell of a multi-label task means that no label applies, as in the table that
  ``tactful score`` writes; an empty cell of a single task means unknown;
* ``null`` in a cell (or null in Parquet) means unknown, unless the card has a label of that name.

Instead there may be a column for each label of a task, named ``apology`` or ``strategies.apology``
(also with ``/``, ``:`` or ``_``), that holds 1 or 0; all of them empty means unknown. One column
``labels`` may hold the labels of all tasks, or a JSON object as JSONL nests it.
"""

from __future__ import annotations

import ast
import contextlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from tactful.batch.csv_format import as_it_was
from tactful.reading.tasks import Task, Tasks, one_form
from tactful.strict_json import unique_keys

FIELDS = ("id", "reply", "context", "group", "labels", "evidence")
"""The columns that are no task's."""
UNKNOWN = "null"
MISSING_NAMES = frozenset(
    {
        *("null", "NULL", "Null", "None", "~", "NaN", "nan", "-NaN", "-nan"),
        *("NA", "N/A", "n/a", "<NA>", "#NA", "#N/A", "#NULL!"),
    }
)
"""What pandas, R, YAML or a spreadsheet takes for a missing value."""
_MAX_SHOWN = 80  # characters of a wrong value in a message
_TRUE, _FALSE = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no")


class RowError(ValueError):
    """Why one row cannot be used."""


class LabelColumns:
    """The columns of one table that say something of the tasks.

    Args:
        tasks: the tasks of the card.
        columns: the names of all columns, in `one_form`.

    Attributes:
        stated: the tasks that have a column of their own, or one for each of their labels.
        one_hot: of the latter, their columns.
        repeated: whether a task has more than one column.
        differing: of tasks that have both a column of their own, which counts, and one for each of
            their labels: in how many rows the latter say otherwise.
    """

    def __init__(self, tasks: Tasks, columns: Sequence[str]) -> None:
        self._tasks = {task.name: task for task in tasks}
        self._own = {
            column: name
            for name in self._tasks
            for column in (name, f"labels.{name}")
            if column in columns
        }
        self.repeated = len(set(self._own.values())) < len(self._own)
        owners = [label for task in tasks for label in task.labels]
        rest = [name for name in columns if name not in FIELDS and name not in self._own]
        there = {name.casefold(): name for name in rest} | {name: name for name in rest}
        self._parts: dict[str, dict[str, str]] = {}  # task to label to its column
        for task in tasks:
            found = {
                label: there[name]
                for label in task.labels
                for column in _names_of(label, task, plain=owners.count(label) == 1)
                for name in (column.casefold(), column)
                if name in there
            }
            if found:
                self._parts[task.name] = found
        whole = {
            name: parts
            for name, parts in self._parts.items()
            if len(set(parts.values())) == len(self._tasks[name].labels)
        }
        owned = set(self._own.values())
        self._one_hot = {name: parts for name, parts in whole.items() if name not in owned}
        self._beside = {name: parts for name, parts in whole.items() if name in owned}
        self.differing: Counter[str] = Counter()
        self.stated = {*self._own.values(), *self._one_hot}
        self.one_hot = {name: tuple(parts.values()) for name, parts in self._one_hot.items()}

    def take(self, values: dict[str, Any]) -> dict[str, Any]:
        """Take the labels out of a row's values: task to its labels as JSONL has them.

        Raises:
            RowError: a cell cannot be understood.
        """
        taken = {
            name: read_cell(values.pop(column), self._tasks[name])
            for column, name in self._own.items()
        }
        for name, parts in self._beside.items():
            cells = {label: values.get(column) for label, column in parts.items()}
            with contextlib.suppress(RowError, TypeError):  # columns of something else
                said = _chosen(cells, parts, self._tasks[name])
                self.differing[name] += said is not None and _labels(said) != _labels(taken[name])
        for name, parts in self._one_hot.items():
            cells = {label: values.pop(column) for label, column in parts.items()}
            taken[name] = _chosen(cells, parts, self._tasks[name])
        return taken

    def unlike(self) -> dict[str, str]:
        """For each task whose columns say different things, which ones and in how many rows."""
        return {
            name: f"{count} rows: {name!r} counts, {listed(self._beside[name].values())} differ"
            for name, count in self.differing.items()
            if count
        }

    def hint(self, task: Task) -> str:
        """For a task without a column: how some columns name only a part of its labels."""
        parts = self._parts.get(task.name, {})
        lacking = [label for label in task.labels if label not in parts]
        if not parts or not lacking:
            return ""
        return (
            f"there are columns for its labels {listed(parts)}, but none for {listed(lacking)}: "
            f"add them, or write one column {task.name!r} of labels joined by '|'"
        )


def _labels(said: object) -> set[object]:
    """The labels that a cell holds: a list of them, one, or none."""
    return set(said) if isinstance(said, list) else {said} - {None}


def _names_of(label: str, task: Task, *, plain: bool) -> list[str]:
    """What the column of a label may be called."""
    joined = [f"{task.name}{sign}{label}" for sign in "._/:"]
    return [*([label] if plain else []), *joined, f"labels.{task.name}.{label}"]


def _chosen(cells: Mapping[str, Any], columns: Mapping[str, str], task: Task) -> Any:
    """The labels whose columns hold a yes."""
    texts = {label: "" if cell is None else str(cell).strip() for label, cell in cells.items()}
    if not any(texts.values()):
        return None
    for label, text in texts.items():
        if text.casefold() not in (*_TRUE, *_FALSE):
            given = f"is {shown(cells[label])}" if text else "is empty, others of its row are not"
            raise RowError(
                f"{task.name}: the column {columns[label]!r} {given}; allowed in a column of one "
                f"label: 1 and 0, or true and false; all of them empty where {task.name} is unknown"
            )
    labels = [label for label, text in texts.items() if text.casefold() in _TRUE]
    if task.kind == "multilabel":
        return labels
    if len(labels) != 1:
        raise RowError(
            f"{task.name}: exactly one of the columns {listed(columns.values())} must be 1, not "
            f"{' and '.join(labels) or 'none'}; leave all empty where it is unknown"
        )
    return labels[0]


def read_cell(value: object, task: Task) -> object:
    """The value of a task's own column, as JSONL would nest it.

    Raises:
        RowError: several labels are written in a way that may mean something else.
    """
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text == UNKNOWN and text not in task.labels:
        return None
    labels = split_labels(text, task.labels)
    if task.kind == "multilabel":
        return labels
    if len(labels) > 1:
        raise RowError(f"{task.name}: one label is allowed, not {' and '.join(map(str, labels))}")
    return labels[0] if labels else None


def split_labels(text: str, known: Collection[str]) -> list[Any]:
    """The labels in a cell; where ``known`` has the whole of it, that one label.

    Raises:
        RowError: several labels are written in a way that may mean something else.
    """
    text = one_form(text)
    if text in known:
        return [text]
    plain = _parted(as_it_was(text, csv=True), "|")  # "'-x", as a table for spreadsheets has it
    if plain and all(label in known for label in plain):
        return plain
    labels = _parted(text, "|")
    if len(labels) != 1 or labels[0] in known:
        return labels
    if text.startswith("["):
        return _list_in(text)
    for sign in ";,":
        parts = _parted(text, sign)
        if sign in text and any(part in known for part in parts):
            strange = [part for part in parts if part not in known]
            if strange or any(sign in label for label in known):
                what = f"{strange[0]!r} is no label" if strange else f"a label may hold {sign!r}"
                raise RowError(
                    f"{shown(text)} may name several labels, but {what}; labels are joined by '|': "
                    f"{'|'.join(parts)}"
                )
            return list(parts)
    return labels


def _parted(text: str, sign: str) -> list[Any]:
    return [part for part in map(str.strip, text.split(sign)) if part]


def _list_in(text: str) -> list[Any]:
    """A list in JSON, or as Python prints it, which is what pandas leaves in CSV."""
    try:
        found = parse_json(text)
    except (ValueError, RecursionError):
        try:
            found = ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            found = None
    if not isinstance(found, list):
        raise RowError(
            f'{shown(text)} is no list of labels in JSON; write ["a", "b"], or join them: a|b'
        )
    return found


def parse_json(text: str) -> Any:
    """Parse JSON; an object that has a key twice is an error, as only one value would count.

    Raises:
        ValueError: says what is wrong.
        RecursionError: it is nested too deeply.
    """
    return json.loads(text, object_pairs_hook=unique_keys)


def nearest(name: str, columns: Iterable[str]) -> str | None:
    """The column that is most like a task's name, whatever its case; None where none is."""
    plain = {column.strip().casefold(): column for column in columns if column not in FIELDS}
    near = get_close_matches(name, plain, n=1)
    return plain[near[0]] if near else None


def shown(value: object) -> str:
    """A wrong value as a message quotes it."""
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


def listed(names: Iterable[str]) -> str:
    """Names as a message lists them."""
    return ", ".join(map(repr, names))
