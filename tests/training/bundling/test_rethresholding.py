from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from tactful import Classifier
from tactful.reading.tasks import Task, Tasks
from tactful_training.bundling.rethresholding import next_version
from tactful_training.bundling.rethresholding_goals import (
    choose_by_goals,
    read_goals,
    too_rare,
    unmet,
)
from tactful_training.commands.thresholds import thresholds
from tactful_training.data.labelled_row import Row
from tactful_training.errors import ConfigError, DataError
from tactful_training.evaluation.decisions_on_rows import Answers

TASKS = Tasks(
    (
        Task("strategies", "multilabel", {"apology": "", "gratitude": ""}),
        Task("tone", "single", {"warm": "", "cold": ""}),
    )
)


def answers(count: int = 400) -> Answers:
    """Scores of apology that mean something; gratitude is never right."""
    random = np.random.default_rng(1)
    scores = random.random((count, 4))
    truth = random.random(count) < scores[:, 0]
    rows = [
        Row(
            f"r{i}",
            "a reply",
            None,
            f"g{i // 2}",
            {"strategies": ("apology",) if truth[i] else ("gratitude",) * (i < 5), "tone": None},
            (),
            {},
        )
        for i in range(count)
    ]
    known = {("strategies", "apology"): 0.5, ("strategies", "gratitude"): 0.5}
    return Answers(rows, TASKS, scores, scores > 0.5, None, known)


@pytest.mark.parametrize(("figure", "least"), [("precision", 0.9), ("recall", 0.9)])
def test_the_threshold_meets_its_goal_and_is_the_best_that_does(figure: str, least: float) -> None:
    data = answers()
    [chosen] = choose_by_goals(
        read_goals([f"apology: {figure}>={least}"], TASKS), data, resamples=100
    )
    assert chosen.threshold is not None
    truth, scores = data.truth[:, 0] == 1, data.scores[:, 0]

    def measure(threshold: float) -> tuple[float, float]:
        decided = scores >= threshold
        return float(truth[decided].mean()), float(decided[truth].mean())

    precision, recall = measure(chosen.threshold)
    asked, other = (precision, recall) if figure == "precision" else (recall, precision)
    assert asked >= least
    for threshold in np.unique(scores):
        found = measure(threshold)
        a, o = found if figure == "precision" else found[::-1]
        assert a < least or o <= other + 1e-12
    estimate = chosen.figures[figure]
    assert estimate.value == pytest.approx(asked)
    assert estimate.low < estimate.value <= estimate.high
    assert chosen.figures["rate"].value == pytest.approx((scores >= chosen.threshold).mean())


def test_a_goal_that_cannot_be_met_says_what_comes_nearest() -> None:
    data = answers()
    truth = data.truth[:, 0] == 1
    data.scores[:, 0] = np.where(truth, 0.2, np.linspace(0.3, 0.9, len(truth)))  # all wrong
    chosen = choose_by_goals(read_goals(["apology: precision>=0.99"], TASKS), data, resamples=20)
    assert chosen[0].threshold is None
    assert "no threshold reaches it on these rows" in unmet(chosen)[0]
    with pytest.raises(DataError, match="rows carry gratitude; at least 10"):
        choose_by_goals(read_goals(["gratitude: recall>=0.5"], TASKS), data)


