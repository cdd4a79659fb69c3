"""Registered models of real trainings: challenger and champion, promoted, held and refused."""

from __future__ import annotations

import io
import json
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import typer
import yaml
from click.testing import Result
from mlflow.tracking import MlflowClient
from rich.console import Console
from typer.testing import CliRunner

from tactful import BundleError, Classifier
from tactful.bundle.writing import write_bundle
from tactful.reading.tasks import Task, Tasks
from tactful_training.commands.compare import compare
from tactful_training.commands.evaluate import evaluate
from tactful_training.commands.promote import promote
from tactful_training.commands.thresholds import thresholds
from tactful_training.config.config_schema import Config
from tactful_training.errors import ConfigError, DataError, RunError
from tactful_training.registry.model_registration import register
from tactful_training.registry.promotion import _lock
from tactful_training.registry.promotion_policy import load_policy
from tactful_training.run_summary import registration_lines
from tactful_training.training_run import TrainingResult, train

FLOORS = {"moves/micro_f1": 0.6, "mood/accuracy": 0.6}


def policy_of(data: Path) -> dict[str, Any]:
    return {
        "data": str(data),
        "split": "test",
        "floors": FLOORS,
        "overall": {"moves/micro_f1": {"gain": 0.01}, "mood/accuracy": {"margin": 0.05}},
        "labels": {"max_drop": 0.1},
        "calibration": {"max_error": 0.5, "max_increase": 0.3},
        "speed": {"max_slowdown": 20.0, "max_growth": 2.0},
    }


def shuffled(folder: Path, data: Path, writer: Callable[..., Path]) -> Path:
    """The same replies with the labels of others."""
    rows = {}
    for split in ("train", "validation", "test"):
        lines = [json.loads(line) for line in (data / f"{split}.jsonl").read_text().splitlines()]
        labels = [line["labels"] for line in lines]
        random.Random(3).shuffle(labels)
        rows[split] = [
            {**line, "labels": each, "evidence": []}
            for line, each in zip(lines, labels, strict=True)
        ]
    tasks = yaml.safe_load((data / "README.md").read_text().split("---")[1])["tasks"]
    return writer(folder, rows, tasks)


@pytest.fixture(scope="module")
def place(
    make_config: Callable[..., Config],
    data_set: Path,
    data_set_writer: Callable[..., Path],
    mlflow_template: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, Any]]:
    """A working folder with three registered versions: good, as good, and of shuffled labels."""
    folder = tmp_path_factory.mktemp("registry")
    shutil.copy(mlflow_template, folder / "mlflow.db")
    (folder / "configs").mkdir()
    (folder / "configs/promotion.yaml").write_text(yaml.safe_dump(policy_of(data_set)))
    noise = shuffled(folder / "noise", data_set, data_set_writer)
    uri = mlflow.get_tracking_uri()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.5")
        results: dict[str, TrainingResult] = {}
        for name, settings in {
            "good": {"seed": 1},
            "equal": {"seed": 2},
            "bad": {"seed": 3, "data__folder": str(noise)},
        }.items():
            config = make_config(training__epochs=8, **settings)
            results[name] = train(config, folder / name, console=Console(file=io.StringIO()))
            assert results[name].registration is not None, name
        yield {"folder": folder, "client": MlflowClient(f"sqlite:///{folder}/mlflow.db"), **results}
    mlflow.set_tracking_uri(uri)


