"""Goldens: replies with the scores and decisions that a bundle must reproduce when it is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from tactful.reading.encoding import Pair
from tactful.reading.engine import Engine
from tactful.reading.processor import processor_name
from tactful.reading.readings import LabelReading
from tactful.reading.tasks import Tasks, one_form
from tactful.strict_json import canonical_json, strict_json


@dataclass(frozen=True, slots=True)
class Golden:
    """One line of ``golden.jsonl``.

    Attributes:
        reply: the text.
        context: what the customer said before, or None.
        scores: task name to label to calibrated probability.
        decisions: task name to the decided labels (multilabel) or label (single).
    """

    reply: str
    context: str | None
    scores: Mapping[str, Mapping[str, float]]
    decisions: Mapping[str, list[str] | str]


def make_goldens(engine: Engine, pairs: Iterable[Pair]) -> list[Golden]:
    """Record what an engine says of some (reply, context) pairs, one at a time."""
    goldens = []
    for pair in pairs:
        [reading] = engine.read([pair])
        decisions = {
            task: labels.label
            if isinstance(labels, LabelReading)
            else [label.label for label in labels]
            for task, labels in reading.labels.items()
        }
        goldens.append(Golden(*pair, reading.scores, decisions))
    return goldens


def goldens_to_jsonl(goldens: Iterable[Golden]) -> bytes:
    """The content of ``golden.jsonl``; the inverse of `goldens_from_jsonl`."""
    return b"".join(canonical_json(asdict(golden)) + b"\n" for golden in goldens)


def goldens_from_jsonl(content: bytes, tasks: Tasks) -> tuple[Golden, ...]:
    """Parse ``golden.jsonl``.

    Raises:
        ValueError: names the line that cannot be used, or says that there is none.
    """
    goldens = []
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            goldens.append(_golden(strict_json(line), tasks))
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
    if not goldens:
        raise ValueError("no golden in it; at least one is needed")
    return tuple(goldens)


def check_goldens(engine: Engine, goldens: Sequence[Golden], tolerance: float) -> list[str]:
    """Run every golden on its own and compare.

    Args:
        engine: the model, as it runs here.
        goldens: what it must reproduce.
        tolerance: largest allowed difference of a score.

    Returns:
        One line for each golden that differs: which, by how much, on which processor.
    """
    differences = []
    for number, golden in enumerate(goldens, start=1):
        with np.errstate(invalid="ignore"):  # a model that gives NaN gets a line, no warning
            [actual] = make_goldens(engine, [(golden.reply, golden.context)])
        found = [
            f"{task} is {actual.decisions[task]}, expected {expected}"
            for task, expected in golden.decisions.items()
            if actual.decisions[task] != expected
        ]
        gap, path = max(
            (_gap(actual.scores[task][label], expected), f"{task}.{label}")
            for task, labels in golden.scores.items()
            for label, expected in labels.items()
        )
        if gap > tolerance:
            found.append(f"score {path} differs by {gap:.6f}, allowed {tolerance:g}")
        if found:
            differences.append(
                f"golden.jsonl: line {number} is not reproduced on {processor_name()}: "
                + "; ".join(found)
            )
    return differences


def _gap(actual: float, expected: float) -> float:
    gap = abs(actual - expected)
    return float("inf") if np.isnan(gap) else gap


def _golden(entry: Any, tasks: Tasks) -> Golden:
    keys = {field.name for field in fields(Golden)}
    if not isinstance(entry, Mapping) or set(entry) != keys:
        raise ValueError(f"must be an object with the keys {', '.join(sorted(keys))}")
    if not isinstance(entry["reply"], str) or not isinstance(entry["context"], str | None):
        raise ValueError("reply must be text, context text or null")
    _check_keys("scores", entry["scores"], [task.name for task in tasks])
    _check_keys("decisions", entry["decisions"], [task.name for task in tasks])
    scores, decisions = {}, {}
    for task in tasks:
        given, decided = entry["scores"][task.name], entry["decisions"][task.name]
        if isinstance(given, Mapping):
            given = {one_form(label): score for label, score in given.items()}
        _check_keys(f"scores.{task.name}", given, task.names)
        for label, score in given.items():
            if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
                raise ValueError(f"scores.{task.name}.{label} must be from 0 to 1, not {score!r}")
        labels = [decided] if task.kind == "single" else decided
        if isinstance(labels, list):
            labels = [one_form(label) if isinstance(label, str) else label for label in labels]
        if not isinstance(labels, list) or not all(label in task.names for label in labels):
            raise ValueError(f"decisions.{task.name} is {decided!r}, allowed: {task.names}")
        scores[task.name] = given
        decisions[task.name] = labels[0] if task.kind == "single" else labels
    return Golden(entry["reply"], entry["context"], scores, decisions)


def _check_keys(where: str, value: object, expected: Sequence[str]) -> None:
    if not isinstance(value, Mapping) or set(value) != set(expected):
        raise ValueError(f"{where} must have exactly the keys {', '.join(expected)}")
