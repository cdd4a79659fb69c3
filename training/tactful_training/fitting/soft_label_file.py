"""Files of soft labels: what teachers say of training rows, for trainings without them.

The file is JSONL (or ``.jsonl.gz``), a line for each row::

    {"id": "a-0001-2", "text": "3fa94c0d12ab",
     "scores": {"strategies": {"apology": 0.9812}, "tone": {"warm": 0.0301, "sympathetic": 0.9699}},
     "tokens": [[0, 3], [4, 9]], "evidence": {"strategies": {"apology": [0.02, 0.97]}}}

``scores`` are probabilities before calibration: all labels of a single task (their sum is 1), any
of a multi-label one; a task may be missing. ``text`` holds the first 12 hex digits of the sha256 of
what was read, so that numbers never meet a reply that was changed since. ``tokens`` (start and end
in code points of the reply) and ``evidence`` (the probability of each of them, for labels that the
teacher thinks are there) may be missing. Tokens of any tokenizer will do: numbers are mapped to
those of the student by offsets.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from tactful.reading.tasks import Tasks
from tactful.storage import write_file
from tactful.strict_json import sha256_hex
from tactful_training.data.labelled_row import Row
from tactful_training.errors import DataError
from tactful_training.fitting.soft_labels import DIGITS, TOKEN_DIGITS, SoftLabels, precise_sigmoid

SOFT_LABELS = "soft_labels.jsonl.gz"
"""The file beside a data set's rows that `distill.soft_labels` means by ``auto``."""
# Least probability of a label whose words are written down.
_EVIDENCE_FROM = 0.1
_TEXT_DIGITS = 12
_SUM_TOLERANCE = 0.02


@dataclass(frozen=True)
class SoftLabelFile:
    """Soft labels of a training split that were read from a file.

    Attributes:
        path: the file.
        sha256: of its content, hex.
        rows: by id; rows without soft labels are not there.
    """

    path: Path
    sha256: str
    rows: Mapping[str, SoftLabels]


def text_digest(row: Row) -> str:
    """What tells whether a row is still the one that soft labels were made of."""
    content = json.dumps([row.reply, row.context])
    return sha256_hex(content.encode())[:_TEXT_DIGITS]


def check_name(path: Path) -> None:
    """Check that a file of soft labels has a name that says what it is.

    Raises:
        DataError: it has not.
    """
    if not path.name.endswith((".jsonl", ".jsonl.gz")):
        raise DataError(f"{path}: a file of soft labels ends with .jsonl or .jsonl.gz")


def write_soft_labels(
    path: Path, rows: Sequence[Row], soft: Sequence[SoftLabels], tasks: Tasks
) -> None:
    """Write the file; it is there whole or not at all, and the same numbers give the same bytes.

    Args:
        path: ends with ``.jsonl`` or ``.jsonl.gz``.
        rows: the rows.
        soft: what is known of each.
        tasks: the tasks of the label axis.

    Raises:
        DataError: the name ends with something else.
        OSError: the disk refuses.
    """
    check_name(path)
    lines = [
        json.dumps(_line(row, each, tasks), separators=(",", ":"))
        for row, each in zip(rows, soft, strict=True)
    ]
    content = "".join(f"{line}\n" for line in lines).encode()
    write_file(path, gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


def read_soft_labels(path: Path, rows: Sequence[Row], tasks: Tasks) -> SoftLabelFile:
    """Read a file of soft labels for the rows of a training split.

    Args:
        path: the file.
        rows: all rows of the split.
        tasks: the tasks of the label axis.

    Raises:
        DataError: it cannot be read, names a label, task or row that there is not, was made of
            another text, or holds numbers that are no probabilities. Names the line.
    """
    check_name(path)
    try:
        raw = path.read_bytes()
        content = gzip.decompress(raw) if path.suffix == ".gz" else raw
        lines = content.decode().splitlines()
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    known = {row.id: row for row in rows}
    found: dict[str, SoftLabels] = {}
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            if not isinstance(entry, dict) or not isinstance(entry.get("id"), str):
                raise ValueError("not an object with an 'id'")
            name = entry["id"]
            if name not in known:
                raise ValueError(f"the training split has no row {name!r}")
            if name in found:
                raise ValueError(f"row {name!r} is there twice")
            found[name] = _soft(entry, known[name], tasks)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DataError(
                f"{path}:{number}: {error}. `tactful data soften` makes such a file of a teacher; "
                "distill.soft_labels: null trains without one"
            ) from error
    if not found:
        raise DataError(f"{path} holds no soft labels")
    return SoftLabelFile(path, sha256_hex(raw), found)


def _line(row: Row, soft: SoftLabels, tasks: Tasks) -> dict[str, Any]:
    chances = soft.probabilities(tasks)
    scores: dict[str, dict[str, float]] = {}
    evidence: dict[str, dict[str, list[float]]] = {}
    tokens = precise_sigmoid(soft.token_scores)
    for (task, label), column in tasks.columns.items():
        if np.isnan(chances[column]):
            continue
        scores.setdefault(task, {})[label] = round(float(chances[column]), DIGITS)
        words = tokens[:, column]
        if chances[column] >= _EVIDENCE_FROM and not np.isnan(words).any():
            rounded = [round(value, TOKEN_DIGITS) for value in words.tolist()]
            evidence.setdefault(task, {})[label] = rounded
    line: dict[str, Any] = {"id": row.id, "text": text_digest(row), "scores": scores}
    if evidence:
        line |= {"tokens": soft.offsets.tolist(), "evidence": evidence}
    return line


def _soft(entry: Mapping[str, Any], row: Row, tasks: Tasks) -> SoftLabels:
    if entry.get("text") != text_digest(row):
        raise ValueError(
            f"these numbers were made of another text than row {row.id!r} has now; make them again"
        )
    chances = np.full(tasks.size, np.nan)
    for task, labels in entry["scores"].items():
        for label, value in labels.items():
            chances[_column(tasks, task, label)] = _probability(value)
        named = tasks.named(task)
        values = chances[tasks.slices[task]]
        if named.kind == "single" and not abs(values.sum() - 1) <= _SUM_TOLERANCE:
            raise ValueError(
                f"{task}: all labels of a single task are needed, and their sum is 1; "
                f"given: {', '.join(labels)}"
            )
    offsets = np.array(entry.get("tokens", []), dtype=np.int32).reshape(-1, 2)
    words = np.full((len(offsets), tasks.size), np.nan)
    for task, labels in entry.get("evidence", {}).items():
        for label, values in labels.items():
            if len(values) != len(offsets):
                raise ValueError(
                    f"evidence of {label!r}: {len(values)} numbers for {len(offsets)} tokens"
                )
            words[:, _column(tasks, task, label)] = [_probability(value) for value in values]
    return SoftLabels.of_probabilities(chances, offsets, words, tasks)


def _column(tasks: Tasks, task: str, label: str) -> int:
    names = [each.name for each in tasks]
    if task not in names:
        raise ValueError(f"unknown task {task!r}; the data set's: {', '.join(names)}")
    column = tasks.columns.get((task, label))
    if column is None:
        near = get_close_matches(label, tasks.named(task).names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else ", ".join(tasks.named(task).names)
        raise ValueError(f"{task} has no label {label!r}; {hint}")
    return column


def _probability(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{value!r} is no probability; allowed: 0 to 1")
    return float(value)
