"""What a model is asked to label: tasks, their kinds and their labels, in one fixed order.

The axis of logits and scores, called ``L`` throughout, is the concatenation of the labels of all
tasks in the order in which the data card declares them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

Kind = Literal["multilabel", "single"]
KINDS: tuple[Kind, ...] = ("multilabel", "single")
# A task name becomes an attribute of a reading, a column name and a metric's path.
_TASK_NAME = re.compile(r"[a-z][a-z0-9_]*")
# Names that stand beside the tasks in readings, flat rows and evaluations.
RESERVED = frozenset(
    {
        *("n", "evidence", "calibration", "bootstrap", "baseline", "slices"),
        *("labels", "scores", "truncated", "bundle", "error"),
        *("decided", "to_dict", "from_dict"),
        *("id", "group", "reply", "context"),
    }
)
_EXAMPLE = (
    'labels: {warm: "kind, friendly", cold: ""} (a description may be empty, with its quotes)'
)
# Tables write several labels as `a|b`.
_LABEL_NAME = re.compile(r"[^\s|\x00-\x1f\x7f]+( [^\s|\x00-\x1f\x7f]+)*")


def one_form(name: str) -> str:
    """A name in the one Unicode form (NFC) in which names are held and compared.

    ``é`` may be one code point or two, which look alike; keyboards and file formats differ in it.
    """
    return unicodedata.normalize("NFC", name)


@dataclass(frozen=True)
class Task:
    """One question asked of every reply.

    Attributes:
        name: lower-case identifier, for example ``strategies``.
        kind: ``multilabel`` (any number of labels) or ``single`` (exactly one).
        labels: label name (in `one_form`) to description, in the order of the model's outputs.

    Raises:
        ValueError: a name, the kind or the labels are not usable.
    """

    name: str
    kind: Kind
    labels: Mapping[str, str]

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _TASK_NAME.fullmatch(self.name):
            raise ValueError(
                f"task name {self.name!r}: allowed are lower-case letters, digits and '_', "
                "starting with a letter"
            )
        if self.name in RESERVED:
            raise ValueError(
                f"task name {self.name!r} is reserved: readings and reports have a field of that "
                "name; choose another"
            )
        if self.kind not in KINDS:
            raise ValueError(f"task {self.name!r}: kind {self.kind!r}, allowed: {', '.join(KINDS)}")
        least = 2 if self.kind == "single" else 1
        if not isinstance(self.labels, Mapping) or len(self.labels) < least:
            raise ValueError(
                f"task {self.name!r}: labels must map at least {least} names to descriptions; "
                f"write {_EXAMPLE}"
            )
        for label, description in self.labels.items():
            if not isinstance(label, str) or not _LABEL_NAME.fullmatch(label):
                raise ValueError(
                    f"task {self.name!r}: label {label!r} must be text without '|', control "
                    "characters or outer spaces (quote numbers, null and yes/no in YAML)"
                )
            if not isinstance(description, str):
                raise ValueError(
                    f"task {self.name!r}: the description of {label!r} must be text, "
                    f"not {type(description).__name__}; write {_EXAMPLE}"
                )
        labels = {one_form(label): description for label, description in self.labels.items()}
        if len(labels) < len(self.labels):
            names = [one_form(label) for label in self.labels]
            twice = next(label for label in labels if names.count(label) > 1)
            raise ValueError(
                f"task {self.name!r}: the label {twice!r} is declared twice, in two Unicode forms "
                "that look alike"
            )
        object.__setattr__(self, "labels", labels)

    @property
    def names(self) -> tuple[str, ...]:
        """The label names, in output order."""
        return tuple(self.labels)


class Tasks(tuple[Task, ...]):
    """All tasks of a data set or a model, with the place of each on the label axis ``L``.

    Raises:
        ValueError: no task, or two tasks of one name.
    """

    def __init__(self, tasks: Iterable[Task]) -> None:
        names = [task.name for task in self]
        if not names:
            raise ValueError("no task is declared; at least one is needed")
        if repeated := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"tasks declared twice: {', '.join(sorted(repeated))}")

    @classmethod
    def from_dicts(cls, entries: object) -> Tasks:
        """Build from ``[{name, kind, labels: {label: description}}, …]``.

        Raises:
            ValueError: the structure or a value is not as described.
        """
        if not isinstance(entries, Sequence) or isinstance(entries, str):
            raise ValueError(f"tasks must be a list, not {type(entries).__name__}")
        for entry in entries:
            if not isinstance(entry, Mapping) or set(entry) != {"name", "kind", "labels"}:
                raise ValueError(
                    f"each task needs exactly the keys name, kind and labels; given: {entry!r}"
                )
        return cls(Task(**entry) for entry in entries)

    @cached_property
    def size(self) -> int:
        """The length of the label axis ``L``."""
        return sum(len(task.labels) for task in self)

    @cached_property
    def slices(self) -> dict[str, slice]:
        """Task name to its stretch of the label axis."""
        slices, start = {}, 0
        for task in self:
            slices[task.name] = slice(start, start + len(task.labels))
            start += len(task.labels)
        return slices

    @cached_property
    def single_slices(self) -> tuple[slice, ...]:
        """The stretches of the single tasks."""
        return tuple(self.slices[task.name] for task in self if task.kind == "single")

    @cached_property
    def columns(self) -> dict[tuple[str, str], int]:
        """(task name, label name) to its index on the label axis."""
        pairs = [(task.name, label) for task in self for label in task.labels]
        return {pair: index for index, pair in enumerate(pairs)}

    def named(self, name: str) -> Task:
        """The task of that name; KeyError with the known names otherwise."""
        for task in self:
            if task.name == name:
                return task
        known = ", ".join(task.name for task in self)
        raise KeyError(f"no task {name!r}; known: {known}")
