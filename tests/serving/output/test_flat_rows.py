from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tactful import Classifier, InputError
from tactful.output.flat_rows import FlatRows
from tactful.output.mlflow_model import FlatModel

REPLY = "I am so sorry. Thank you"


def test_a_flat_row_says_what_the_reading_says(classifier: Classifier) -> None:
    flat = FlatRows(classifier.bundle.heads.tasks, classifier.bundle.id)
    reading = classifier.classify(REPLY)
    row = flat.row(reading)

    assert list(row) == list(flat.columns)
    assert list(row)[:2] == ["strategies", "tone"]
    assert list(row)[-4:] == ["evidence", "truncated", "bundle", "error"]
    assert row["strategies"] == [strategy.label for strategy in reading.strategies]
    assert "apology" in row["strategies"]
    assert row["tone"] == reading.tone.label
    assert row["score.tone.warm"] == reading.scores["tone"]["warm"]
    for span in row["evidence"]:
        assert REPLY[span["start"] : span["end"]] == span["text"]
    assert {span["label"] for span in row["evidence"]} >= {"apology"}
    assert (row["truncated"], row["bundle"], row["error"]) == (False, reading.bundle, None)
    assert json.loads(json.dumps(row)) == row


def test_an_error_is_a_row_of_the_same_columns(classifier: Classifier) -> None:
    flat = FlatRows(classifier.bundle.heads.tasks, classifier.bundle.id, prefix="x.")
    row = flat.row(InputError("reply_empty", "the reply is empty"))

    assert list(row) == list(flat.columns)
    assert row.pop("x.error") == {"code": "reply_empty", "message": "the reply is empty"}
    assert row.pop("x.bundle") == classifier.bundle.id
    assert set(row.values()) == {None}


def test_scores_can_be_left_out_or_given_for_what_was_decided(classifier: Classifier) -> None:
    tasks, bundle = classifier.bundle.heads.tasks, classifier.bundle.id
    reading = classifier.classify(REPLY)
    none = FlatRows(tasks, bundle, scores="none").row(reading)
    decided = FlatRows(tasks, bundle, scores="decided").row(reading)

    assert not [name for name in none if name.startswith("score.")]
    given = {name for name in decided if name.startswith("score.") and decided[name] is not None}
    assert given == {
        *(f"score.strategies.{label.label}" for label in reading.strategies),
        f"score.tone.{reading.tone.label}",
    }
    with pytest.raises(ValueError, match="none, decided, all"):
        FlatRows(tasks, bundle, scores="some")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "context",
    [
        pd.array(["late", pd.NA], dtype="string"),
        np.array(["late", np.nan], dtype=object),
        pd.array(["late", None], dtype=object),
    ],
)
def test_no_value_of_pandas_is_no_context(classifier: Classifier, context: Any) -> None:
    frame = pd.DataFrame({"reply": [REPLY, REPLY], "context": context}, index=[7, 3])
    said = FlatModel(classifier).predict(frame)
    assert list(said.index) == [7, 3]
    assert list(said["context"]) == ["late", None]
    assert list(said["error"]) == [None, None]
    alone = FlatModel(classifier).predict(pd.DataFrame({"reply": [REPLY]}))
    scores = [name for name in said.columns if name.startswith("score.")]
    assert list(said.iloc[1][scores]) == pytest.approx(list(alone.iloc[0][scores]), abs=1e-4)
    rest = said.columns.difference(scores)
    assert said.iloc[1][rest].to_dict() == alone.iloc[0][rest].to_dict()


def test_a_row_without_a_reply_says_so_and_the_others_are_read(classifier: Classifier) -> None:
    said = FlatModel(classifier).predict(pd.DataFrame({"reply": [pd.NA, "so sorry", 3]}))
    assert [error and error["code"] for error in said["error"]] == [
        *("reply_missing", None, "reply_not_text"),
    ]
    assert str(said["error"][0]) == json.dumps(said["error"][0])
    assert said["error"][2]["message"] == "item 2: the reply must be text, not int"
    assert said["strategies"][1] == ["apology"]


def test_notes_stand_before_the_bundle_where_they_are_asked_for(classifier: Classifier) -> None:
    tasks, bundle = classifier.bundle.heads.tasks, classifier.bundle.id
    flat = FlatRows(tasks, bundle, scores="none", prefix="x.", notes=True)
    row = flat.row(classifier.classify("Your parcel is late.\n> thanks"))
    assert list(row) == list(flat.columns)
    assert list(row)[-5:] == [
        *("x.truncated", "x.skipped", "x.language_doubtful", "x.bundle", "x.error")
    ]
    assert row["x.skipped"] == [{"start": 21, "end": 29, "why": "quoted"}]
    assert row["x.language_doubtful"] is False
