from __future__ import annotations

import csv
import json
import random

import pytest
import typer
from typer.testing import CliRunner

from tactful_training.commands.data import app
from tactful_training.data.data_set import load_data_set
from tactful_training.data.row_files import scan_rows
from tactful_training.errors import DataError
from tactful_training.triage.label_errors import find_label_errors, write_label_errors

MOODS = ["happy", "sad", "flat"]


@pytest.fixture(scope="module")
def planted(data_set, data_set_writer, tmp_path_factory):
    """The synthetic set with wrong labels, each with evidence as if it were right."""
    choice, flips, splits = random.Random(3), set(), {}
    for split in ("train", "validation", "test"):
        rows = [json.loads(line) for line in (data_set / f"{split}.jsonl").open()]
        for row in choice.sample(rows, 4):
            labels = row["labels"]
            if choice.random() < 0.5:
                labels["mood"] = choice.choice([each for each in MOODS if each != labels["mood"]])
                flips.add((row["id"], "mood", labels["mood"]))
            elif labels["moves"]:
                gone = labels["moves"].pop()
                row["evidence"] = [span for span in row["evidence"] if span["label"] != gone]
                flips.add((row["id"], "moves", f"not {gone}"))
            else:
                labels["moves"] = ["thanks"]
                row["evidence"] = [{"label": "thanks", "start": 0, "end": 4}]
                flips.add((row["id"], "moves", "thanks"))
        splits[split] = rows
    card = load_data_set(data_set)
    tasks = [{"name": t.name, "kind": t.kind, "labels": dict(t.labels)} for t in card.tasks]
    return data_set_writer(tmp_path_factory.mktemp("planted") / "set", splits, tasks), flips


@pytest.fixture(scope="module")
def found(planted):
    return find_label_errors(planted[0])


def test_wrong_labels_come_first(planted, found):
    flips = planted[1]
    told = {(doubt.row.id, doubt.task, doubt.given) for doubt in found.doubts}
    assert found.rows == 192
    assert found.labels == 192 * 4  # three moves, and one mood
    assert len(found.doubts) == round(0.05 * found.labels)
    assert len(flips & told) >= 0.9 * len(flips)


def test_a_doubt_says_what_is_suggested_and_why(found):
    scores = [doubt.score for doubt in found.doubts]
    assert scores == sorted(scores)
    for doubt in found.doubts:
        assert doubt.given != doubt.suggested
        if doubt.task == "moves":
            assert {doubt.given, doubt.suggested} == {
                name := doubt.given.removeprefix("not "), f"not {name}"
            }  # fmt: skip
    reasons = {doubt.suggested: doubt.evidence for doubt in found.doubts}
    assert any("thank" in why or "thanks" in why for why in reasons.values())


def test_evidence_and_label_that_do_not_fit_are_doubted_first(data_set, data_set_writer, tmp_path):
    rows = [json.loads(line) for line in (data_set / "train.jsonl").open()]
    with_moves = [row for row in rows if row["labels"]["moves"]]
    gone = with_moves[0]["labels"]["moves"].pop()
    with_moves[1]["evidence"] = []
    tasks = [{"name": t.name, "kind": t.kind, "labels": dict(t.labels)}
             for t in load_data_set(data_set).tasks]  # fmt: skip
    folder = data_set_writer(tmp_path / "set", {"train": rows}, tasks)
    doubts = {(d.row.id, d.given): d for d in find_label_errors(folder).doubts}
    assert doubts[with_moves[0]["id"], f"not {gone}"].evidence == "there is evidence for it"
    label = with_moves[1]["labels"]["moves"][0]
    assert doubts[with_moves[1]["id"], label].evidence == "it has no evidence"


def test_the_same_seed_ranks_alike_and_unknown_tasks_are_left_out(
    planted, data_set_writer, tmp_path
):
    folder, _ = planted
    once, again = (find_label_errors(folder, splits=["train"]).to_dict() for _ in range(2))
    assert once == again
    rows = [json.loads(line) for line in (folder / "train.jsonl").open()]
    for row in rows:
        row["labels"]["mood"] = None
    tasks = [{"name": t.name, "kind": t.kind, "labels": dict(t.labels)}
             for t in load_data_set(folder).tasks]  # fmt: skip
    bare = data_set_writer(tmp_path / "bare", {"train": rows}, tasks)
    assert {doubt.task for doubt in find_label_errors(bare, share=1).doubts} == {"moves"}


@pytest.mark.parametrize("name", ["doubts.csv", "doubts.jsonl"])
def test_the_file_is_read_back_as_rows(planted, found, tmp_path, name):
    folder, _ = planted
    count = write_label_errors(found, tmp_path / name)
    tasks = load_data_set(folder).tasks
    rows = scan_rows(tmp_path / name, tasks).usable()
    assert len(rows) == count == len({doubt.row.id for doubt in found.doubts})
    first = found.doubts[0]
    assert rows[0].id == first.row.id
    assert (rows[0].labels, rows[0].evidence) == (first.row.labels, first.row.evidence)
    assert f"{first.task}: {first.given} → {first.suggested}" in rows[0].columns["doubts"]


def run(*arguments):
    root = typer.Typer()
    root.add_typer(app, name="data")
    return CliRunner().invoke(root, ["data", *map(str, arguments)])


def test_the_command_writes_the_file_and_tells_the_worst(planted, tmp_path):
    folder, _ = planted
    result = run("errors", folder, tmp_path / "out.csv", "--split", "train", "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["rows"]) == (0, 96)
    with (tmp_path / "out.csv").open(encoding="utf-8-sig", newline="") as file:
        lines = list(csv.DictReader(file))
    assert lines[0]["id"] == told["doubts"][0]["id"]
    assert {"split", "score", "doubts", "reply", "moves", "mood", "evidence"} <= set(lines[0])


def test_other_uses_are_named(planted, tmp_path):
    folder, _ = planted
    with pytest.raises(DataError, match="share is 0; allowed"):
        find_label_errors(folder, share=0)
    with pytest.raises(DataError, match="500 folds need as many groups"):
        find_label_errors(folder, folds=500)
    with pytest.raises(DataError, match=r"\.csv or \.jsonl"):
        write_label_errors(None, tmp_path / "out.xlsx")
