from __future__ import annotations

import itertools
import json
import random
from collections import Counter

import pytest

from tactful_training.data.data_set import SPLITS, load_data_set
from tactful_training.data.splitting import split_data
from tactful_training.errors import DataError

CARD = """---
tasks:
- {name: moves, kind: multilabel, labels: {sorry: '', thanks: '', rare: ''}}
- {name: mood, kind: single, labels: {good: '', bad: ''}}
---
"""


def rows_of(count, *, start=0, seed=7):
    choice = random.Random(seed)
    words = ["".join(pair) for pair in itertools.product("bcdfghjklmnpqrstvwxz", "aeiou", "lmnr")]
    rows = []
    for number in range(start, start + count):
        moves = [m for m, p in (("sorry", 0.4), ("thanks", 0.2), ("rare", 0.05))
                 if choice.random() < p]  # fmt: skip
        rows.append(
            {
                "id": f"r{number}",
                "group": f"g{number // 3}",
                "reply": " ".join(choice.sample(words, 12)),
                "labels": {"moves": moves, "mood": choice.choice(["good", "bad"])},
            }
        )
    return rows


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "mine"
    made.mkdir()
    (made / "README.md").write_text(CARD)
    return made


def places(folder):
    data = load_data_set(folder)
    return {row.id: split for split in data.files for row in data.split(split)}


def test_groups_stay_whole_and_every_label_is_in_every_split_by_its_share(folder):
    rows = rows_of(1500)
    done = split_data(write(folder / "rows.jsonl", rows), shares=(0.6, 0.2, 0.2))
    assert sum(done.added.values()) == len(rows)
    placed = places(folder)
    by_group = {}
    for row in rows:
        assert by_group.setdefault(row["group"], placed[row["id"]]) == placed[row["id"]]
    for task, labels in done.counts["train"].labels.items():
        for label in labels:
            counts = [done.counts[split].labels[task][label] for split in SPLITS]
            shares = [count / sum(counts) for count in counts]
            assert shares == pytest.approx([0.6, 0.2, 0.2], abs=0.03), label


def test_the_order_of_rows_plays_no_part_and_the_seed_does(folder, tmp_path):
    rows = rows_of(300)
    split_data(write(tmp_path / "rows.jsonl", rows), folder)
    random.Random(1).shuffle(rows)
    for name, seed, same in (("other", 13, True), ("third", 14, False)):
        again = tmp_path / name
        again.mkdir()
        (again / "README.md").write_text(CARD)
        split_data(write(tmp_path / f"{name}.jsonl", rows), again, seed=seed)
        assert (places(again) == places(folder)) is same


def test_rows_that_are_added_leave_the_others_where_they_are_to_the_byte(folder, tmp_path):
    first, more = rows_of(150), rows_of(90, start=150, seed=8)
    more[0]["group"] = first[0]["group"]  # a late reply to a context that is placed
    split_data(write(tmp_path / "rows.jsonl", first), folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    done = split_data(write(tmp_path / "rows.jsonl", [*more, *first]), folder)
    assert (done.present, sum(done.added.values())) == (150, 90)
    for name, content in before.items():
        assert (folder / name).read_bytes().startswith(content)
    placed = places(folder)
    assert placed[more[0]["id"]] == placed[first[0]["id"]]
    again = split_data(tmp_path / "rows.jsonl", folder)
    assert sum(again.added.values()) == 0


def test_replies_that_are_nearly_the_same_stay_together(folder, tmp_path):
    rows = rows_of(60)
    for row in rows:
        row["group"] = row["id"]
    twins = [
        {**row, "id": f"{row['id']}-b", "group": f"{row['id']}-b", "reply": row["reply"] + " ok"}
        for row in rows
    ]
    done = split_data(write(tmp_path / "rows.jsonl", [*rows, *twins]), folder)
    placed = places(folder)
    assert all(placed[row["id"]] == placed[f"{row['id']}-b"] for row in rows)
    assert done.joined == 60
    assert Counter(placed.values())["test"] > 0


def test_formulas_do_not_tie_groups_together(folder, tmp_path):
    rows = rows_of(60)
    for row in rows:
        row |= {"group": row["id"], "reply": "You are welcome!", "context": row["reply"]}
    done = split_data(write(tmp_path / "rows.jsonl", rows), folder)
    assert done.joined == 0


def test_a_column_says_where_a_row_belongs(folder, tmp_path):
    rows = [row | {"group": row["id"]} for row in rows_of(30)]
    for row in rows[:3]:
        row["split"] = "test"
    split_data(write(tmp_path / "rows.jsonl", rows), folder, shares=(1, 0, 0))
    placed = places(folder)
    assert [row["id"] for row in rows if placed[row["id"]] == "test"] == ["r0", "r1", "r2"]
    assert "split" not in json.loads((folder / "test.jsonl").read_text().splitlines()[0])


def test_a_table_becomes_jsonl_that_says_the_same(folder, tmp_path):
    (tmp_path / "rows.csv").write_text(
        "id,reply,moves,mood,channel\n1,so sorry,sorry|thanks,bad,x\n"
    )
    split_data(tmp_path / "rows.csv", folder, shares=(1, 0, 0))
    [row] = load_data_set(folder).split("train")
    assert row.labels == {"moves": ("sorry", "thanks"), "mood": "bad"}
    assert row.columns == {"channel": "x"}


def test_the_card_beside_the_rows_is_taken_where_the_folder_has_none(folder, tmp_path):
    made = tmp_path / "new"
    made.mkdir()
    split_data(write(folder / "rows.jsonl", rows_of(30)), made)
    assert (made / "README.md").read_text() == CARD


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"labels": {"moves": [], "mood": None}},
            "'r0' is in .* with another text or other labels",
        ),
        ({"id": "new", "split": "dev"}, "has split 'dev'; allowed: train, validation, test"),
    ],
)
def test_what_contradicts_the_set_is_refused_and_nothing_written(folder, tmp_path, change, message):
    rows = rows_of(30)
    split_data(write(tmp_path / "rows.jsonl", rows), folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(DataError, match=message):
        split_data(
            write(tmp_path / "rows.jsonl", [*rows_of(9, start=90), rows[0] | change]), folder
        )
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_group_that_is_told_two_splits_is_refused(folder, tmp_path):
    rows = rows_of(3)
    rows[0]["split"], rows[1]["split"] = "train", "test"
    with pytest.raises(DataError, match="are to be in train and in test"):
        split_data(write(tmp_path / "rows.jsonl", rows), folder)


def test_other_uses_are_named(folder, tmp_path):
    rows = write(tmp_path / "rows.jsonl", rows_of(3))
    with pytest.raises(DataError, match="shares are 1, 0; give three numbers"):
        split_data(rows, folder, shares=(1, 0))
    with pytest.raises(DataError, match="is no folder; make it"):
        split_data(rows, tmp_path / "none")
    with pytest.raises(DataError, match=r"is a split of .* already"):
        split_data(write(folder / "train.jsonl", rows_of(3)))
    (folder / "train.jsonl").unlink()
    (folder / "train.csv").write_text("id,reply,moves,mood\n1,a,,good\n")
    with pytest.raises(DataError, match=r"is no \.jsonl file, to which rows could be added"):
        split_data(rows, folder)
