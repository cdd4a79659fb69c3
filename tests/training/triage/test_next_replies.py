from __future__ import annotations

import json

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from tactful.reading.tasks import Task, Tasks
from tactful_training.commands.data import app
from tactful_training.data.data_set import load_data_set
from tactful_training.data.row_files import scan_rows
from tactful_training.errors import DataError
from tactful_training.triage.next_replies import (
    choose_next,
    draw,
    few_rows,
    semantic_vectors,
    uncertainty,
    write_next,
)

TASKS = Tasks(
    (
        Task("moves", "multilabel", {"sorry": "", "thanks": ""}),
        Task("mood", "single", {"good": "", "bad": ""}),
    )
)


@pytest.fixture
def pool(data_set, tmp_path):
    """The test split of the synthetic set, its labels hidden."""
    rows = [json.loads(line) for line in (data_set / "test.jsonl").open()]
    kept = [{name: row[name] for name in ("id", "reply", "context")} for row in rows]
    path = tmp_path / "pool.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in kept))
    return path


@pytest.fixture
def few(data_set, data_set_writer, tmp_path):
    """A set of which a part is labelled."""
    rows = [json.loads(line) for line in (data_set / "train.jsonl").open()][:40]
    tasks = [{"name": t.name, "kind": t.kind, "labels": dict(t.labels)}
             for t in load_data_set(data_set).tasks]  # fmt: skip
    return data_set_writer(tmp_path / "few", {"train": rows}, tasks)


def test_a_batch_is_new_distinct_and_the_same_every_time(pool, few):
    batch = choose_next(pool, few, count=12)
    ids = [each.row.id for each in batch.replies]
    assert len(set(ids)) == len(ids) == 12
    assert batch.suggested_by == "light heads"
    assert {each.why.partition(":")[0] for each in batch.replies} == {"unsure", "rare"}
    assert choose_next(pool, few, count=12).to_dict() == batch.to_dict()
    doubt = [each.uncertainty for each in batch.replies]
    assert doubt == sorted(doubt, reverse=True)


def test_what_the_set_holds_is_not_chosen_again(pool, few):
    held = [json.loads(line) for line in (few / "train.jsonl").open()]
    with pool.open("a") as file:
        for row in held:
            file.write(json.dumps({"id": f"x{row['id']}", "reply": row["reply"].upper(),
                                   "context": row["context"]}) + "\n")  # fmt: skip
    chosen = choose_next(pool, few, count=1000)
    assert not any(each.row.id.startswith("x") for each in chosen.replies)
    assert chosen.left == 0
    pool.write_text(json.dumps({"id": "1", **{k: held[0][k] for k in ("reply", "context")}}) + "\n")
    with pytest.raises(DataError, match=r"holds no reply that .* does not hold already"):
        choose_next(pool, few)


def test_suggested_labels_are_marked_and_read_back(pool, few, tmp_path):
    batch = choose_next(pool, few, count=5)
    tasks = load_data_set(few).tasks
    for name in ("next.csv", "next.jsonl"):
        write_next(batch, tmp_path / name)
        rows = scan_rows(tmp_path / name, tasks).usable()
        assert [row.labels for row in rows] == [each.row.labels for each in batch.replies]
        assert {row.columns["suggested_by"] for row in rows} == {"light heads"}


def test_a_bundle_suggests_labels_with_evidence(sound_bundle, data_set_writer, tmp_path):
    tasks = [
        {"name": "strategies", "kind": "multilabel",
         "labels": {"apology": "", "gratitude": "", "next_step": ""}},
        {"name": "tone", "kind": "single", "labels": {"warm": "", "neutral": ""}},
    ]  # fmt: skip
    folder = data_set_writer(tmp_path / "empty", {}, tasks)
    pool = tmp_path / "pool.csv"
    pool.write_text("reply\nI am so sorry\nthe parcel is late\nthanks friend\n")
    batch = choose_next(pool, folder, bundle=str(sound_bundle))
    assert batch.suggested_by.startswith("tiny@")
    said = {each.row.reply: each.row for each in batch.replies}
    assert said["I am so sorry"].labels["strategies"] == ("apology",)
    [span] = said["I am so sorry"].evidence
    assert "sorry" in "I am so sorry"[span.start : span.end]


def test_without_labels_the_batch_is_spread_over_what_replies_talk_about(data_set_writer, tmp_path):
    tasks = [{"name": "mood", "kind": "single", "labels": {"good": "", "bad": ""}}]
    folder = data_set_writer(tmp_path / "empty", {}, tasks)
    topics = [
        "the parcel went to the wrong door",
        "your card was charged twice",
        "reset the router",
    ]
    lines = [f"{topic} {extra}" for topic in topics for extra in ("today", "again", "now", "sir")]
    pool = tmp_path / "pool.csv"
    pool.write_text("reply\n" + "\n".join(lines) + "\n")
    batch = choose_next(pool, folder, count=3)
    assert batch.suggested_by == ""
    assert {each.why for each in batch.replies} == {"new"}
    assert {" ".join(each.row.reply.split()[:-1]) for each in batch.replies} == set(topics)


def test_uncertainty_is_entropy_by_task():
    scores = np.array([[0.5, 0.5, 0.5, 0.5], [0.0, 1.0, 1.0, 0.0], [0.5, 0.0, 1.0, 0.0]])
    assert uncertainty(scores, TASKS) == pytest.approx([1, 0, 0.25], abs=1e-6)
    scores[:, 2:] = np.nan  # a task that the model does not know
    assert uncertainty(scores, TASKS) == pytest.approx([1, 0, 0.5], abs=1e-6)


def test_replies_that_look_like_rare_labels_have_a_part_of_the_batch():
    scores = np.full((40, 4), 0.01)
    scores[:, 2] = 0.99
    scores[:10, 0] = 0.5
    scores[[20, 30], 1] = 0.9
    vectors = semantic_vectors([f"reply {number} {number % 7}" for number in range(40)], 0)
    chosen = dict(draw(vectors, scores, TASKS, {1: 3}, 10, 0))
    assert [at for at, why in chosen.items() if why == "rare: thanks"][:2] == [20, 30] or {
        at for at, why in chosen.items() if why == "rare: thanks"
    } >= {20, 30}
    assert len(chosen) == 10


def test_few_rows_counts_what_is_labelled(few):
    data = load_data_set(few)
    counts = few_rows(data.split("train"), data.tasks)
    assert list(counts.values()) == sorted(counts.values())
    assert len(counts) == data.tasks.size
    assert len(few_rows([], data.tasks)) == data.tasks.size


def test_the_command(pool, few, tmp_path):
    root = typer.Typer()
    root.add_typer(app, name="data")
    arguments = ["data", "next", str(pool), str(tmp_path / "next.csv"), "--data", str(few)]
    result = CliRunner().invoke(root, [*arguments, "--count", "4"])
    assert result.exit_code == 0, result.output
    assert "4 replies to label next" in result.stdout
    assert (tmp_path / "next.csv").read_text("utf-8-sig").startswith("id,suggested_by,why,")
    with pytest.raises(DataError, match="count is 0"):
        choose_next(pool, few, count=0)
