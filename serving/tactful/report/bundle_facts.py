"""What is known of the bundle that scored: what its labels mean, how it errs, what it learned from.

A manifest may hold ``reliability``, in the shape of ``tactful evaluate --json``, and ``reference``,
in that of `Reference`; both can come from files instead. What is missing is said in the report.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tactful.bundle.addresses import DEFAULT_BUNDLE, located, read_files
from tactful.bundle.manifest_check import checked_manifest
from tactful.bundle.signatures import check_trusted
from tactful.errors import BundleError, ReportError
from tactful.reading.decisions import Heads
from tactful.report.drift import Reference, read_reference
from tactful.report.intervals import Reliabilities, Reliability
from tactful.report.report_command import ReportOptions
from tactful.strict_json import strict_json


@dataclass(frozen=True)
class BundleFacts:
    """What is known of a bundle.

    Attributes:
        id: name@digest; empty of no bundle.
        asked: whether it was named, and not just lay where bundles lie.
        meanings: task to label to what it means.
        reliabilities: task to label to how well it is read.
        reliability_source: where these are from.
        reference: what its training data were like.
        reference_source: where that is from.
    """

    id: str = ""
    asked: bool = False
    meanings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    reliabilities: Reliabilities = field(default_factory=dict)
    reliability_source: str = ""
    reference: Reference | None = None
    reference_source: str = ""


def find_facts(options: ReportOptions) -> BundleFacts:
    """What is known of the bundle that was named, or lies where bundles lie.

    Raises:
        BundleError: a bundle that was named cannot be used.
        ReportError: its manifest, or a file that was named, has another shape.
    """
    address = options.bundle or os.environ.get("TACTFUL_BUNDLE")
    if address is not None:
        return _read(address, asked=True)
    try:
        there = Path(located(DEFAULT_BUNDLE)).is_dir()
        return _read(DEFAULT_BUNDLE, asked=False) if there else BundleFacts()
    except BundleError:  # nobody asked for it
        return BundleFacts()


def with_files(facts: BundleFacts, options: ReportOptions) -> BundleFacts:
    """With what files that were named say, in the place of what the bundle says.

    Raises:
        ReportError: one of them cannot be read or has another shape.
    """
    changes: dict[str, Any] = {}
    if (path := options.evaluation) is not None:
        changes["reliabilities"] = read_reliabilities(load_json(path), path)
        changes["reliability_source"] = path
    if (path := options.reference) is not None:
        changes["reference"] = read_reference(load_json(path), path)
        changes["reference_source"] = path
    return BundleFacts(**(vars(facts) | changes))


def _read(address: str, *, asked: bool) -> BundleFacts:
    contents, strange = read_files(address)
    check_trusted(address, contents)
    manifest = checked_manifest(address, contents, strange)
    try:
        heads = Heads.from_json(strict_json(contents["labels.json"]))
    except ValueError as error:
        raise BundleError(address, [f"labels.json: {error}"]) from error
    named = f"the bundle {manifest['name']}@{manifest['digest'][:12]}"
    reliability, reference = manifest.get("reliability"), manifest.get("reference")
    return BundleFacts(
        f"{manifest['name']}@{manifest['digest'][:12]}",
        asked,
        {task.name: dict(task.labels) for task in heads.tasks},
        {} if reliability is None else read_reliabilities(reliability, f"reliability of {named}"),
        "" if reliability is None else named,
        None if reference is None else read_reference(reference, f"reference of {named}"),
        "" if reference is None else named,
    )


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
