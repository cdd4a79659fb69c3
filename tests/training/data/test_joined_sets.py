from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tactful_training.data.data_set import load_data_set
from tactful_training.data.joined_sets import JoinedSets, join_sets
from tactful_training.errors import DataError

MOOD = {"name": "mood", "kind": "single", "labels": {"happy": "", "sad": ""}}
TOPIC = {"name": "topic", "kind": "multilabel", "labels": {"billing": "", "delivery": ""}}
Write = Callable[..., Path]


def rows(mark: str, labels: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    return {
        split: [
            {"id": f"{n}", "group": "g", "reply": f"{mark} {split} {word}", "labels": labels}
            for n, word in enumerate(("one", "two"))
        ]
        for split in ("train", "validation", "test")
    }


def joined(*folders: Path, weights: tuple[float, ...] = (1.0, 3.0)) -> JoinedSets:
    return join_sets([(load_data_set(f), w) for f, w in zip(folders, weights, strict=False)])


@pytest.fixture
def sets(tmp_path: Path, data_set_writer: Write) -> tuple[Path, Path]:
    """Two that share a task; only the second has the other one."""
    one = data_set_writer(tmp_path / "a/set", rows("a", {"mood": "sad"}), [MOOD])
    both = {"topic": ["billing"], "mood": "happy"}
    two = data_set_writer(tmp_path / "b/set", rows("b", both), [TOPIC, MOOD])
    return one, two


def test_splits_join_set_after_set_and_what_a_set_lacks_is_unknown(
    sets: tuple[Path, Path],
) -> None:
    data = joined(*sets)
    found = data.splits(())
    assert [task.name for task in data.tasks] == ["mood", "topic"]
    assert found.sizes == dict.fromkeys(("train", "validation", "test"), (2, 2))
    assert [row.id for row in found.rows["test"]] == ["set/0", "set/1", "set-2/0", "set-2/1"]
    assert [row.labels["topic"] for row in found.rows["train"]] == [None, None, *[("billing",)] * 2]
    assert {row.group for row in found.rows["train"]} == {"set/g", "set-2/g"}
    assert data.name == "set+set-2"
    assert set(data.digests) == {
        f"{name}/{file}"
        for name in ("set", "set-2")
        for file in ("README.md", "train.jsonl", "validation.jsonl", "test.jsonl")
    }
    assert np.allclose(data.weights(found.sizes["train"]), [0.5, 0.5, 1.5, 1.5])
    assert [each["weight"] for each in data.to_json()["sets"]] == [1.0, 3.0]


def test_a_train_row_that_another_set_measures_on_is_left_out_and_named(
    tmp_path: Path, sets: tuple[Path, Path], data_set_writer: Write
) -> None:
    copied = rows("c", {"mood": "sad"})
    copied["train"][1]["reply"] = "A: test,  two"  # the same words as one of the first set
    found = joined(sets[0], data_set_writer(tmp_path / "own", copied, [MOOD])).splits(())
    assert found.left_out == ("train row 'own/1' is test row 'set/1'",)
    assert found.sizes["train"] == (2, 1)


def test_tasks_that_differ_are_refused_with_every_difference(
    tmp_path: Path, sets: tuple[Path, Path], data_set_writer: Write
) -> None:
    other = {"name": "mood", "kind": "single", "labels": {"happy": "", "unhappy": ""}}
    renamed = data_set_writer(tmp_path / "new", rows("n", {"mood": "unhappy"}), [other])
    with pytest.raises(DataError, match=r"labels only in .*set: sad(.|\n)*new: unhappy") as caught:
        joined(sets[0], renamed)
    assert "rename" in str(caught.value)
    with pytest.raises(DataError, match="more than once"):
        joined(sets[0], sets[0])


def test_gaps_may_name_a_task_of_any_set(sets: tuple[Path, Path]) -> None:
    data = joined(*sets)
    assert data.splits(["topic"]).rows
    with pytest.raises(DataError, match="unknown task 'topics'; did you mean 'topic'"):
        data.splits(["topics"])


def test_cards_join(tmp_path: Path, sets: tuple[Path, Path]) -> None:
    card = sets[1] / "README.md"
    card.write_text(
        card.read_text("utf-8").replace("license: cc0-1.0", "license: mit\nversion: 1.2.0"), "utf-8"
    )
    data = joined(*sets)
    assert data.front_matter == {
        "language": ["en"],
        "license": "other",
        "license_name": "set: cc0-1.0; set-2: mit",
    }
    assert [member.version for member in data.members] == [None, "1.2.0"]
    alone = joined(sets[1])
    assert alone.to_json()["version"] == "1.2.0"
    assert alone.digests == load_data_set(sets[1]).digests
