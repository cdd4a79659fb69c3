"""From the shipped data to a bundle that is labelled with: everything real."""

from __future__ import annotations

import json
import math
import subprocess
import unicodedata
from collections.abc import Callable
from pathlib import Path

import mlflow
import numpy as np
import pytest

from tactful import Classifier
from tactful_training.data.data_set import load_data_set

Run = Callable[..., subprocess.CompletedProcess[str]]

BUNDLE = "models/tactful"
REPLY = "I'm so sorry, Ana 🙈. A courier brings a new one tomorrow; here for you until it works!"
CONTEXT = "My parcel never came"


@pytest.fixture(scope="module")
def classifier(trained: Path) -> Classifier:
    return Classifier.load(trained / BUNDLE)


def test_a_run_ends_with_a_bundle_three_readings_and_no_leftovers(trained: Path) -> None:
    assert sorted(path.name for path in (trained / BUNDLE).iterdir()) == [
        "README.md",
        "golden.jsonl",
        "labels.json",
        "manifest.json",
        "model.onnx",
        "tokenizer.json",
    ]
    printed = (trained / "printed.txt").read_text(encoding="utf-8")
    assert printed.count("context: ") == 3
    assert printed.count("tone: ") >= 3
    assert [path.name for path in (trained / BUNDLE).parent.iterdir()] == ["tactful"]
    assert not list((trained / "runs").glob("*"))


def test_the_manifest_says_where_the_model_comes_from(trained: Path) -> None:
    manifest = json.loads(((trained / BUNDLE) / "manifest.json").read_bytes())

    assert manifest["format"] == 1
    assert manifest["encoder"]["sha256"].startswith("53aa51172d14")
    shipped = load_data_set(Path("data_cards/support_replies"))
    assert set(shipped.digests.values()) <= set(json.dumps(manifest["data"]).split('"'))
    assert "strategies/macro_f1" in json.dumps(manifest["metrics"])

    measured = manifest["quantisation"]
    names = [each["name"] for each in measured["candidates"]]
    assert names == ["fp32", "int8-static-smooth", "int8-dynamic"]
    assert measured["shipped"] in names
    assert measured["processor"]
    [shipped] = [each for each in measured["candidates"] if each["verdict"] == "ships"]
    assert shipped["name"] == measured["shipped"]
    # What the nearest training replies are found by is put beside the graph.
    beside = manifest["files"]["model.onnx"]["size"] - shipped["bytes"]
    assert 0 < beside < 100_000
    int8 = shipped["name"] != "fp32"
    assert manifest["precision"] == ("int8" if int8 else "fp32")
    assert manifest["golden_tolerance"] == (0.05 if int8 else 0.001)
    assert all(each["bytes"] < 25_000_000 for each in measured["candidates"][1:])


def test_the_store_holds_one_finished_run_with_the_bundle(trained: Path) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{trained}/mlflow.db")
    experiment = client.get_experiment_by_name("tactful")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])

    assert run.info.status == "FINISHED"
    assert run.data.params["training.epochs"] == "1"
    for split in ("validation", "test"):
        assert 0 <= run.data.metrics[f"{split}/strategies/macro_f1"] <= 1
        assert 0 <= run.data.metrics[f"{split}/tone/accuracy"] <= 1
    losses = client.get_metric_history(run.info.run_id, "train/loss")
    assert len(losses) == 1
    assert math.isfinite(losses[0].value)
    artifacts = {f.path for f in client.list_artifacts(run.info.run_id, "bundle")}
    assert artifacts >= {"bundle/model.onnx", "bundle/manifest.json"}
    manifest = json.loads(((trained / BUNDLE) / "manifest.json").read_bytes())
    assert run.info.run_id in json.dumps(manifest)


def test_python_command_line_and_a_batch_of_64_agree(
    trained: Path, tactful: Run, classifier: Classifier
) -> None:
    alone = classifier.classify(REPLY, context=CONTEXT)
    printed = tactful("label", REPLY, "--context", CONTEXT, "--json", cwd=trained)
    rows = load_data_set(Path("data_cards/support_replies")).split("validation")[:63]
    batch = [(REPLY, CONTEXT), *((row.reply, row.context) for row in rows)]
    together = next(iter(classifier.classify_many(batch)))

    expected = _scores(alone.to_dict())
    np.testing.assert_allclose(_scores(json.loads(printed.stdout)), expected, atol=1e-4)
    # int8 rounds by what shares the batch.
    tolerance = classifier.bundle.manifest["golden_tolerance"]
    within = 1e-4 if tolerance < 0.01 else tolerance
    np.testing.assert_allclose(_scores(together.to_dict()), expected, atol=within)
    assert json.loads(printed.stdout)["bundle"] == alone.bundle


@pytest.mark.parametrize(
    "reply",
    [
        "sorry",
        "👩‍👩‍👧‍👦 sorry 🙏🏽 about that",
        unicodedata.normalize("NFD", "Désolé, très désolé, señor"),
        "אני ממש מצטער על העיכוב",
        "so\u200bsorry\ufeff about \u202ethat",
        "so sorry\x00\x07\x1b[2J about that",
        "a lone \ud83d surrogate, sorry",
        "\u200b\u200d",
        "sorry " * 170_000,
    ],
    ids=["word", "emoji", "nfd", "rtl", "zero width", "control", "surrogate", "nothing", "1 MB"],
)
def test_any_text_is_read_and_quoted_to_the_letter(classifier: Classifier, reply: str) -> None:
    reading = classifier.classify(reply)

    for strategy in reading.strategies:
        for span in strategy.evidence:
            assert reply[span.start : span.end] == span.text != ""
    assert math.isclose(sum(reading.scores["tone"].values()), 1, abs_tol=1e-5)
    assert reading.truncated == (len(reply) > 1_000)


