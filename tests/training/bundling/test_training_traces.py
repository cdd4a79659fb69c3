"""What a bundle tells of its training."""

from __future__ import annotations

import json
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tactful import Classifier
from tactful.bundle.onnx_check import external_data
from tactful.bundle.writing import write_bundle
from tactful.reading.neighbours import Neighbours
from tactful.report.bundle_facts import read_reliabilities
from tactful.report.drift import drift, read_reference
from tactful_training.bundling.training_traces import (
    reference_of_readings,
    reliability_of,
    with_metadata,
)
from tactful_training.data.labelled_row import Row
from tactful_training.evaluation.bundle_evaluation import evaluate_classifier

REPLIES = ["I am so sorry, friend", "thank you for the call", "the order is late", "odd \ud800"]


@pytest.fixture
def rows() -> list[Row]:
    right = [("apology",), ("gratitude", "apology"), (), ()]
    return [
        Row(
            str(i),
            REPLIES[i % 4],
            None,
            str(i),
            {"strategies": right[i % 4], "tone": "warm"},
            (),
            {},
        )
        for i in range(40)
    ]


def test_reliability_is_what_was_measured(classifier: Classifier, rows: list[Row]) -> None:
    evaluation = evaluate_classifier(classifier, rows, resamples=0, slices=())
    found = json.loads(json.dumps(reliability_of(evaluation)))
    whole = read_reliabilities(evaluation.to_dict(), "it")
    for label in ("apology", "gratitude"):
        measured = read_reliabilities(found, "it")["strategies"][label]
        assert astuple(measured) == pytest.approx(astuple(whole["strategies"][label]), abs=1e-6)
    apology = found["strategies"]["labels"]["apology"]
    assert apology == {
        "precision": 1, "recall": 0.5, "f1": pytest.approx(2 / 3, abs=1e-6), "specificity": 1,
        "support": 20,
    }  # fmt: skip
    neutral = found["tone"]["labels"]["neutral"]  # no row has it
    assert (neutral["recall"], neutral["specificity"]) == (None, 0.5)


def test_a_reference_is_what_a_report_of_the_same_rows_sees(
    classifier: Classifier, rows: list[Row]
) -> None:
    readings = list(classifier.classify_many([row.reply for row in rows]))
    tasks = classifier.bundle.heads.tasks
    reference = reference_of_readings(rows, readings, tasks)
    assert reference is not None
    assert read_reference(json.loads(json.dumps(reference.to_dict())), "it") == reference
    assert reference.replies == 40
    assert reference.labels["strategies"] == {"apology": 10, "gratitude": 10, "next_step": 0}
    assert sum(reference.scores["tone"]["warm"]) == 40
    words = np.array([len(row.reply.split()) for row in rows], float)
    words[3::4] = 1  # half a character is no word
    moved = drift(reference, reference, {"replies": words, "contexts": np.zeros(40)})
    assert {each.verdict for each in moved} == {"stable"}


def test_no_report_is_made_of_other_tasks(classifier: Classifier, rows: list[Row]) -> None:
    tasks = type(classifier.bundle.heads.tasks)(classifier.bundle.heads.tasks[1:])
    assert reference_of_readings(rows, [], tasks) is None


def test_a_model_keeps_what_is_added_to_its_metadata(
    bundle_parts: dict[str, bytes], manifest_fields: dict[str, Any], tmp_path: Path
) -> None:
    kept = Neighbours.of(
        ["a-1", "ü 2"], np.array([[-9, 0, 1, 9, 2], [3, 1, 0, -1, -3]], np.float32)
    )
    model = with_metadata(bundle_parts["model.onnx"], kept.to_metadata())
    onnx.checker.check_model(onnx.load_from_string(model))
    assert external_data(model) == []
    write_bundle(
        tmp_path / "kept",
        manifest_fields=manifest_fields,
        files={**bundle_parts, "model.onnx": model},
    )
    classifier = Classifier.load(tmp_path / "kept", threads=1)
    again = classifier.engine.neighbours
    assert again is not None
    assert list(again.ids) == ["a-1", "ü 2"]
    assert (again.scores == kept.scores).all()
    nearest = classifier.explain("I am so sorry").nearest
    assert nearest is not None
    assert {each.id for each in nearest} == {"a-1", "ü 2"}
