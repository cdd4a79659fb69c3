"""Label sets of other shapes, as strangers bring them: plain JSONL, a card, and a few --set."""

from __future__ import annotations

import io
import json
import random
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient
from rich.console import Console

from tactful import Classifier
from tactful_training.config.config_schema import Config
from tactful_training.evaluation.evaluation_results import headline
from tactful_training.run_summary import print_summary
from tactful_training.training_run import TrainingResult, train

Make = Callable[..., Config]
Rows = dict[str, list[dict[str, Any]]]

INTENTS = [f"intent {number}: what's-up_{number}" for number in range(38)]
INTENTS += ["[/red] $x^ {$", "Hold Before Answer/Agreement"]
FLAGS = ["Maybe/Accept-part", "offers (", "offers )", "never"]
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.?!,"
PATIENCE = 60.0


def intents() -> Rows:
    """One label of 40 for each row and nothing else; some classes are only in one split."""
    choice = random.Random(1)
    rows: Rows = {}
    for split, size in (("train", 160), ("validation", 60), ("test", 60)):
        rows[split] = []
        for number in range(size):
            label = (number if split == "train" else number % 37 + 3) % 40
            text = " ".join([LETTERS[label]] * 3 + choice.sample(LETTERS, 2))
            rows[split].append(
                {
                    "id": f"{split}{number}",
                    "reply": text,
                    "labels": {"intent": INTENTS[label]},
                }
            )
    return rows


def flags() -> Rows:
    """Utterances of dialogues with any number of flags, usually none; one flag never occurs."""
    choice = random.Random(2)
    rows: Rows = {}
    for split, size in (("train", 120), ("validation", 60), ("test", 60)):
        rows[split] = []
        for number in range(size):
            labels = [flag for flag in FLAGS[:3] if choice.random() < 0.25]
            text = " ".join([FLAGS.index(flag) * "z" + "q" for flag in labels] + ["the page"])
            rows[split].append(
                {
                    "id": f"{split}{number}",
                    "group": f"{split}-dialogue-{number // 6}",
                    "context": None if number % 6 == 5 else "see the page",
                    "reply": text,
                    "labels": {"act_flags": labels},
                    "speaker": choice.choice(["agent", "customer"]),
                }
            )
    return rows


SHAPES = {
    "intent": (intents, [{"name": "intent", "kind": "single", "labels": INTENTS}]),
    "act_flags": (flags, [{"name": "act_flags", "kind": "multilabel", "labels": FLAGS}]),
}