def test_policies_are_texts_or_files_and_the_last_one_counts(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("'*': recall>=0.8\nstrategies/apology: precision >= 0.9\n")
    goals = {goal.label: goal for goal in read_goals([str(path), "gratitude: recall>=1"], TASKS)}
    assert str(goals["apology"]) == "strategies/apology: precision>=0.9"
    assert goals["gratitude"].least == 1
    assert len(read_goals(["*: recall>=0.8"], TASKS)) == 2
    for text, words in {
        "apology: f1>=0.9": "write precision>=0.9",
        "apology: precision>=1.5": "above 0 to 1",
        "apology": "write LABEL",
        "apology:recall>=0.5": "write LABEL",
        "apologie: recall>=0.5": "'apologie' is no label of the bundle: strategies/apology",
        "warm: recall>=0.5": "tone has exactly one label",
        str(tmp_path / "none.yaml"): "cannot be read",
    }.items():
        with pytest.raises(ConfigError, match=words):
            read_goals([text], TASKS)


def test_labels_of_any_name_can_be_meant(tmp_path: Path) -> None:
    names = ["Class 1: thank", "a/b", "*", "tone/warm", "[x]", "yes", "it's", "null", "\u00e9"]
    tasks = Tasks(
        (
            Task("acts", "multilabel", dict.fromkeys(names, "")),
            Task("tone", "multilabel", {"warm": ""}),
        )
    )
    for text, meant in {
        "Class 1: thank: precision>=0.9": ("acts", "Class 1: thank"),
        "'Class 1: thank': precision>=0.9": ("acts", "Class 1: thank"),
        "'it''s': precision>=0.9": ("acts", "it's"),
        "it's: precision>=0.9": ("acts", "it's"),
        "acts/Class 1: thank: precision>=0.9": ("acts", "Class 1: thank"),
        "a/b: precision>=0.9": ("acts", "a/b"),
        "acts/a/b: precision>=0.9": ("acts", "a/b"),
        "acts/*: precision>=0.9": ("acts", "*"),
        "tone/warm: precision>=0.9": ("tone", "warm"),
        "acts/tone/warm: precision>=0.9": ("acts", "tone/warm"),
        "[x]: precision>=0.9": ("acts", "[x]"),
        "yes: precision>=0.9": ("acts", "yes"),
        "null: precision>=0.9": ("acts", "null"),
        "e\u0301: precision>=0.9": ("acts", "\u00e9"),
    }.items():
        [goal] = read_goals([text], tasks)
        assert (goal.task, goal.label) == meant
    path = tmp_path / "policy.yaml"
    path.write_text("Class 1: thank: precision>=0.9\n")
    with pytest.raises(ConfigError, match=r"policy.yaml, line 1: .*'…' around a label that holds"):
        read_goals([str(path)], tasks)
    path.write_text("'Class 1: thank': precision>=0.9\n")
    assert [goal.label for goal in read_goals([str(path)], tasks)] == ["Class 1: thank"]
    path.write_text("null: precision>=0.9\n")
    with pytest.raises(ConfigError, match="put quotes around the label None"):
        read_goals([str(path)], tasks)
    path.write_text("'null': precision>=0.9\n")
    assert [goal.label for goal in read_goals([str(path)], tasks)] == ["null"]


def test_every_label_means_those_with_enough_rows() -> None:
    data = answers()
    goals = read_goals(["*: recall>=0.8"], TASKS)
    assert [each.goal.label for each in choose_by_goals(goals, data, resamples=20)] == ["apology"]
    assert {goal.label: rows for goal, rows in too_rare(goals, data).items()} == {"gratitude": 2}
    named = read_goals(["*: recall>=0.8", "gratitude: recall>=0.8"], TASKS)
    with pytest.raises(DataError, match="only 2 rows carry gratitude; at least 10"):
        choose_by_goals(named, data, resamples=20)
    data.truth[:] = 0
    with pytest.raises(DataError, match="no label has 10 rows or more"):
        choose_by_goals(goals, data, resamples=20)


def test_versions_count_up() -> None:
    assert next_version("0.1.9") == "0.1.10"
    assert next_version("spring") == "spring+1"
    assert next_version("spring+1") == "spring+2"


def run(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(thresholds)
    return CliRunner().invoke(app, list(map(str, arguments)))


def rows_file(path: Path, classifier: Classifier) -> Path:
    words = ["sorry", "thanks", "next", "friend", "parcel", "order", "call", "late", "glad", "you"]
    random = np.random.default_rng(2)
    lines: list[dict[str, Any]] = []
    for index in range(120):
        reply = " ".join(random.choice(words, 6))
        labels = [
            label
            for label, word in {
                "apology": "sorry",
                "gratitude": "thanks",
                "next_step": "next",
            }.items()
            if word in reply and random.random() < 0.9
        ]
        lines.append({"id": str(index), "reply": reply, "labels": {"strategies": labels}})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_the_new_bundle_decides_by_the_policy_and_is_sound(
    bundle_copy: Path, classifier: Classifier, rehash: Callable[..., None], tmp_path: Path
) -> None:
    file = rows_file(tmp_path / "rows.jsonl", classifier)
    arguments = ["--bundle", bundle_copy, "--data", file, "--policy", "apology: recall>=0.95"]
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.exception or result.output
    content = json.loads(result.stdout)
    [found] = content["thresholds"]
    assert found["met"]
    assert found["recall"]["value"] >= 0.95
    out = Path(content["out"])
    assert out == bundle_copy.with_name("copy-0.1.1")
    new = Classifier.load(out, threads=1)
    assert new.bundle.id == content["bundle"] != Classifier.load(bundle_copy).bundle.id
    assert new.bundle.manifest["version"] == "0.1.1"
    assert new.bundle.manifest["derived_from"] == classifier.bundle.id
    old_head, new_head = classifier.bundle.heads.heads[0], new.bundle.heads.heads[0]
    assert old_head.thresholds is not None
    assert new_head.thresholds is not None
    assert float(new_head.thresholds[0]) == pytest.approx(found["threshold"])
    assert new_head.thresholds[1:].tolist() == old_head.thresholds[1:].tolist()
    assert "recall >= 0.95" in new.bundle.card
    # What the file says it does is what the new bundle does.
    hits = total = 0
    for line in file.read_text().splitlines():
        row = json.loads(line)
        if "apology" in row["labels"]["strategies"]:
            total += 1
            hits += "apology" in [each.label for each in new.classify(row["reply"]).strategies]
    assert hits / total == pytest.approx(found["recall"]["value"])
    # What reports measure by goes along: how it reads now, and no rate of what is decided anew.
    known = {"labels": {"strategies": {"apology": 9, "gratitude": 5}}, "replies": 20}
    rehash(bundle_copy, reliability={"n": 7}, reference=known)
    assert "recall" in run(*arguments, "--out", tmp_path / "again").stdout
    manifest = json.loads((tmp_path / "again/manifest.json").read_bytes())
    measured = manifest["reliability"]["strategies"]["labels"]["apology"]
    assert measured["recall"] == pytest.approx(found["recall"]["value"], abs=1e-6)
    assert manifest["reference"] == {"labels": {"strategies": {"gratitude": 5}}, "replies": 20}


def test_nothing_is_written_where_a_goal_is_not_met(bundle_copy: Path, tmp_path: Path) -> None:
    lines = [
        {"id": str(i), "reply": "sorry" if i % 2 else "sorry friend", "labels": {"strategies": s}}
        for i in range(40)
        for s in ([["apology"], []][i % 4 > 1],)
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    out = tmp_path / "out"
    result = run(
        *("--bundle", bundle_copy, "--data", file, "--out", out),
        *("--policy", "apology: precision>=0.99"),
    )
    assert result.exit_code == 1
    assert "no threshold reaches it" in result.output
    assert not out.exists()


def test_thresholds_need_no_torch() -> None:
    program = "import sys, tactful_training.bundling.rethresholding; print(*sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert not {"torch", "transformers"} & set(ran.stdout.split())
