"""Whole trainings, from rows to a bundle that serving loads, on a tiny encoder."""

from __future__ import annotations

import io
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient
from rich.console import Console

from tactful import Classifier
from tactful.errors import BundleError
from tactful_training.bundling.final_evaluation import evaluate_beside
from tactful_training.config.config_schema import Config
from tactful_training.data.data_set import load_data_set
from tactful_training.errors import DataError, ExportError, RunError
from tactful_training.evaluation.bundle_evaluation import evaluate_classifier
from tactful_training.fitting.encoder import load_encoder
from tactful_training.fitting.hardware import device_for_training
from tactful_training.fitting.resuming import open_work_folder
from tactful_training.registry.tracked_training import flat_metrics
from tactful_training.run_summary import choose_samples, print_summary
from tactful_training.training_run import TrainingResult, train

Make = Callable[..., Config]


def run(config: Config, out: Path) -> tuple[TrainingResult, str]:
    """Train; the result and what was said."""
    said = io.StringIO()
    result = train(config, out, console=Console(file=said, width=200))
    return result, said.getvalue()


def runs_of(workplace: Path) -> list[Any]:
    client = MlflowClient(f"sqlite:///{workplace / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("tactful")
    return client.search_runs([experiment.experiment_id])


def test_from_rows_to_a_bundle(make_config: Make, workplace: Path, data_set: Path) -> None:
    out = workplace / "models" / "moves"
    result, said = run(make_config(), out)

    classifier = Classifier.load(out)
    assert classifier.bundle.id == result.bundle
    rows = load_data_set(data_set).split("test")
    measured = evaluate_classifier(classifier, rows, resamples=20)
    assert flat_metrics(measured) == flat_metrics(result.evaluations["test"])
    assert measured.tasks["moves"].headline["micro_f1"].value > 0.7  # it has learnt something
    assert measured.tasks["mood"].headline["accuracy"].value > 0.6
    assert measured.evidence["token_f1"].value > 0.5

    for part in ("96 train, 48 validation", "epoch 3 of 3: loss", "48 validation rows: logits"):
        assert part in said
    assert not (workplace / "runs").exists()

    manifest = classifier.bundle.manifest
    assert manifest["encoder"]["name"] == "tests/tiny"
    assert manifest["data"]["sha256"] == load_data_set(data_set).digests
    figures = manifest["metrics"]["test"]
    assert figures["moves/micro_f1"] == measured.tasks["moves"].headline["micro_f1"].value

    [tracked] = runs_of(workplace)
    assert tracked.info.run_id == manifest["mlflow_run"] == result.tracking_run
    assert tracked.info.status == "FINISHED"
    assert tracked.data.params["training.epochs"] == "3"
    assert tracked.data.params["encoder.sha256"] == manifest["encoder"]["sha256"]
    for name, digest in manifest["data"]["sha256"].items():
        assert tracked.data.params[f"data.sha256.{name}"] == digest
    for split, evaluation in result.evaluations.items():
        for path, value in flat_metrics(evaluation).items():
            assert tracked.data.metrics[f"{split}/{path}"] == pytest.approx(value)
    assert tracked.data.tags["bundle"] == result.bundle
    assert "environment.torch" in tracked.data.tags
    client = MlflowClient(f"sqlite:///{workplace / 'mlflow.db'}")
    for name in ("train/loss", "train/loss/moves", "validation/loss/evidence", "validation/score"):
        history = client.get_metric_history(tracked.info.run_id, name)
        assert [point.step for point in history] == [1, 2, 3]
    uploaded = client.list_artifacts(tracked.info.run_id, "bundle")
    assert {Path(file.path).name for file in uploaded} == {file.name for file in out.iterdir()}

    shown = io.StringIO()
    print_summary(result, Console(file=shown, width=100))
    assert result.bundle in shown.getvalue()
    for row in choose_samples(result.inputs.rows["test"]):
        assert row.reply in shown.getvalue().replace("\n", " ").replace("  ", " ")


def test_a_weight_of_no_task_is_told_once_and_inherited_ones_are_not(
    make_config: Make, workplace: Path
) -> None:
    config = make_config(
        loss__task_weights__move=2.0, export__tolerance=1.0e-12, training__epochs=1
    )
    said = io.StringIO()
    with pytest.raises(ExportError):  # begun, but not carried through
        train(config, workplace / "out", console=Console(file=said, width=200))
    assert said.getvalue().count("loss.task_weights") == 1
    assert (
        "warning: loss.task_weights.move has no effect: the data set has no task 'move'; "
        "did you mean 'moves'?"
    ) in said.getvalue()


def test_a_row_that_utf8_cannot_hold_stops_no_training(
    make_config: Make, workplace: Path, data_set: Path
) -> None:
    folder = shutil.copytree(data_set, workplace / "odd")
    for path in folder.glob("*.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for row in rows[:4]:
            row |= {"reply": row["reply"] + " \ud800", "context": "\udfff"}
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result, _ = run(make_config(data__folder=folder, training__epochs=1), workplace / "out")
    shown = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    print_summary(result, Console(file=shown, width=100))


def test_parts_of_the_test_split_and_other_rows_are_measured_beside_it(
    make_config: Make, workplace: Path, data_set: Path
) -> None:
    folder = shutil.copytree(data_set, workplace / "parted")
    rows = [json.loads(line) for line in (folder / "test.jsonl").read_text().splitlines()]
    for number, row in enumerate(rows):
        row["origin"] = "old" if number < 30 else "new"
        row["place"] = f"place {number}"
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = make_config(
        data__folder=folder,
        training__epochs=1,
        evaluation__part_by="origin",
        evaluation__further=f"{{elsewhere: {data_set / 'validation.jsonl'}}}",
    )
    result, _ = run(config, workplace / "out")
    card = (workplace / "out" / "README.md").read_text()
    titles = "test (48 rows) | test, new (18 rows) | test, old (30 rows) | elsewhere (48 rows) |"
    assert titles in card
    [tracked] = runs_of(workplace)
    for name, count in (("test, new", 18), ("test, old", 30), ("elsewhere", 48)):
        [measured] = [
            value
            for path, value in tracked.data.metrics.items()
            if path.startswith("beside/") and path.endswith("/n") and name[-3:] in path
        ]
        assert measured == count

    # A column of as many values as rows is none of parts.
    engine = Classifier.load(workplace / "out").engine
    by_place = make_config(data__folder=folder, evaluation__part_by="place")
    assert not evaluate_beside(by_place, result.inputs, result.evaluations["test"], engine, {})


def test_the_same_seed_gives_the_same_model(make_config: Make, workplace: Path) -> None:
    models = []
    for _ in range(2):
        run(make_config(training__epochs=1), workplace / "out")
        models.append((workplace / "out" / "model.onnx").read_bytes())
    assert models[0] == models[1]


def test_one_task_of_forty_classes_in_bf16(
    make_config: Make,
    data_set_writer: Callable[..., Path],
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ways: list[object] = []

    def loaded(*found: Any, **options: Any) -> Any:
        ways.append(options["attention"])
        return load_encoder(*found, **options)

    monkeypatch.setattr("tactful_training.training_run.load_encoder", loaded)
    tasks = [{"name": "digit", "kind": "single", "labels": {f"c{n}": "" for n in range(40)}}]
    choice = random.Random(3)

    def row(index: int) -> dict[str, Any]:
        number = choice.randrange(40)
        return {"id": str(index), "reply": f"it is {number}", "labels": {"digit": f"c{number}"}}

    sizes = {"train": 60, "validation": 40, "test": 20}
    rows = {split: [row(index) for index in range(size)] for split, size in sizes.items()}
    folder = data_set_writer(workplace / "digits", rows, tasks)
    result, _ = run(
        make_config(data__folder=folder, training__epochs=1, training__precision="bf16"),
        workplace / "out",
    )
    # On a processor bf16 trains with plain attention.
    assert ways == ["eager" if device_for_training().type == "cpu" else None]
    reading = Classifier.load(result.out).classify("it is 7", context="which one ?")
    assert len(reading.scores["digit"]) == 40
    assert reading.digit.evidence == ()
    assert sum(reading.scores["digit"].values()) == pytest.approx(1, abs=1e-3)


def test_multilabel_alone_with_unknown_rows(
    make_config: Make, data_set_writer: Callable[..., Path], workplace: Path, data_set: Path
) -> None:
    tasks = [
        {"name": "moves", "kind": "multilabel", "labels": dict.fromkeys(("sorry", "thanks"), "")},
        {"name": "extra", "kind": "multilabel", "labels": {"long": ""}},
    ]
    rows: dict[str, list[dict[str, Any]]] = {}
    for split in ("train", "validation", "test"):
        rows[split] = []
        for index, line in enumerate((data_set / f"{split}.jsonl").read_text().splitlines()):
            row = json.loads(line)
            moves = [move for move in row["labels"]["moves"] if move != "question"]
            row["labels"] = {"moves": None if index % 3 == 0 else moves}
            if index % 3 != 1:
                row["labels"]["extra"] = ["long"] if len(row["reply"]) > 60 else []
            row["evidence"] = []
            rows[split].append(row)
    # A task that is unknown in a whole split can be trained and not measured there, if it is said.
    for row in rows["test"]:
        row["labels"].pop("extra", None)
    folder = data_set_writer(workplace / "moves", rows, tasks)
    with pytest.raises(DataError, match=r"test\.jsonl has no labels of the task 'extra'"):
        run(make_config(data__folder=folder), workplace / "out")
    config = make_config(data__folder=folder, data__allow_missing_tasks="{test: [extra]}")
    result, _ = run(config, workplace / "out")
    assert set(result.evaluations["test"].tasks) == {"moves"}
    assert set(result.evaluations["validation"].tasks) == {"moves", "extra"}
    reading = Classifier.load(result.out).classify("we are sorry . thank you")
    assert set(reading.labels) == {"moves", "extra"}
    assert all(not label.evidence for label in reading.moves)


def test_a_task_that_nothing_is_known_of_is_refused_at_once(
    make_config: Make, data_set_writer: Callable[..., Path], workplace: Path
) -> None:
    tasks = [{"name": "mood", "kind": "single", "labels": {"a": "", "b": ""}}]
    rows = {
        split: [{"id": "1", "reply": "noted", "labels": {"mood": None}}]
        for split in ("train", "validation", "test")
    }
    folder = data_set_writer(workplace / "unknown", rows, tasks)
    with pytest.raises(DataError, match=r"train\.jsonl: none of the 1 rows .* labels of mood"):
        run(make_config(data__folder=folder), workplace / "out")


def test_a_bundle_trained_without_context_reads_none(make_config: Make, workplace: Path) -> None:
    run(make_config(encoding__use_context="false"), workplace / "out")
    classifier = Classifier.load(workplace / "out")

    alone = classifier.classify("please wait")
    assert classifier.classify("please wait", context="my parcel is late").scores == alone.scores


def test_training_stops_early_and_keeps_the_best_epoch(make_config: Make, workplace: Path) -> None:
    # Nothing is learnt after the warm-up's first steps: the score stays what it was.
    config = make_config(
        training__epochs=8, training__learning_rate=1.0e-9, training__early_stopping_patience=2
    )
    _, said = run(config, workplace / "out")
    assert "epoch 3 of 8" in said
    assert "epoch 4 of 8" not in said
    assert "best of 3 epochs: 1;" in (workplace / "out" / "README.md").read_text()


def test_a_folder_that_holds_something_else_is_refused_before_training(
    make_config: Make, workplace: Path
) -> None:
    (workplace / "out").mkdir()
    (workplace / "out" / "thesis.txt").write_text("years of work")
    with pytest.raises(BundleError, match="is no bundle"):
        run(make_config(), workplace / "out")
    assert not (workplace / "runs").exists()


def test_a_failing_export_ships_nothing_and_needs_no_second_training(
    make_config: Make, workplace: Path
) -> None:
    out = workplace / "out"
    with pytest.raises(ExportError, match=r"export\.tolerance = 1e-12"):
        run(make_config(export__tolerance=1.0e-12, training__epochs=1), out)
    assert not out.exists()
    [tracked] = runs_of(workplace)
    assert tracked.info.status == "FAILED"
    with pytest.raises(ExportError):
        run(make_config(export__tolerance=1.0e-12, training__epochs=1), out)
    assert len(runs_of(workplace)) == 1


def test_an_opset_that_cannot_be_exported_is_found_before_training(
    make_config: Make, workplace: Path
) -> None:
    said = io.StringIO()
    config = make_config()
    export = config.export.model_copy(update={"opset": 99})  # past the schema
    config = config.model_copy(update={"export": export})
    with pytest.raises(ExportError, match="opset 99"):
        train(config, workplace / "out", console=Console(file=said))
    assert "epoch" not in said.getvalue()


def test_a_second_process_at_the_same_run_is_refused(workplace: Path) -> None:
    with open_work_folder({"config": "same"}) as work:
        assert work.path.is_dir()
        with pytest.raises(RunError, match="already running"), open_work_folder({"config": "same"}):
            pass
        with open_work_folder({"config": "other"}):
            pass
    with open_work_folder({"config": "same"}) as work:
        assert work.resumed
        work.clear()
    assert not (workplace / "runs" / work.path.name).exists()


def test_a_work_folder_of_another_run_is_not_resumed(workplace: Path) -> None:
    identity = {"config": "one"}
    with open_work_folder(identity) as work:
        (work.path / "leftover").write_text("x")
        work.state.tracking_run = "abc"
        work.save()
    state = json.loads((work.path / "state.json").read_text())
    (work.path / "state.json").write_text(json.dumps({**state, "identity": {"config": "two"}}))
    with open_work_folder(identity) as work:
        assert not work.resumed
        assert work.state.tracking_run is None
        assert not (work.path / "leftover").exists()


def test_several_data_sets_are_trained_together_and_measured_apart(
    make_config: Make, workplace: Path, data_set: Path, data_set_writer: Callable[..., Path]
) -> None:
    own = {
        split: [
            {"id": f"{n}", "reply": f"we are sorry {split} {n}", "labels": {"moves": ["sorry"]}}
            for n in range(8)
        ]
        for split in ("train", "validation", "test")
    }
    tasks = [{"name": "moves", "kind": "multilabel", "labels": ["sorry", "thanks", "question"]}]
    tasks[0]["labels"] = dict.fromkeys(tasks[0]["labels"], "")
    mine = data_set_writer(workplace / "mine", own, tasks)
    card = mine / "README.md"
    card.write_text(card.read_text("utf-8").replace("---\n", "---\nversion: 1.2.0\n", 1), "utf-8")
    folders = f"[{data_set}, {{folder: {mine}, weight: 3}}]"
    result, said = run(
        make_config(data__folder=folders, training__epochs=1), workplace / "models/both"
    )

    assert f"data set {data_set}, {mine}: 104 train, 56 validation, 56 test rows" in said
    sizes = {name: each.n for name, each in result.evaluations.items()}
    assert sizes == {"validation": 56, "test_moves": 48, "test_mine": 8, "test": 56}
    assert set(result.evaluations["test_mine"].tasks) == {"moves"}
    manifest = Classifier.load(workplace / "models/both").bundle.manifest
    assert manifest["data"]["sets"] == [
        {"name": "moves", "version": None, "weight": 1.0},
        {"name": "mine", "version": "1.2.0", "weight": 3.0},
    ]
    assert set(manifest["metrics"]) == set(sizes)
    card_text = (workplace / "models/both/README.md").read_text("utf-8")
    assert (
        "mine, version 1.2.0: 8 train, 8 validation, 8 test rows, each train row with weight 3"
        in (card_text)
    )
    [tracked] = runs_of(workplace)
    assert tracked.data.params["data.version.mine"] == "1.2.0"
    assert tracked.data.metrics["test_mine/n"] == 8
    assert len(tracked.inputs.dataset_inputs) == 6