@pytest.fixture(scope="module", params=SHAPES)
def trained(
    request: pytest.FixtureRequest,
    make_config: Make,
    data_set_writer: Callable[..., Path],
    mlflow_template: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, Path, TrainingResult]:
    """Task, working folder and result of a training that names the data set and nothing else."""
    task = request.param
    make, tasks = SHAPES[task]
    place = tmp_path_factory.mktemp(task)
    described = [{**each, "labels": dict.fromkeys(each["labels"], "")} for each in tasks]
    folder = data_set_writer(place / "mine", make(), described)
    config = make_config(data__folder=str(folder), name="mine", tracking__register_model="false")
    shutil.copy(mlflow_template, place / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        result = train(config, place / "models/mine", console=Console(file=io.StringIO()))
    return task, place, result


def tactful(place: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tactful.cli", *arguments],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_learns_is_not_registered_and_says_what_it_is(
    trained: tuple[str, Path, TrainingResult],
) -> None:
    task, place, result = trained
    assert result.registration is None
    assert result.bundle.startswith("mine@")
    card = (place / "models/mine/README.md").read_text("utf-8")
    labels = INTENTS if task == "intent" else FLAGS
    assert all(label in card for label in labels)
    assert f"{task}: macro F1" in card
    said = io.StringIO()
    print_summary(result, Console(file=said, width=80))
    names = {name for each in result.evaluations.values() for name in headline(each)}
    assert f"{task}/macro_f1_all" in names
    first_words = [(line.split() or [""])[0] for line in said.getvalue().splitlines()]
    assert names <= set(first_words)
    assert "…" not in said.getvalue()
    if task == "act_flags":
        assert "context: see the page" in said.getvalue()
    figures = result.evaluations["test"].tasks[task]
    assert len(figures.labels) == len(labels)


def test_the_run_has_a_metric_for_every_label_and_all_figures(
    trained: tuple[str, Path, TrainingResult],
) -> None:
    task, place, result = trained
    client = MlflowClient(f"sqlite:///{place / 'mlflow.db'}")
    metrics = client.get_run(result.tracking_run).data.metrics
    found = [name for name in metrics if re.fullmatch(f"test/{task}/labels/[^/]+/support", name)]
    assert len(found) == (40 if task == "intent" else 4)
    if task == "act_flags":
        results = result.evaluations["test"].tasks[task].labels
        expected = sorted(results[label].support for label in FLAGS)
        assert sorted(metrics[name] for name in found) == expected
    figures = [each.path for each in client.list_artifacts(result.tracking_run, "figures/test")]
    assert f"figures/test/{task}_precision_recall.png" in figures
    assert "figures/test/reliability.png" in figures


def test_thresholds_are_chosen_for_labels_of_any_name(
    trained: tuple[str, Path, TrainingResult],
) -> None:
    task, place, _ = trained
    if task == "intent":
        pytest.skip("a task of exactly one label has no thresholds")
    options = ("thresholds", "--bundle", "models/mine", "--data", "mine", "--json")
    for name, out in (("Maybe/Accept-part", "one"), ("act_flags/Maybe/Accept-part", "two")):
        policy = f"{name}: recall>=0.5"
        content = json.loads(tactful(place, *options, "--policy", policy, "--out", out))
        [chosen] = content["thresholds"]
        assert (chosen["task"], chosen["label"]) == (task, "Maybe/Accept-part")
        assert content["left_out"] == []
        assert Classifier.load(place / out).bundle.id == content["bundle"]
    content = json.loads(tactful(place, *options, "--policy", "*: recall>=0.5", "--out", "all"))
    assert [each["label"] for each in content["thresholds"]] == FLAGS[:3]
    assert content["left_out"] == [{"task": task, "label": "never", "support": 0}]


def test_a_reading_has_the_task_as_an_attribute_and_in_json(
    trained: tuple[str, Path, TrainingResult],
) -> None:
    task, place, _ = trained
    reading = Classifier.load(place / "models/mine").classify("q zq the page")
    content = json.loads(tactful(place, "label", "--bundle", "models/mine", "--json", "q zq"))
    assert list(content["labels"]) == list(content["scores"]) == [task]
    if task == "intent":
        assert reading.intent.label in INTENTS
        assert len(content["scores"]["intent"]) == 40
    else:
        assert {each.label for each in reading.act_flags} <= set(FLAGS)
    shown = tactful(place, "label", "--bundle", "models/mine", "q zq the page")
    assert "q zq the page" in shown


def test_it_is_evaluated(trained: tuple[str, Path, TrainingResult]) -> None:
    task, place, _ = trained
    options = ("evaluate", "--bundle", "models/mine", "--data", "mine")
    content = json.loads(tactful(place, *options, "--json"))
    rare = [label for label, each in content[task]["labels"].items() if each["too_rare"]]
    assert content["evidence"] is None
    assert {"value", "low", "high"} == set(content[task]["macro_f1_all"])
    shown = tactful(place, *options)
    assert "macro F1 of all labels" in shown
    if task == "intent":
        assert len(rare) == 40  # one or two rows of each
        assert "intent: most frequent mistakes" in shown
        assert "…" not in shown
        assert content[task]["macro_f1"]["value"] is None
        assert 0 <= content[task]["macro_f1_all"]["value"] <= 1
    else:
        assert rare == ["never"]
        assert content["slices"]["tasks"][task]["speaker"].keys() == {"agent", "customer"}
        assert content[task]["macro_f1_all"] == content[task]["macro_f1"]  # "never" has no F1


def test_a_table_is_scored(trained: tuple[str, Path, TrainingResult]) -> None:
    task, place, _ = trained
    tactful(place, "score", "mine/test.jsonl", "scored.jsonl", "--bundle", "models/mine")
    lines = (place / "scored.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert len(rows) == 60
    assert all(row["error"] is None for row in rows)
    kind = str if task == "intent" else list
    assert all(isinstance(row[task], kind) for row in rows)
    tactful(place, "score", "mine/test.jsonl", "scored.csv", "--bundle", "models/mine")
    header = (place / "scored.csv").read_text("utf-8").splitlines()[0]
    assert f",{task}," in f",{header},"


def test_it_is_served(trained: tuple[str, Path, TrainingResult]) -> None:
    pytest.importorskip("uvicorn")
    task, place, _ = trained
    log = place / "service.log"
    command = [sys.executable, "-m", "tactful.cli", "serve", "--bundle", "models/mine"]
    with log.open("wb") as file:
        process = subprocess.Popen([*command, "--port", "0"], cwd=place, stderr=file)
    try:
        end = time.monotonic() + PATIENCE
        while not (found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text("utf-8"))):
            assert time.monotonic() < end, log.read_text("utf-8")
            time.sleep(0.05)
        while True:
            try:
                with urllib.request.urlopen(f"{found[0]}/readyz") as answer:
                    assert answer.status == 200
                break
            except OSError:
                assert time.monotonic() < end, log.read_text("utf-8")
                time.sleep(0.05)
        request = urllib.request.Request(
            f"{found[0]}/v1/label",
            data=json.dumps({"reply": "q zq the page"}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request) as answer:
            assert list(json.load(answer)["labels"]) == [task]
        with urllib.request.urlopen(f"{found[0]}/v1/bundle") as answer:
            assert task in answer.read().decode()
    finally:
        process.terminate()
        process.wait(PATIENCE)
