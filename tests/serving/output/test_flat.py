from __future__ import annotations

import json

import pytest

from tactful import Classifier, InputError
from tactful.output.flat_rows import FlatRows

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
