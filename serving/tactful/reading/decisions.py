"""From raw logits to calibrated scores and decisions: what ``labels.json`` holds and applies.

The one decision code that training (for calibration and measurement) and serving share.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from tactful.reading.encoding import EncodingLimits
from tactful.reading.tasks import Task, Tasks

Floats = npt.NDArray[np.float32]
_Array = TypeVar("_Array", bound=npt.NDArray[Any])
ACTIVATIONS = {"multilabel": "sigmoid", "single": "softmax"}
_LIMITS_KEYS = tuple(field.name for field in dataclasses.fields(EncodingLimits))
_TASK_KEYS = ("name", "kind", "activation", "labels")
# Key of a label's number to the field of a `TaskHead` that holds those of all labels.
_NUMBERS = {
    "slope": "slope",
    "intercept": "intercept",
    "threshold": "thresholds",
    "evidence_threshold": "evidence_thresholds",
}


@dataclass(frozen=True, eq=False)
class TaskHead:
    """Calibration and thresholds of one task; float32 ``[labels of the task]``, not to be changed.

    Attributes:
        task: the task.
        slope: factor on the raw logits, above 0 (a temperature is equal slopes of 1 / T).
        intercept: added after the slope.
        thresholds: least calibrated score of a decided label; None for a single task.
        evidence_thresholds: least token probability of evidence; None where none was trained.

    Raises:
        ValueError: an array has another length or a value that is not allowed.
    """

    task: Task
    slope: Floats
    intercept: Floats
    thresholds: Floats | None = None
    evidence_thresholds: Floats | None = None

    def __post_init__(self) -> None:
        if (self.thresholds is None) != (self.task.kind == "single"):
            raise ValueError(
                f"task {self.task.name!r}: thresholds belong to multilabel tasks and only to them"
            )
        for field, allowed, is_allowed in _ALLOWED:
            values = getattr(self, field)
            if values is None:
                continue
            values = _fixed(np.array(values, dtype=np.float32))
            if values.shape != (len(self.task.labels),):
                raise ValueError(
                    f"task {self.task.name!r}: {field} must be one number for each of the "
                    f"{len(self.task.labels)} labels, not an array of shape {values.shape}"
                )
            for label, value in zip(self.task.names, values, strict=True):
                if not is_allowed(value):
                    raise ValueError(
                        f"task {self.task.name!r}, label {label!r}: {field} is {value}, "
                        f"allowed: {allowed}"
                    )
            object.__setattr__(self, field, values)


def _fixed(values: _Array) -> _Array:
    """The array made read-only, for what is computed of it is kept."""
    values.setflags(write=False)
    return values


_ALLOWED: tuple[tuple[str, str, Callable[[np.float32], Any]], ...] = (
    ("slope", "a finite number above 0", lambda value: np.isfinite(value) and value > 0),
    ("intercept", "a finite number", np.isfinite),
    ("thresholds", "a number from 0 to 1", lambda value: 0 <= value <= 1),
    ("evidence_thresholds", "a number from 0 to 1", lambda value: 0 <= value <= 1),
)


@dataclass(frozen=True, eq=False)
class Heads:
    """Everything between the model's outputs and decisions, with the limits of its encoding.

    Attributes:
        heads: one for each task, in the order of the label axis ``L``.
        limits: of the encoding.

    Raises:
        ValueError: the tasks contradict each other.
    """

    heads: tuple[TaskHead, ...]
    limits: EncodingLimits

    def __post_init__(self) -> None:
        _ = self.tasks

    @cached_property
    def tasks(self) -> Tasks:
        """The tasks, in the order of the label axis."""
        return Tasks(tuple(head.task for head in self.heads))

    @cached_property
    def slopes(self) -> npt.NDArray[np.float64]:
        """Slope of each label, ``[L]``."""
        return _fixed(np.concatenate([head.slope for head in self.heads], dtype=np.float64))

    @cached_property
    def intercepts(self) -> npt.NDArray[np.float64]:
        """Intercept of each label, ``[L]``."""
        return _fixed(np.concatenate([head.intercept for head in self.heads], dtype=np.float64))

    @cached_property
    def thresholds(self) -> Floats:
        """Threshold of each label, ``[L]``; infinite, never reached, in a single task."""
        thresholds = np.full(self.tasks.size, np.inf, dtype=np.float32)
        for head in self.heads:
            if head.thresholds is not None:
                thresholds[self.tasks.slices[head.task.name]] = head.thresholds
        return _fixed(thresholds)

    def to_json(self) -> dict[str, Any]:
        """The content of ``labels.json``; `from_json` gives the same float32 values back."""
        return {**self.limits.to_json(), "tasks": [_task_to_json(head) for head in self.heads]}

    @classmethod
    def from_json(cls, content: object) -> Heads:
        """Build from the content of ``labels.json``.

        Raises:
            ValueError: names the field that is missing, unknown or not as it must be.
        """
        fields = _object(content, "labels.json", (*_LIMITS_KEYS, "tasks"))
        limits = EncodingLimits(**{key: fields[key] for key in _LIMITS_KEYS})
        tasks = _list(fields["tasks"], "tasks")
        return cls(
            tuple(_task_from_json(task, f"tasks[{i}]") for i, task in enumerate(tasks)), limits
        )


def combine_windows(
    window_logits: Floats, reply_tokens: npt.NDArray[np.int64], tasks: Tasks
) -> Floats:
    """Logits of one reply from those of its windows.

    A strategy counts wherever it stands, so a multilabel logit is the largest of the windows; a
    tone is of the whole, so a single task's logits are their mean weighted by reply tokens.

    Args:
        window_logits: float32 ``[W, L]``.
        reply_tokens: number of reply tokens in each window, ``[W]``.
        tasks: the tasks of the label axis.

    Returns:
        float32 ``[L]``.
    """
    if len(window_logits) == 1:
        only: Floats = window_logits[0]
        return only
    combined: Floats = window_logits.max(axis=0)
    weights = reply_tokens / reply_tokens.sum()
    for at in tasks.single_slices:
        combined[at] = weights @ window_logits[:, at]
    return combined


def sigmoid(values: npt.NDArray[np.floating[Any]]) -> Floats:
    """The logistic function without overflow, computed in float64, as float32."""
    precise = np.asarray(values, dtype=np.float64)
    probabilities: Floats = np.exp(-np.logaddexp(0.0, -precise)).astype(np.float32)
    return probabilities


def calibrated_scores(logits: Floats, heads: Heads) -> Floats:
    """Calibrated probabilities of raw logits.

    Args:
        logits: float32 ``[R, L]``.
        heads: calibration of each task.

    Returns:
        float32 ``[R, L]``; the scores of a single task sum to 1 in each row.
    """
    # All labels at once, those of single tasks for nothing: with a few replies it is the number of
    # NumPy's calls that takes time.
    scaled = logits * heads.slopes + heads.intercepts
    scores = sigmoid(scaled)
    for at in heads.tasks.single_slices:
        powers = np.exp(scaled[:, at] - scaled[:, at].max(axis=1, keepdims=True))
        scores[:, at] = powers / powers.sum(axis=1, keepdims=True)
    return scores


def decide(scores: Floats, heads: Heads) -> npt.NDArray[np.bool_]:
    """Decisions on calibrated scores, both ``[R, L]``.

    A multilabel label is decided from its threshold on; of a single task exactly the label with
    the highest score (the first of equals).
    """
    decisions: npt.NDArray[np.bool_] = scores >= heads.thresholds
    for at in heads.tasks.single_slices:
        best = scores[:, at].argmax(axis=1)
        decisions[np.arange(len(scores)), at.start + best] = True
    return decisions


def _task_to_json(head: TaskHead) -> dict[str, Any]:
    arrays = {key: getattr(head, field) for key, field in _NUMBERS.items()}
    columns = {key: array for key, array in arrays.items() if array is not None}
    labels = []
    for index, (name, description) in enumerate(head.task.labels.items()):
        # The shortest decimals that give the same float32 back, not those of the float64 beside it.
        numbers = {key: float(str(values[index])) for key, values in columns.items()}
        labels.append({"name": name, "description": description, **numbers})
    return {
        "name": head.task.name,
        "kind": head.task.kind,
        "activation": ACTIVATIONS[head.task.kind],
        "labels": labels,
    }


def _task_from_json(entry: object, where: str) -> TaskHead:
    fields = _object(entry, where, _TASK_KEYS)
    kind = fields["kind"]
    if not isinstance(kind, str) or kind not in ACTIVATIONS:
        raise ValueError(f"{where}.kind is {kind!r}, allowed: {', '.join(ACTIVATIONS)}")
    if fields["activation"] != ACTIVATIONS[kind]:
        raise ValueError(
            f"{where}.activation is {fields['activation']!r}, allowed for a {kind} task: "
            f"{ACTIVATIONS[kind]}"
        )
    entries = _list(fields["labels"], f"{where}.labels")
    numbers: dict[str, list[float]] = {key: [] for key in _NUMBERS}
    if kind == "single":
        del numbers["threshold"]
    # Evidence is trained for a whole task or not at all: the first label says which.
    if not (entries and isinstance(entries[0], Mapping) and "evidence_threshold" in entries[0]):
        del numbers["evidence_threshold"]
    descriptions: dict[str, str] = {}
    for index, label in enumerate(entries):
        at = f"{where}.labels[{index}]"
        values = _object(label, at, ("name", "description", *numbers))
        if not isinstance(values["name"], str) or values["name"] in descriptions:
            raise ValueError(f"{at}.name is {values['name']!r}; it must be text, each label once")
        descriptions[values["name"]] = values["description"]
        for key, column in numbers.items():
            column.append(_number(values[key], f"{at}.{key}"))
    task = Task(fields["name"], fields["kind"], descriptions)
    return TaskHead(task, **{_NUMBERS[key]: np.array(numbers[key]) for key in numbers})


def _object(value: object, where: str, keys: Sequence[str]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{where} must be an object, not {type(value).__name__}")
    missing, unknown = set(keys) - set(value), set(value) - set(keys)
    if missing or unknown:
        raise ValueError(
            f"{where} must have exactly the keys {', '.join(keys)}; "
            f"missing: {', '.join(sorted(missing)) or 'none'}; "
            f"unknown: {', '.join(sorted(unknown)) or 'none'}"
        )
    return value


def _list(value: object, where: str) -> Sequence[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{where} must be a list, not {type(value).__name__}")
    return value


def _number(value: object, where: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError(f"{where} must be a number, not {value!r}")
    # An integer of a thousand digits has no float: let the range check speak of infinity.
    return float(value) if abs(value) < 1e30 else float("inf")
