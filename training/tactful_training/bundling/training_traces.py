"""What a bundle tells of its training: how well it reads, what it read, what it learned from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from tactful.output.flat_rows import FlatRows
from tactful.reading.batches import Pass
from tactful.reading.neighbours import Neighbours
from tactful.reading.readings import Reading
from tactful.reading.session import Workers
from tactful.reading.tasks import Tasks
from tactful.report.drift import Reference, reference_of
from tactful.report.label_roles import STRATEGIES
from tactful.report.report_command import ReportOptions
from tactful.report.scored_rows import ScoredFiles
from tactful.report.table_reading import read_table
from tactful_training.data.labelled_row import Row
from tactful_training.evaluation.evaluation_results import Evaluation, number

if TYPE_CHECKING:  # new thresholds, which need what is here, need no torch
    from tactful_training.bundling.run_record import RunRecord

_CHUNK = 256  # rows whose token scores are held at once


def reliability_of(evaluation: Evaluation) -> dict[str, Any]:
    """How well each label is read, in the shape of ``tactful evaluate --json``: all that a report
    needs to adjust its rates.

    Args:
        evaluation: on rows that neither weights nor thresholds were fitted to.
    """
    answers = evaluation.answers
    found: dict[str, Any] = {"n": evaluation.n}
    for name, task in evaluation.tasks.items():
        at = answers.tasks.slices[name]
        absent, decided = answers.truth[:, at] == 0, answers.decisions[:, at]
        negatives, wrong = absent.sum(axis=0), (absent & decided).sum(axis=0)
        labels: dict[str, Any] = {}
        for index, (label, result) in enumerate(task.labels.items()):
            figures = {key: result.estimates[key].value for key in ("precision", "recall", "f1")}
            figures["specificity"] = (
                1 - wrong[index] / negatives[index] if negatives[index] else float("nan")
            )
            labels[label] = {key: number(round(value, 6)) for key, value in figures.items()}
            labels[label]["support"] = result.support
        found[name] = {"n": task.n, "labels": labels}
    return found


def reference_of_readings(
    rows: Sequence[Row], readings: Sequence[Reading], tasks: Tasks
) -> Reference | None:
    """What replies were like that were read in training, for the report's measure of drift.

    By the code that reads a scored file, so that a report of these rows finds no drift.

    Args:
        rows: the validation split: scores on rows that the weights were fitted to are too sure.
        readings: what the bundle says of each.
        tasks: those of the bundle; the report knows one named ``strategies``.

    Returns:
        None for a bundle of other tasks, of which no report is made.
    """
    if STRATEGIES not in (task.name for task in tasks):
        return None
    flat = FlatRows(tasks, "")
    with TemporaryDirectory() as folder:
        scored = Path(folder, "scored.jsonl")
        with scored.open("w", encoding="ascii") as file:
            for row, reading in zip(rows, readings, strict=True):
                texts = {"reply": row.reply, "context": row.context}
                file.write(json.dumps({**texts, **flat.row(reading)}) + "\n")
        options = ReportOptions()
        files = ScoredFiles(str(scored), options, scored.with_suffix(".html"))
        return reference_of(read_table(files, options, 0.0, {}))


def neighbours_of(record: RunRecord) -> Neighbours:
    """Training rows as the shipped form reads them; spread evenly where there are too many."""
    rows, most = record.inputs.rows["train"], record.config.neighbours.rows
    kept = np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(int))
    chosen = [rows[index] for index in kept]
    encoding, workers = record.inputs.encoding, Workers(record.choice.shipped.candidate.content)
    logits = np.empty((len(chosen), record.heads.tasks.size), np.float32)
    for start in range(0, len(chosen), _CHUNK):
        pairs = [(row.reply, row.context) for row in chosen[start : start + _CHUNK]]
        read = Pass(encoding.encode(pairs), encoding, record.heads.tasks)
        for batch in workers.run(read):
            batch.result()
        logits[start : start + len(pairs)] = [each.logits for each in read.outputs()]
    return Neighbours.of([row.id for row in chosen], logits)


def with_metadata(model: bytes, entries: Mapping[str, str]) -> bytes:
    """An ONNX file with more entries in its metadata, nothing else of it changed.

    Messages of protobuf that follow each other are one message, in which repeated fields add up.
    """
    added = onnx.ModelProto()
    for key, value in entries.items():
        added.metadata_props.add(key=key, value=value)
    tail: bytes = added.SerializeToString()
    return model + tail