@pytest.fixture
def here(place: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The working folder again, the good one being champion."""
    monkeypatch.chdir(place["folder"])
    mlflow.set_tracking_uri(f"sqlite:///{place['folder']}/mlflow.db")
    place["client"].set_registered_model_alias("tactful", "champion", "1")
    return place


def champion(place: dict[str, Any]) -> str:
    return str(place["client"].get_model_version_by_alias("tactful", "champion").version)


def run(command: Callable[..., None], *arguments: str) -> Result:
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, list(arguments))


def decided(*arguments: str) -> tuple[int, dict[str, Any]]:
    result = run(promote, *arguments, "--json")
    assert result.stdout, result.exception
    return result.exit_code, json.loads(result.stdout)


def test_the_first_that_reaches_the_floors_is_champion_and_later_ones_challenge(
    here: dict[str, Any],
) -> None:
    first, second, third = (here[name].registration for name in ("good", "equal", "bad"))
    assert (first.version, first.champion) == ("1", True)
    assert (second.version, second.champion, list(second.obstacles)) == ("2", False, [])
    assert "tactful promote" in registration_lines(second)[1]
    assert third.version == "3"
    client: MlflowClient = here["client"]
    version = client.get_model_version_by_alias("tactful", "challenger")
    assert str(version.version) == "3"
    made = client.get_model_version("tactful", "1")
    assert f"runs/{here['good'].tracking_run}" in made.description
    assert "moves/micro_f1: " in made.description
    assert made.tags["bundle"] == here["good"].bundle


MOVES = Task("moves", "multilabel", {"question": "", "sorry": "", "thanks": ""})
URGENCY = Task("urgency", "single", {"low": "", "high": ""})


@pytest.mark.parametrize(
    ("tasks", "challenges"),
    [
        ((URGENCY,), False),
        ((replace(MOVES, labels={**MOVES.labels, "more": ""}), URGENCY), False),
        ((URGENCY, MOVES), True),
    ],
    ids=["other tasks", "other labels", "one task more"],
)
@pytest.mark.parametrize("crowned", [True, False], ids=["champion", "no champion"])
def test_a_model_that_cannot_be_compared_challenges_nobody(
    here: dict[str, Any], tasks: tuple[Task, ...], challenges: bool, crowned: bool
) -> None:
    client: MlflowClient = here["client"]

    def challenger() -> str:
        return str(client.get_model_version_by_alias("tactful", "challenger").version)

    run_id = client.create_run(client.get_run(here["bad"].tracking_run).info.experiment_id)
    client.set_registered_model_alias("tactful", "challenger", "2")
    if not crowned:
        client.delete_registered_model_alias("tactful", "champion")
    try:
        found = register(
            client,
            run_id.info.run_id,
            here["bad"].out,
            Tasks(tasks),
            headline={},
            tags={},
            obstacles=[] if crowned else ["moves/micro_f1 was not measured"],
        )
        assert challenger() == (found.version if challenges else "2")
        assert not found.champion
        assert found.other_tasks == (None if challenges else "moves, mood")
        told = registration_lines(found)[0]
        assert told.endswith("tasks there are others: moves, mood") != challenges
        client.delete_model_version("tactful", found.version)
    finally:
        client.set_registered_model_alias("tactful", "challenger", "3")


def test_a_run_shows_what_it_was_made_of_and_how_it_went(here: dict[str, Any]) -> None:
    client: MlflowClient = here["client"]
    run_id = here["good"].tracking_run
    found = client.get_run(run_id)
    assert found.info.status == "FINISHED"
    inputs = found.inputs.dataset_inputs
    assert {each.tags[0].value for each in inputs} == {"training", "validation", "test"}
    digest = here["good"].inputs.data.digests["train.jsonl"]
    assert digest[:36] in {each.dataset.digest for each in inputs}
    assert found.data.tags["encoder.sha256"] == here["good"].inputs.encoder.sha256
    assert found.data.tags["tactful.kind"] == "training"
    assert any(name.startswith("system/") for name in found.data.metrics)
    assert "test/slices/moves/context/with context" not in found.data.metrics  # 48 rows: too small
    figures = {each.path for each in client.list_artifacts(run_id, "figures")}
    assert figures == {"figures/loss.png", "figures/test", "figures/validation"}
    figures = {each.path for each in client.list_artifacts(run_id, "figures/test")}
    assert figures == {
        "figures/test/mood_confusion.png",
        "figures/test/mood_precision_recall.png",
        "figures/test/moves_precision_recall.png",
        "figures/test/moves_thresholds.png",
        "figures/test/reliability.png",
    }
    assert client.list_artifacts(run_id, "model_card")
    table = client.load_table(found.info.experiment_id, "evaluation/test.json", [run_id])
    assert len(table) == 48
    assert table["mood_right"].mean() == pytest.approx(found.data.metrics["test/mood/accuracy"])


def test_the_registered_model_is_a_bundle_and_a_pyfunc(here: dict[str, Any]) -> None:
    classifier = Classifier.load("models:/tactful@champion")
    assert classifier.bundle.id == here["good"].bundle
    model = mlflow.pyfunc.load_model("models:/tactful/1")
    frame = pd.DataFrame({"reply": ["we are sorry . noted", "", "thank you"]})
    said = model.predict(frame)
    assert list(said["reply"]) == list(frame["reply"])
    expected = classifier.classify("we are sorry . noted")
    assert said["mood"][0] == expected.labels["mood"].label  # type: ignore[union-attr]
    assert said["moves"][0] == [label.label for label in expected.moves]
    score = expected.scores["moves"]["sorry"]
    assert said["score.moves.sorry"][0] == pytest.approx(score, abs=1e-4)
    assert said["error"][1]["code"] == "reply_empty"
    assert said["error"][0] is None
    for context in ([np.nan] * 3, pd.array(["noted", pd.NA, pd.NA], dtype="string")):
        with_gaps = model.predict(frame.assign(context=context))
        assert list(with_gaps["context"]) == [
            "noted" if context[0] == "noted" else None,
            None,
            None,
        ]
        assert with_gaps.drop(columns="context").iloc[2].equals(said.iloc[2].drop("context"))
    signature = model.metadata.signature
    assert [(each.name, each.required) for each in signature.inputs] == [
        ("reply", True),
        ("context", False),
    ]
    assert [each.name for each in signature.outputs] == list(said.columns)
    needed = mlflow.pyfunc.get_model_dependencies("models:/tactful/1")
    names = {line.split("==")[0] for line in Path(needed).read_text().split()}
    assert names == {"mlflow", "numpy", "onnxruntime", "pandas", "tokenizers", "typer"}


def test_what_is_not_there_or_not_sound_is_refused(here: dict[str, Any]) -> None:
    with pytest.raises(BundleError, match=r"models:/tactful@nobody.*\n.*alias nobody"):
        Classifier.load("models:/tactful@nobody")
    with pytest.raises(BundleError, match="models:/nothing/1"):
        Classifier.load("models:/nothing/1")
    for wanted, words in {
        "nobody": "has the alias 'nobody'",
        "99": "has no version 99",
        "models/tactful": "is no version of the registered model",
    }.items():
        result = run(promote, "--challenger", wanted)
        assert isinstance(result.exception, DataError)
        assert words in str(result.exception)
    assert champion(here) == "1"


def test_an_equal_one_is_held_and_a_worse_one_refused(here: dict[str, Any]) -> None:
    code, decision = decided("--challenger", "2")
    assert (code, decision["verdict"], decision["moved"]) == (1, "held", False)
    assert any("a gain is not shown" in check["reason"] for check in decision["checks"])
    assert not any(check["outcome"] == "harmful" for check in decision["checks"])
    code, decision = decided()  # the alias challenger: the one of shuffled labels
    assert (code, decision["verdict"], decision["challenger"]) == (1, "refused", "3")
    reasons = " ".join(c["reason"] for c in decision["checks"] if c["outcome"] == "harmful")
    assert "must be at least 0.6" in reasons
    assert "surely worse" in reasons
    assert champion(here) == "1"
    found = here["client"].get_run(decision["run"])
    assert found.data.tags["promotion.decision"] == "refused"
    assert found.data.metrics["difference/moves/micro_f1_high"] < 0
    evidence = {each.path for each in here["client"].list_artifacts(decision["run"])}
    assert evidence == {"challenger.json", "comparison.json", "decision.json"}
    version = here["client"].get_model_version("tactful", "3")
    assert version.tags["promotion.decision"] == "refused"


def test_a_better_one_is_promoted_but_not_in_a_dry_run(here: dict[str, Any]) -> None:
    here["client"].set_registered_model_alias("tactful", "champion", "3")
    code, decision = decided("--challenger", "models:/tactful/2", "--dry-run")
    assert (code, decision["verdict"], decision["moved"]) == (0, "promoted", False)
    assert decision["run"] is None
    assert champion(here) == "3"
    code, decision = decided("--challenger", "models:/tactful/2")
    assert (code, decision["verdict"], decision["moved"]) == (0, "promoted", True)
    assert champion(here) == "2"
    result = run(promote, "--challenger", "2")
    assert result.exit_code == 0
    assert "version 2 is the champion already" in result.stdout


def test_rows_that_lack_a_task_promote_nothing(here: dict[str, Any], tmp_path: Path) -> None:
    data = here["good"].inputs.data.members[0].data.folder
    lines = [json.loads(line) for line in (data / "test.jsonl").read_text().splitlines()]
    for line in lines:
        del line["labels"]["mood"]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = run(promote, "--challenger", "2", "--data", str(file))
    assert isinstance(result.exception, DataError)
    assert "rows.jsonl has no labels of the task 'mood'" in str(result.exception)
    told = run(compare, "models:/tactful/1", "models:/tactful/2", "--data", str(file))
    assert told.exit_code == 0, told.exception
    assert "no labels of the task 'mood'" in told.stderr


def test_every_command_takes_an_address_in_the_registry(here: dict[str, Any]) -> None:
    data, address = str(here["good"].inputs.data.members[0].data.folder), "models:/tactful@champion"
    behind = f"runs:/{here['good'].tracking_run}/bundle"
    _, decision = decided("--challenger", "2", "--champion", behind, "--dry-run")
    assert decision["champion"] == behind
    measured = run(evaluate, "--bundle", address, "--data", data, "--json")
    assert json.loads(measured.stdout)["n"] == 48
    policy = ["--policy", "sorry: recall>=0.1"]
    result = run(thresholds, "--bundle", address, "--data", data, *policy, "--json")
    content = json.loads(result.stdout)
    assert Path(content["out"]) == Path("models/tactful-0.1.1")
    new = Classifier.load(content["out"]).bundle
    assert new.manifest["derived_from"] == here["good"].bundle
    shutil.rmtree("models")


def test_two_promotions_at_once_are_one(here: dict[str, Any]) -> None:
    with _lock(f"sqlite:///{here['folder']}/mlflow.db"):
        result = run(promote, "--challenger", "2")
    assert isinstance(result.exception, RunError)
    assert "another promotion is running" in str(result.exception)
    assert run(promote, "--challenger", "1").exit_code == 0


def test_without_a_store_nothing_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr("mlflow.tracking.is_tracking_uri_set", lambda: False)
    result = run(promote)
    assert isinstance(result.exception, RunError)
    assert "there is no MLflow store" in str(result.exception)
    with pytest.raises(BundleError, match="there is no MLflow store"):
        Classifier.load("models:/tactful@champion")
    assert not list(tmp_path.iterdir())


def test_a_comparison_shows_what_differs(here: dict[str, Any]) -> None:
    data = str(here["good"].inputs.data.members[0].data.folder)
    arguments = [str(here["good"].out), "models:/tactful/3", "--data", data]
    content = json.loads(run(compare, *arguments, "--json").stdout)
    assert content["a"]["bundle"] == here["good"].bundle
    moves = content["tasks"]["moves"]
    difference = moves["micro_f1"]["difference"]
    assert moves["micro_f1"]["b"] - moves["micro_f1"]["a"] == pytest.approx(difference["value"])
    assert difference["high"] < 0
    assert moves["mcnemar"]["only_a"] > moves["mcnemar"]["only_b"]
    assert moves["labels"]["sorry"]["f1"]["difference"]["value"] < 0
    assert content["flips"]["replies"] > 0
    flip = content["flips"]["rows"][0]
    assert {"id", "reply", "context", "a", "b", "truth"} <= set(flip)
    assert flip["a"] != flip["b"]
    assert content["informative"] == []
    assert content["a"]["megabytes"] > 0 < content["b"]["median_ms"]
    shown = run(compare, *arguments)
    assert shown.exit_code == 0, shown.exception
    assert "Speed and size" in shown.stdout
    same = json.loads(run(compare, arguments[0], arguments[0], "--data", data, "--json").stdout)
    assert same["flips"]["replies"] == 0
    assert same["tasks"]["mood"]["accuracy"]["difference"] == {"value": 0, "low": 0, "high": 0}


def test_on_unlabelled_replies_it_picks_what_to_read(here: dict[str, Any], tmp_path: Path) -> None:
    data = here["good"].inputs.data.members[0].data.folder
    lines = [json.loads(line) for line in (data / "test.jsonl").read_text().splitlines()]
    file = tmp_path / "replies.jsonl"
    file.write_text("".join(json.dumps({"reply": each["reply"]}) + "\n" for each in lines))
    arguments = [str(here["good"].out), str(here["bad"].out), "--data", str(file)]
    content = json.loads(run(compare, *arguments, "--json").stdout)
    assert content["tasks"] == {}
    assert content["flips"]["rates"]["moves"]["sorry"]["rate"] > 0
    read = content["informative"]
    assert 0 < len(read) <= 50
    assert len({each["id"] for each in read}) == len(read)
    assert read[0]["a"] != read[0]["b"]
    assert run(compare, *arguments).exit_code == 0


def test_bundles_for_other_tasks_are_not_compared(here: dict[str, Any], sound_bundle: Path) -> None:
    result = run(compare, str(here["good"].out), str(sound_bundle), "--data", "x.jsonl")
    assert isinstance(result.exception, DataError)
    assert "bundles for other tasks cannot be compared" in str(result.exception)


def test_a_policy_is_strict(tmp_path: Path, data_set: Path) -> None:
    shipped = load_policy()
    assert shipped.floors
    path = tmp_path / "mine.yaml"
    for change, words in (
        ({"floor": {}}, "floor: Extra inputs"),
        ({"overall": {"moves/micro_f1": {"gain": 0.1, "margin": 0.1}}}, "either gain or margin"),
        ({"labels": {"max_drop": 2.0}}, "labels.max_drop"),
    ):
        path.write_text(yaml.safe_dump({**policy_of(data_set), **change}))
        with pytest.raises(ConfigError, match=words):
            load_policy(path)
    with pytest.raises(ConfigError, match="no config"):
        load_policy(tmp_path / "none.yaml")


def test_a_damaged_model_in_the_registry_is_refused(
    here: dict[str, Any], bundle_parts: dict[str, bytes], manifest_fields: dict[str, Any]
) -> None:
    client: MlflowClient = here["client"]
    folder = here["folder"] / "damaged"
    write_bundle(folder, manifest_fields=manifest_fields, files=bundle_parts)
    (folder / "labels.json").write_bytes(b"{}")
    run_id = here["good"].tracking_run
    client.log_artifacts(run_id, str(folder), "damaged")
    with pytest.raises(BundleError, match=r"runs:/.*\n.*labels.json: changed"):
        Classifier.load(f"runs:/{run_id}/damaged")
