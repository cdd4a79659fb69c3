"""Croissant metadata, read and checked by mlcroissant itself."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import pytest

from tactful_training.data.croissant import describe, write_croissant
from tactful_training.data.data_set import load_data_set
from tactful_training.errors import DataError

mlc = pytest.importorskip("mlcroissant")

ROOT = Path(__file__).resolve().parents[3]


def test_mlcroissant_reads_the_rows_by_it(data_set: Path, tmp_path: Path) -> None:
    folder = tmp_path / "some"
    folder.mkdir()
    for file in data_set.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    dataset = mlc.Dataset(jsonld=str(write_croissant(folder)))
    assert not dataset.metadata.issues.errors
    assert dataset.metadata.name == "some"
    rows = load_data_set(folder).split("test")
    moods = load_data_set(folder).tasks.named("mood").names
    for row, record in zip(rows, islice(dataset.records("test"), 3), strict=False):
        assert record["test/reply"].decode() == row.reply
        assert record["test/labels.mood"].decode() in moods
    load_data_set(folder)  # which it is no part of


def test_the_shipped_set_is_described_as_it_is() -> None:
    data = load_data_set(ROOT / "data_cards/support_replies")
    shipped = json.loads((data.folder / "croissant.json").read_text("utf-8"))
    digests = {each["@id"]: each["sha256"] for each in shipped["distribution"]}
    assert digests == {path.name: data.digests[path.name] for path in data.files.values()}, (
        "run: tactful data croissant data_cards/support_replies"
    )
    assert shipped == json.loads(json.dumps(describe(data)))
    assert shipped["license"] == "https://creativecommons.org/licenses/by/4.0/"


def test_what_cannot_be_described_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"its splits are none; Croissant is made of \.jsonl"):
        write_croissant(ROOT / "data_cards/esconv")
    with pytest.raises(DataError, match="nowhere"):
        write_croissant(tmp_path / "nowhere")
    cases = ROOT / "tests/training/data/cases/onehot"
    with pytest.raises(DataError, match=r"train\.csv"):
        write_croissant(cases)
