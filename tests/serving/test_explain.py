"""The receipt of one reading: in Python, on the command line, replayed."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tactful import Classifier, InputError, Receipt
from tactful.bundle.writing import write_bundle
from tactful.errors import ModelError
from tactful.reading.decision_receipt import compare_receipts
from tactful.reading.neighbours import IDS, SCORES, Neighbours

Explain = Callable[..., subprocess.CompletedProcess[str]]
REPLY, CONTEXT = "I am so sorry, friend.", "my parcel is late"
LONG = "the parcel is late and " * 80


@pytest.fixture(scope="module")
def neighbourly(
    bundle_parts: dict[str, bytes],
    manifest_fields: dict[str, Any],
    classifier: Classifier,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A bundle that keeps three training replies, and their data set beside it."""
    folder = tmp_path_factory.mktemp("neighbours")
    labels = {"strategies": ["apology"], "tone": "warm"}
    rows = [
        {"id": "a", "reply": "So sorry, friend", "labels": labels},
        {"id": "b", "reply": "Thank you for your order", "context": None, "labels": {}},
        {"id": "c", "reply": "We will call you", "context": "late", "labels": {}},
    ]  # fmt: skip
    data = folder / "data"
    data.mkdir()
    (data / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (data / "test.jsonl").write_text('{"id": "a", "reply": "another row of this name"}\n')
    outputs = classifier.engine.outputs([(row["reply"], row.get("context")) for row in rows])  # type: ignore[misc]
    kept = Neighbours.of(["a", "b", "c"], np.stack([output.logits for output in outputs]))
    write_bundle(
        folder / "bundle", manifest_fields=manifest_fields,
        files={**bundle_parts, "model.onnx": with_metadata(bundle_parts, kept.to_metadata())},
    )  # fmt: skip
    return folder


def with_metadata(parts: dict[str, bytes], entries: dict[str, str]) -> bytes:
    model = onnx.load_from_string(parts["model.onnx"])
    for key, value in entries.items():
        model.metadata_props.add(key=key, value=value)
    return model.SerializeToString()


@pytest.fixture(scope="module")
def explain(sound_bundle: Path) -> Explain:
    def run(*arguments: str, code: int = 0, bundle: Path = sound_bundle, stdin: str = "") -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "tactful.cli", "explain", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            env={"TACTFUL_BUNDLE": str(bundle), "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


def test_a_receipt_says_how_each_label_was_decided(classifier: Classifier) -> None:
    receipt = classifier.explain(REPLY, CONTEXT)
    assert receipt.reading == classifier.classify(REPLY, CONTEXT)
    [output] = classifier.engine.outputs([(REPLY, CONTEXT)])
    heads = {head.task.name: head for head in classifier.engine.heads.heads}
    columns = classifier.engine.heads.tasks.columns
    for task, name, label in receipt.places():
        column, head = columns[task, name], heads[task]
        at = head.task.names.index(name)
        assert label.logit == pytest.approx(output.logits[column], abs=1e-6)
        assert label.score == receipt.reading.scores[task][name]
        if head.thresholds is None:
            assert label.threshold is None
            assert label.decided == (receipt.reading.tone.label == name)
        else:
            score = 1 / (1 + np.exp(-(head.slope[at] * label.logit + head.intercept[at])))
            assert label.score == pytest.approx(score, abs=1e-5)
            assert label.threshold == pytest.approx(head.thresholds[at])
            assert label.decided == (label.score >= label.threshold)
        assert len(label.tokens) == 5
        scores = [token.score for token in label.tokens]
        assert scores == sorted(scores, reverse=True)
        assert scores[0] == pytest.approx(output.token_scores[:, column].max())
        assert all(REPLY[token.start : token.end] == token.text for token in label.tokens)
    assert receipt.labels["strategies"]["apology"].tokens[0].text == "sorry"
    assert receipt.unread == ()
    assert (receipt.tokens, receipt.windows) == (len(output.encoded.offsets), 1)
    assert receipt.read_by["digest"] == classifier.bundle.digest
    assert {"tactful", "onnxruntime", "tokenizers", "numpy", "processor"} <= set(receipt.read_by)
    assert receipt.nearest is None  # this bundle is of the time before
    assert Receipt.from_dict(json.loads(json.dumps(receipt.to_dict()))) == receipt


def test_what_was_not_read_is_told(classifier: Classifier) -> None:
    cut = classifier.explain("I am so sorry, friend.", LONG)
    [unread] = cut.unread
    assert (unread.part, unread.start, unread.why) == ("context", 0, "no_room")
    window = classifier.engine.encoding.encode([("I am so sorry, friend.", LONG)])[0].windows[0]
    kept = classifier.engine.encoding.encode([(LONG[unread.end :], None)])[0]
    assert len(kept.offsets) == window.reply_at - 2  # the rest is what the window holds
    long = classifier.explain(LONG, CONTEXT)
    context, reply = long.unread
    assert (context.part, context.start, context.end) == ("context", 0, len(CONTEXT))
    assert (reply.part, reply.end, reply.why) == ("reply", len(LONG), "too_long")
    assert long.windows == 6
    assert long.reading.truncated
    assert LONG[: reply.start].endswith("and")


@pytest.mark.parametrize(("reply", "code"), [("", "reply_empty"), (None, "reply_missing")])
def test_what_cannot_be_read_cannot_be_explained(
    classifier: Classifier, reply: Any, code: str
) -> None:
    with pytest.raises(InputError) as caught:
        classifier.explain(reply)
    assert caught.value.code == code


def test_replies_that_are_read_alike_are_named(neighbourly: Path) -> None:
    classifier = Classifier.load(neighbourly / "bundle", threads=1)
    nearest = classifier.explain("So sorry, friend", nearest=2).nearest
    assert nearest is not None
    assert nearest[0].id == "a"
    assert nearest[0].distance < 0.01 < nearest[1].distance  # a byte holds 1/255
    assert len(nearest) == 2


@pytest.mark.parametrize(
    "entries",
    [
        {IDS: "[", SCORES: ""},
        {IDS: '["a"]'},
        {IDS: '["a"]', SCORES: base64.b64encode(b"1234").decode()},
        {IDS: "3", SCORES: ""},
    ],
)
def test_damaged_neighbours_are_named(entries: dict[str, str]) -> None:
    with pytest.raises(ModelError, match=r"tactful\.neighbours\.ids"):
        Neighbours.from_metadata(entries, 5)


def test_a_replay_tells_apart_what_may_differ(classifier: Classifier) -> None:
    receipt = classifier.explain(REPLY)
    assert compare_receipts(receipt, classifier.explain(REPLY), 0.001).differences == []

    def changed(**fields: Any) -> Receipt:
        labels = {task: dict(labels) for task, labels in receipt.labels.items()}
        labels["strategies"]["apology"] = replace(labels["strategies"]["apology"], **fields)
        return replace(receipt, labels=labels)

    apology = receipt.labels["strategies"]["apology"]
    nearly = changed(logit=apology.logit + 1e-4, score=apology.score + 1e-5)
    [line] = compare_receipts(nearly, receipt, 0.001).differences  # here it must be the same
    assert "strategies.apology had logit" in line
    elsewhere = replace(nearly, read_by={**receipt.read_by, "processor": "another one"})
    found = compare_receipts(elsewhere, receipt, 0.001)
    assert found.differences == []
    assert "processor was another one" in found.elsewhere[0]
    assert found.largest == pytest.approx(1e-5)
    [line] = compare_receipts(changed(decided=False), receipt, 1).differences
    assert line == "strategies.apology was not decided, is decided"
    other = replace(receipt, read_by={**receipt.read_by, "digest": "0" * 64})
    assert "digest was 000" in compare_receipts(other, receipt, 1).differences[0]


@pytest.mark.parametrize(
    "given",
    [
        ("I&#39;m so sorry &amp; glad.",),
        ("It ships.\n> so sorry",),
        ("It ships.\n> so sorry", "--format", "text"),
        ("Press <b>Save</b>, sorry.\n> thanks", "--format", "email"),
    ],
)
def test_a_replay_reads_a_mail_as_it_was_read(
    explain: Explain, tmp_path: Path, given: tuple[str, ...]
) -> None:
    receipt = tmp_path / "receipt.json"
    receipt.write_text(explain(*given, "--json").stdout)
    assert "It is the same." in explain("--replay", str(receipt)).stdout
    content = json.loads(receipt.read_text())
    content["labels"]["strategies"]["apology"]["logit"] = "high"
    receipt.write_text(json.dumps(content))
    assert "'high' is no number" in explain("--replay", str(receipt), code=2).stderr


def test_the_command_shows_and_replays(explain: Explain, neighbourly: Path, tmp_path: Path) -> None:
    bundle = neighbourly / "bundle"
    shown = explain(REPLY, "--context", LONG, "--data", str(neighbourly / "data"), bundle=bundle)
    for part in ("apology", "sorry +", "So sorry, friend [apology; warm]", "not read (no room)"):
        assert part in shown.stdout
    assert "another row of this name" not in shown.stdout
    receipt = tmp_path / "receipt.json"
    receipt.write_text(explain("--json", stdin=REPLY, bundle=bundle).stdout)
    content = json.loads(receipt.read_text())
    assert content["reply"] == REPLY
    assert content["nearest"][0]["id"] == "a"
    assert "It is the same." in explain("--replay", str(receipt), bundle=bundle).stdout
    again = explain("--replay", str(receipt), "--json", code=1)  # another bundle
    assert "digest" in json.loads(again.stdout)["differences"][0]
    content["labels"]["tone"]["warm"]["decided"] = False
    receipt.write_text(json.dumps(content))
    differs = explain("--replay", str(receipt), bundle=bundle, code=1)
    assert "tone.warm was not decided, is decided" in differs.stdout


def test_a_row_of_a_scored_file(
    explain: Explain, score: Callable[..., Any], tmp_path: Path
) -> None:
    table = tmp_path / "replies.csv"
    table.write_text("id,reply,context\n7,=sorry friend,late\n1,Thank you.,\nx,,\n")
    scored = tmp_path / "scored.csv"
    assert score(table, scored, "--max-errors", "5").returncode == 1
    by_id = json.loads(explain("--scored", str(scored), "--row", "1", "--json").stdout)
    assert by_id["reply"] == "Thank you."  # the id, not the first row
    shown = explain("--scored", str(scored), "--row", "7", "--json")
    by_number = json.loads(shown.stdout)
    assert by_number["reply"] == "=sorry friend"  # without the mark that keeps spreadsheets quiet
    assert by_number["context"] == "late"
    assert shown.stderr == ""
    second = json.loads(explain("--scored", str(scored), "--row", "2", "--json").stdout)
    assert second["reply"] == "Thank you."
    text = scored.read_text().replace("tiny@", "other@", 1).replace(",apology,", ",gratitude,", 1)
    scored.write_text(text)
    warned = explain("--scored", str(scored), "--row", "7", "--json").stderr
    assert "the row was read by other@" in warned
    assert "the row says strategies: gratitude; read alone it is apology" in warned
    assert "the reply is empty" in explain("--scored", str(scored), "--row", "x", code=2).stderr
    refused = explain("--scored", str(scored), "--row", "9", code=2).stderr
    assert "no row '9': none whose column id is so, and 3 rows in all" in refused


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scored", "a.jsonl"], "--row ID_OR_NUMBER go together"),
        (["--replay", "a.json", "hello"], "give one of REPLY, --replay"),
        (["--replay", "nowhere.json"], "nowhere.json cannot be replayed: No such file"),
        (["--replay", "/dev/null"], "make it with: tactful explain --json"),
        (["--scored", "nowhere.jsonl", "--row", "1"], "nowhere.jsonl does not exist"),
    ],
)
def test_wrong_usage_is_named(explain: Explain, arguments: list[str], message: str) -> None:
    assert message in explain(*arguments, code=2).stderr