def test_a_reply_from_standard_input_is_shown_without_steering_the_terminal(
    trained: Path, tactful: Run
) -> None:
    reply = "So sorry \x1b[2J about that \ud83d".encode("utf-8", "surrogatepass")
    shown = tactful("label", cwd=trained, stdin=reply)

    assert "tone: " in shown.stdout
    assert "\x1b" not in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [
        (["label", ""], b"", "empty"),
        (["label"], b" \n", "empty"),
        (["label", "hi", "--bundle", "nowhere"], b"", "nowhere"),
        (["label", "hi", "--bundle", "models/tactful/model.onnx"], b"", "model.onnx"),
        (["evaluate", "--data", "nowhere"], b"", "nowhere"),
        (["train", "nowhere.yaml"], b"", "nowhere.yaml"),
        (["train", "smoke", "--set", "training.epoch=3"], b"", "training.epochs"),
        (["train", "smoke", "--set", "data.folder=nowhere"], b"", "nowhere"),
        (["data", "check", "nowhere"], b"", "nowhere"),
    ],
)
def test_what_cannot_be_used_is_one_clear_message(
    trained: Path, tactful: Run, arguments: list[str], stdin: bytes, message: str
) -> None:
    before = {path: path.stat().st_mtime_ns for path in (trained / BUNDLE).iterdir()}
    refused = tactful(*arguments, cwd=trained, stdin=stdin, code=2)

    assert refused.stdout == ""
    assert refused.stderr.startswith("error: ")
    assert message in refused.stderr
    assert {path: path.stat().st_mtime_ns for path in (trained / BUNDLE).iterdir()} == before


def test_evaluate_prints_the_agreed_json(trained: Path, tactful: Run) -> None:
    printed = tactful(
        "evaluate", "--data", "data_cards/support_replies/validation.jsonl", "--json",
        "--bundle", str(trained / BUNDLE), cwd=Path.cwd(),
    )  # fmt: skip
    result = json.loads(printed.stdout)

    assert result["n"] == 1738
    for name in ("macro_f1", "micro_f1"):
        figure = result["strategies"][name]
        assert 0 <= figure["low"] <= figure["value"] <= figure["high"] <= 1
    assert set(result["strategies"]["labels"]["apology"]) >= {
        "precision",
        "recall",
        "f1",
        "support",
    }
    assert result["tone"]["labels"]["neutral"]["support"] == 869
    assert result["evidence"]["token_f1"]["value"] >= 0
    assert set(result["calibration"]) == {"strategies", "tone"}


def _scores(reading: dict[str, object]) -> list[float]:
    scores = reading["scores"]
    assert isinstance(scores, dict)
    return [score for task in scores.values() for score in task.values()]


def test_a_report_knows_how_the_bundle_reads_and_what_it_learned_from(
    trained: Path, tactful: Run, tmp_path: Path
) -> None:
    pytest.importorskip("jinja2")
    lines = Path("data_cards/support_replies/test.jsonl").read_text("utf-8").splitlines()[:120]
    rows = [{key: json.loads(line)[key] for key in ("reply", "context")} for line in lines]
    replies = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "replies.jsonl").write_text(replies, encoding="utf-8")
    bundle = ("--bundle", str(trained / BUNDLE))
    tactful("score", "replies.jsonl", "scored.jsonl", *bundle, cwd=tmp_path)
    tactful("report", "scored.jsonl", "report.html", *bundle, cwd=tmp_path)
    figures = json.loads((tmp_path / "report.figures.json").read_text("utf-8"))
    manifest = json.loads((trained / BUNDLE / "manifest.json").read_text("utf-8"))
    known = f"the bundle {figures['intake']['bundle']}"
    assert figures["reference_source"] == figures["reliability_source"] == known
    moved = {each["what"]: each for each in figures["drift"]}
    before = manifest["reference"]["labels"]["tone"]["neutral"] / manifest["reference"]["replies"]
    assert moved["rate of neutral"]["before"] == round(before, 6)  # as all figures are
    assert {"length of replies", "words of contexts", "scores of neutral"} <= set(moved)
    measured = manifest["reliability"]["tone"]["labels"]["neutral"]
    neutral = figures["overview"]["rates"]["tone"]["neutral"]
    able = measured["recall"] + measured["specificity"] - 1
    assert (neutral["adjusted"] is not None) == (able >= 0.1)

    asked = ("explain", rows[0]["reply"], *bundle, "--json")
    receipt = tactful(*asked, cwd=tmp_path).stdout
    (tmp_path / "receipt.json").write_text(receipt, encoding="utf-8")
    trained_on = Path("data_cards/support_replies/train.jsonl").read_text("utf-8")
    for near in json.loads(receipt)["nearest"]:
        assert f'"id": "{near["id"]}"' in trained_on
    tactful("explain", "--replay", "receipt.json", *bundle, cwd=tmp_path)
