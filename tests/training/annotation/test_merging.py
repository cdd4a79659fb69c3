from __future__ import annotations

import csv
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tactful_training.annotation.merging import Merged, merge_data
from tactful_training.data.data_set import load_data_set
from tactful_training.data.labelled_row import Row
from tactful_training.errors import DataError

TASKS = [
    {"name": "moves", "kind": "multilabel", "labels": {"sorry": "", "thanks": ""}},
    {"name": "mood", "kind": "single", "labels": {"happy": "", "sad": ""}},
]
SORRY = {"label": "sorry", "start": 0, "end": 5}
THANKS = {"label": "thanks", "start": 6, "end": 12}


def given(name: str, **more: Any) -> dict[str, Any]:
    row = {
        "id": name,
        "group": f"group of {name}",
        "reply": f"sorry thanks {name}",
        "labels": {"moves": ["sorry", "thanks"], "mood": "sad"},
        "evidence": [SORRY, THANKS],
    }
    return row | more


def feedback(number: int, **more: Any) -> dict[str, Any]:
    line = {
        "feedback": 1,
        "id": f"f{number}",
        "at": "2026-11-20T10:00:00+00:00",
        "by": "Kim",
        "bundle": "tactful@4f1c0a9b2d7e",
        "reply": "sorry thanks a",
        "labels": {"moves": ["thanks"]},
    }
    return line | more


@pytest.fixture
def mine(tmp_path: Path, data_set_writer: Callable[..., Path]) -> Path:
    splits = {"train": [given("a"), given("b")], "validation": [given("c")], "test": [given("d")]}
    return data_set_writer(tmp_path / "sets/mine", splits, TASKS)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def to_file(*rows: dict[str, Any], name: str = "said.jsonl") -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        return path

    return to_file


def rows(folder: Path) -> dict[str, Row]:
    data = load_data_set(folder)
    return {row.id: row for split in data.files for row in data.split(split)}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_corrections_and_new_rows_come_in_with_who_when_why_and_what_was_there(
    mine: Path, write: Callable[..., Path]
) -> None:
    others = (mine / "train.jsonl").read_bytes().splitlines()[1]
    (mine / "notes").mkdir()
    (mine / "notes/why.txt").write_text("kept", "utf-8")
    said = {"labels": {"moves": ["thanks"]}, "by": "Kim", "at": "2026-11-20", "why": "ruling 7"}
    new = given("e", split="validation", evidence=None, agent="Bo")
    beside = given("f", group="group of d", evidence=None)
    path = write({"id": "a", "reply": "sorry thanks a", **said}, new, beside)

    merged = merge_data(mine, [path], who="me")
    found = rows(mine)
    assert found["a"].labels == {"moves": ("thanks",), "mood": "sad"}
    assert [span.label for span in found["a"].evidence] == ["thanks"]  # what stays keeps its words
    assert found["e"].columns == {"agent": "Bo"}
    data = load_data_set(mine)
    assert [row.id for row in data.split("validation")] == ["c", "e"]
    assert [row.id for row in data.split("test")] == ["d", "f"]  # a group stays in one split
    assert (mine / "train.jsonl").read_bytes().splitlines()[1] == others
    assert (mine / "notes/why.txt").read_text("utf-8") == "kept"

    assert merged.version == data.card.front_matter["version"] == "1.1.0"
    first, *added = lines(mine / "history.jsonl")
    assert (first["row"], first["by"], first["at"], first["why"]) == (
        "a", "Kim", "2026-11-20", "ruling 7",
    )  # fmt: skip
    assert first["version"] == "1.1.0"
    assert first["before"]["labels"]["moves"] == ["sorry", "thanks"]
    assert first["after"]["labels"]["moves"] == ["thanks"]
    assert [(each["by"], each["before"]) for each in added] == [("me", None), ("me", None)]
    changes = (mine / "CHANGELOG.md").read_text("utf-8")
    assert changes.startswith("# Changes\n\n## 1.1.0 (")
    assert "- 1 row corrected by Kim: ruling 7\n- 2 rows added by me" in changes

    again = merge_data(
        mine, [path, write(given("b", labels={"moves": ["thanks", "sorry"]}), name="b.jsonl")]
    )
    assert (again.version, again.unchanged) == (None, 4)  # the order of labels says nothing
    later = merge_data(mine, [write(given("g"))])
    assert later.version == "1.2.0"
    assert [each["row"] for each in lines(mine / "history.jsonl")] == ["a", "e", "f", "g"]


def test_feedback_corrects_the_row_with_its_texts_or_becomes_one_and_counts_once(
    mine: Path, write: Callable[..., Path]
) -> None:
    unseen = feedback(2, reply="Glad to help!", labels={"mood": "happy"}, why="plainly glad")
    path = write(feedback(1), unseen, name="feedback.jsonl")
    merged = merge_data(mine, [path])
    found = rows(mine)
    assert found["a"].labels == {"moves": ("thanks",), "mood": "sad"}
    [new] = [row for row in found.values() if row.reply == "Glad to help!"]
    assert new.id.startswith("feedback-")
    assert new.labels == {"moves": None, "mood": "happy"}
    assert [change.why for change in merged.changes] == [
        "disagrees with tactful@4f1c0a9b2d7e",
        "plainly glad (disagrees with tactful@4f1c0a9b2d7e)",
    ]
    # Somebody decides otherwise; the same feedback does not undo that.
    merge_data(
        mine, [write({"id": "a", "reply": "sorry thanks a", "labels": {"moves": ["sorry"]}})]
    )
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(feedback(3, reply="sorry thanks b")) + "\n")
    again = merge_data(mine, [path])
    assert again.known == 2
    assert rows(mine)["a"].labels["moves"] == ("sorry",)
    assert rows(mine)["b"].labels["moves"] == ("thanks",)


