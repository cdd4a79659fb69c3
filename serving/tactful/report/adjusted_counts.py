"""Rates corrected for the reader's errors.

A rate counted by a classifier is off by its errors: with sensitivity s and specificity c, a true
rate p is seen as p s + (1 - p)(1 - c). Solved for p this is the estimator of Rogan and Gladen
(1978, Am. J. Epidemiology 107), in machine learning the *adjusted count* (Forman 2008, Data Mining
and Knowledge Discovery 17). The interval, which holds the uncertainty of s and c as well, is Lang
and Reiczigel's (2014, Preventive Veterinary Medicine 113). All of it supposes that the reader errs
on these replies as it did on those where s and c were measured.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tactful.errors import ReportError
from tactful.report.intervals import Estimate, Z

# Below this s + c - 1 the reader hardly tells the label from its absence, and p is anybody's guess.
LEAST_POWER = 0.1


@dataclass(frozen=True, slots=True)
class Reliability:
    """How well a label is read, measured on labelled replies.

    Attributes:
        precision: share of those it was given to that have it; None where it was given to none.
        recall: share of those that have it that it was given to: the sensitivity.
        f1: their harmonic mean.
        positives: labelled replies that have it.
        negatives: those that do not.
        specificity: share of these that it was not given to; None where that cannot be told.
    """

    precision: float | None
    recall: float | None
    f1: float | None
    positives: int
    negatives: int
    specificity: float | None


Reliabilities = Mapping[str, Mapping[str, Reliability]]
"""Task to label to how well it is read."""


def adjusted(seen: Estimate, effective: float, label: Reliability | None) -> Estimate | None:
    """The true rate that a seen one speaks of.

    Args:
        seen: the rate as counted.
        effective: how many independent replies tell as much (see `effective_replies`).
        label: how well the label is read.

    Returns:
        None where that is not known, or says too little to correct by.
    """
    if label is None or label.recall is None or label.specificity is None:
        return None
    s, c = label.recall, label.specificity
    if not (label.positives and label.negatives) or s + c - 1 < LEAST_POWER:
        return None
    value = (seen.value + c - 1) / (s + c - 1)
    # Lang and Reiczigel: counts moved towards the middle, the normal interval moved likewise.
    n, positives, negatives = effective + Z**2, label.positives + 2, label.negatives + 2
    p = (effective * seen.value + Z**2 / 2) / n
    s, c = (label.positives * s + 1) / positives, (label.negatives * c + 1) / negatives
    power = s + c - 1
    if power < LEAST_POWER:
        return None
    middle = (p + c - 1) / power
    of_s, of_c = s * (1 - s) / positives, c * (1 - c) / negatives
    middle_shift = 2 * Z**2 * (middle * of_s - (1 - middle) * of_c)
    spread = p * (1 - p) / n + middle**2 * of_s + (1 - middle) ** 2 * of_c
    half = Z * math.sqrt(spread) / power
    low, high = (_within(middle + middle_shift + side * half) for side in (-1, 1))
    value = _within(value)
    return Estimate(value, min(low, value), max(high, value), seen.n)


def _within(value: float) -> float:
    return min(max(value, 0.0), 1.0)


def read_reliabilities(evaluation: object, source: str) -> dict[str, dict[str, Reliability]]:
    """What ``tactful evaluate --json`` measured of each label, by task.

    Args:
        evaluation: its JSON; a label may have a ``specificity``, else it follows from the rest.
        source: where it came from, for messages.

    Raises:
        ReportError: it has another shape.
    """
    try:
        found = _reliabilities(evaluation)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ReportError(
            f"{source} is not what `tactful evaluate --json` prints ({error!r}); make it with: "
            "tactful evaluate --data FOLDER --json > evaluate.json"
        ) from error
    if not found:
        raise ReportError(
            f"{source} holds figures of no label; make it with: "
            "tactful evaluate --data FOLDER --json > evaluate.json"
        )
    return found


def load_json(path: str) -> Any:
    """The content of a JSON file.

    Raises:
        ReportError: there is none, or it is no JSON.
    """
    try:
        return json.loads(Path(path).read_bytes())
    except OSError as error:
        raise ReportError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ReportError(f"{path} is no JSON: {error}") from error


def _reliabilities(evaluation: Any) -> dict[str, dict[str, Reliability]]:
    n = int(evaluation["n"])
    return {
        task: {
            label: _reliability(int(said.get("n", n)), each)
            for label, each in said["labels"].items()
        }
        for task, said in evaluation.items()
        if isinstance(said, Mapping) and "labels" in said and task != "evidence"
    }


def _reliability(n: int, said: Mapping[str, Any]) -> Reliability:
    precision, recall, f1 = (_number(said.get(name)) for name in ("precision", "recall", "f1"))
    positives = int(said["support"])
    negatives = n - positives
    if positives < 0 or negatives < 0:
        raise ValueError(f"support is {positives} of {n} rows")
    specificity = _number(said.get("specificity"))
    if specificity is None and negatives and recall is not None:
        hits = recall * positives
        if precision:
            specificity = min(max(1 - hits * (1 / precision - 1) / negatives, 0.0), 1.0)
        elif precision is None and not hits:  # it was never given
            specificity = 1.0
    return Reliability(precision, recall, f1, positives, negatives, specificity)


def _number(value: object) -> float | None:
    if isinstance(value, Mapping):  # a figure with its interval
        value = value.get("value")
    if value is None:
        return None
    number = float(value)  # type: ignore[arg-type]  # what is no number raises TypeError
    if not 0 <= number <= 1:
        raise ValueError(f"{number} is no share")
    return number
