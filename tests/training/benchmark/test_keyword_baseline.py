from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tactful_training.benchmark.keyword_baseline import evaluate_baseline
from tactful_training.data.data_set import load_data_set
from tactful_training.errors import DataError

CARD = """---
tasks:
  - {name: strategies, kind: multilabel, labels: {apology: sorry, gratitude: thanks, never: ""}}
  - {name: tone, kind: single, labels: {warm: kind, cold: curt, odd: strange}}
---
"""
PHRASES = {
    "apology": ["so sorry about this", "my apologies for that", "we do apologise"],
    "gratitude": ["thank you for waiting", "many thanks for writing", "thanks a lot"],
}


def a_row(index: int, split: str) -> dict[str, Any]:
    strategies = [label for bit, label in enumerate(PHRASES) if index >> bit & 1]
    warm = index % 3 == 0
    words = [PHRASES[label][index % 3] for label in strategies]
    words += ["lovely to hear from you dear" if warm else "noted", f"number {index}"]
    return {
        "id": f"{split}-{index}",
        "context": f"where is parcel {index}",
        "reply": ", ".join(words),
        "labels": {"strategies": strategies, "tone": "warm" if warm else "cold"},
    }


def write_data_set(folder: Path, **changes: Any) -> Path:
    (folder / "README.md").write_text(CARD, encoding="utf-8")
    for split, size in (("train", 90), ("validation", 60), ("test", 48)):
        rows = [{**a_row(index, split), **changes} for index in range(size)]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{split}.jsonl").write_text(text, encoding="utf-8")
    return folder


def test_keywords_are_learnt(tmp_path: Path) -> None:
    data_set = load_data_set(write_data_set(tmp_path))
    content = evaluate_baseline(
        data_set, data_set.tasks, data_set.split("test"), resamples=20
    ).to_dict()
    assert content["strategies"]["micro_f1"]["value"] > 0.95
    assert content["tone"]["accuracy"]["value"] > 0.95
    assert 0 < content["strategies"]["labels"]["apology"]["threshold"] < 1
    assert content["evidence"] is None
    # A label and a class that training never saw are never said.
    assert content["strategies"]["labels"]["never"]["support"] == 0
    assert content["tone"]["labels"]["odd"]["precision"] is None


def test_rows_of_unknown_tasks_and_without_context_are_no_obstacle(tmp_path: Path) -> None:
    data_set = load_data_set(write_data_set(tmp_path, context=None))
    train = tmp_path / "train.jsonl"
    rows = [json.loads(line) for line in train.read_text(encoding="utf-8").splitlines()]
    for index, row in enumerate(rows):
        row["labels"]["tone" if index % 4 else "strategies"] = None
    train.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    test = data_set.split("test")
    content = evaluate_baseline(data_set, data_set.tasks, test, resamples=0).to_dict()
    assert content["tone"]["accuracy"]["value"] > 0.6
    assert content["strategies"]["n"] == 48


def test_what_cannot_be_learnt_from_is_named(tmp_path: Path) -> None:
    labels = {"strategies": [], "tone": None}
    data_set = load_data_set(write_data_set(tmp_path, labels=labels))
    test = data_set.split("test")
    with pytest.raises(DataError, match=r"train split.*has a label of 'tone'"):
        evaluate_baseline(data_set, data_set.tasks, test, resamples=0)
    data_set = load_data_set(write_data_set(tmp_path, context="", reply="\U0001f642"))
    (tmp_path / "validation.jsonl").unlink()
    with pytest.raises(DataError, match="no split 'validation'"):
        evaluate_baseline(load_data_set(tmp_path), data_set.tasks, test, resamples=0)


def test_a_train_split_without_words_is_a_clear_error(tmp_path: Path) -> None:
    data_set = load_data_set(write_data_set(tmp_path, reply="\U0001f642", context=None))
    with pytest.raises(DataError, match="finds no words in the train split"):
        evaluate_baseline(data_set, data_set.tasks, data_set.split("test"), resamples=0)