def test_a_feedback_file_that_is_cut_off_is_named_and_the_rest_is_merged(
    mine: Path, write: Callable[..., Path]
) -> None:
    path = write(feedback(1), feedback(2, reply="sorry thanks b"), name="feedback.jsonl")
    path.write_bytes(path.read_bytes()[:-40])
    merged = merge_data(mine, [path])
    assert merged.torn == (
        f"{path}:2: the file ends in the middle of it; it is left out, the others are taken",
    )
    assert [change.row for change in merged.changes] == ["a"]
    # A service that goes on after a full disk begins a new line.
    path.write_bytes(path.read_bytes() + b"\n" + json.dumps(feedback(3)).encode() + b"\n")
    merged = merge_data(mine, [path])
    assert merged.torn == (f"{path}:2: it is not whole; it is left out, the others are taken",)
    assert (merged.known, merged.unchanged) == (1, 1)


def state(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.parent.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (given("a", reply="quite other words"), "has another reply in train"),
        (given("a", evidence=[{"label": "sorry", "start": 0, "end": 99}]), "end 99 must be whole"),
        (given("z", split="dev"), "split 'dev'; allowed: train, validation, test"),
        (given("z", group="group of d", split="train"), "allowed: test, where its group is"),
        (given("a", labels={"moves": ["apologise"]}), "--rename OLD=NEW"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_written(
    mine: Path, write: Callable[..., Path], wrong: dict[str, Any], message: str
) -> None:
    before = state(mine)
    path = write(given("b", labels={"mood": "happy"}), wrong)
    with pytest.raises(DataError, match=message):
        merge_data(mine, [path])
    assert state(mine) == before | {}


def test_a_label_that_was_renamed_is_read_by_its_old_name(
    mine: Path, write: Callable[..., Path]
) -> None:
    old = {"label": "apologise", "start": 0, "end": 5}
    path = write(given("a", labels={"moves": ["apologise"], "mood": "sad"}, evidence=[old]))
    merge_data(mine, [path], renamed={"apologise": "sorry"})
    assert rows(mine)["a"].labels["moves"] == ("sorry",)
    assert [span.label for span in rows(mine)["a"].evidence] == ["sorry"]
    with pytest.raises(DataError, match="no label 'sory'"):
        merge_data(mine, [path], renamed={"apologise": "sory"})
    with pytest.raises(DataError, match="'thanks' is a label of the set itself"):
        merge_data(mine, [path], renamed={"thanks": "sorry"})


def test_two_that_contradict_each_other_are_named_and_the_last_counts(
    mine: Path, write: Callable[..., Path]
) -> None:
    one = write(given("a", labels={"mood": "happy"}), name="one.jsonl")
    two = write(given("a", labels={"mood": "sad", "moves": ["thanks"]}), name="two.jsonl")
    merged = merge_data(mine, [one, two])
    assert merged.contradicted == (f"{two}: 'a' says other mood of 'a' than {one}: 'a'",)
    assert rows(mine)["a"].labels == {"moves": ("thanks",), "mood": "sad"}


def test_a_dry_run_says_the_same_and_writes_nothing(mine: Path, write: Callable[..., Path]) -> None:
    before = state(mine)
    path = write(given("e"))
    assert merge_data(mine, [path], dry_run=True).version == "1.1.0"
    assert state(mine) == before


def test_a_table_of_a_set_becomes_jsonl_with_all_that_it_held(
    mine: Path, write: Callable[..., Path]
) -> None:
    (mine / "test.jsonl").unlink()
    with (mine / "test.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["id", "reply", "moves", "mood", "team"], ["d", "hi", "", "sad", "x"]])
    merge_data(mine, [write(given("e", split="test"))])
    assert not (mine / "test.csv").exists()
    first, second = load_data_set(mine).split("test")
    assert (first.labels, first.columns) == ({"moves": (), "mood": "sad"}, {"team": "x"})
    assert second.id == "e"


def _merge(arguments: tuple[Path, Path]) -> Merged:
    return merge_data(arguments[0], [arguments[1]], who=arguments[1].stem)


def test_merges_at_the_same_time_wait_for_each_other(
    mine: Path, write: Callable[..., Path]
) -> None:
    paths = [write(given(f"new {n}"), name=f"m{n}.jsonl") for n in range(4)]
    found: list[Merged] = []
    threads = [
        threading.Thread(target=lambda path=path: found.append(_merge((mine, path))))
        for path in paths
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {f"new {n}" for n in range(4)} <= set(rows(mine))
    assert sorted(each.version or "" for each in found) == ["1.1.0", "1.2.0", "1.3.0", "1.4.0"]
    assert len(lines(mine / "history.jsonl")) == 4
    assert not list(mine.parent.glob(".mine.*"))


def test_what_a_model_suggested_waits_for_a_person(mine: Path, write: Callable[..., Path]) -> None:
    marked = {"suggested_by": "tactful@4f1c0a9b2d7e", "uncertainty": 0.4}
    path = write(given("e", **marked), given("f", **marked | {"suggested_by": ""}))
    merged = merge_data(mine, [path])
    assert (merged.unconfirmed, [each.row for each in merged.changes]) == (1, ["f"])
    assert rows(mine)["f"].columns == {}
