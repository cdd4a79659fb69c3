"""Soft labels: of several teachers, of labels, and in files, which are refused by name."""

from __future__ import annotations

import gzip
import io
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from tactful.cli import build_app
from tactful_training.config.config_schema import Config
from tactful_training.config.shipped_files import shipped_root
from tactful_training.data.data_set import load_data_set
from tactful_training.errors import DataError
from tactful_training.fitting.model import LabelAttentionModel
from tactful_training.fitting.soft_label_file import (
    SOFT_LABELS,
    read_soft_labels,
    text_digest,
    write_soft_labels,
)
from tactful_training.fitting.soft_labels import SoftLabels, mean_of
from tactful_training.fitting.teacher import open_teacher
from tactful_training.fitting.trained_weights import write_weights
from tactful_training.fitting.training_inputs import TrainingInputs, load_training_inputs
from tactful_training.training_run import train

Make = Callable[..., Config]
SHIPPED = shipped_root() / "data_cards/support_replies"


@pytest.fixture
def kept(model: LabelAttentionModel, inputs: TrainingInputs, tmp_path: Path) -> Path:
    write_weights(tmp_path / "kept", dict(model.state_dict()), inputs.encoder, inputs.tasks)
    return tmp_path / "kept"


def chances(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits[3:] - logits[3:].max())
    return np.concatenate([1 / (1 + np.exp(-logits[:3])), powers / powers.sum()])


def test_a_file_says_what_the_teacher_said(
    make_config: Make, inputs: TrainingInputs, kept: Path, data_set: Path, workplace: Path
) -> None:
    options = ["--set", f"data.folder={data_set}", "--set", "encoding.max_tokens=24"]
    options += ["--set", "encoding.window_overlap=8", "--teacher", str(kept)]
    made = workplace / "soft.jsonl.gz"
    for _ in range(2):
        result = CliRunner().invoke(build_app(), ["data", "soften", str(made), *options, "--json"])
        assert result.exit_code == 0, result.output
        content = made.read_bytes()
    assert json.loads(result.stdout)["rows"] == len(inputs.rows["train"])
    assert made.read_bytes() == content
    rows, limits = inputs.rows["train"], inputs.encoding.limits
    teacher = open_teacher(str(kept), inputs.tasks, limits)
    found = read_soft_labels(made, rows, inputs.tasks)
    assert set(found.rows) == {row.id for row in rows}
    for row, soft in zip(rows, teacher.read(rows), strict=True):
        read = found.rows[row.id]
        np.testing.assert_allclose(chances(read.logits), chances(soft.logits), atol=2e-4)
        there = chances(soft.logits) >= 0.11
        got = 1 / (1 + np.exp(-read.token_scores[:, there].astype(np.float64)))
        meant = 1 / (1 + np.exp(-soft.token_scores[:, there].astype(np.float64)))
        np.testing.assert_allclose(got, meant, atol=0.011)
        assert np.isnan(read.token_scores[:, chances(soft.logits) < 0.09]).all()

    said = io.StringIO()
    config = make_config(distill__soft_labels=made, training__epochs=1)
    result = train(config, workplace / "out", console=Console(file=said, width=200))
    assert f"soft labels of {len(rows)} of {len(rows)} rows" in said.getvalue()
    assert "teacher_moves" in said.getvalue()
    card = (result.out / "README.md").read_text()
    source = f"the soft labels in {made.name} (sha256 `{found.sha256}`)"
    assert f"Learnt from {source} beside the labels." in card
    manifest = json.loads((result.out / "manifest.json").read_text())
    assert manifest["distilled_from"] == {
        "soft_labels": made.name,
        "soft_labels_sha256": found.sha256,
    }


def test_the_datas_own_file_is_learnt_from(
    make_config: Make, inputs: TrainingInputs, kept: Path, data_set: Path, tmp_path: Path
) -> None:
    def loaded(*folders: Path, **changes: Any) -> TrainingInputs:
        sets = folders[0] if len(folders) == 1 else f"[{', '.join(map(str, folders))}]"
        return load_training_inputs(make_config(data__folder=sets, **changes))

    first, second = (shutil.copytree(data_set, tmp_path / name) for name in "ab")
    assert loaded(first).learnt_from() is None
    soft = open_teacher(str(kept), inputs.tasks, inputs.encoding.limits).read(inputs.rows["train"])
    write_soft_labels(first / SOFT_LABELS, inputs.rows["train"], soft, inputs.tasks)
    found = loaded(first)
    assert found.soft_labels is not None
    assert found.soft_labels.path == first / SOFT_LABELS
    assert loaded(first, distill__soft_labels="null").learnt_from() is None

    # Beside a teacher the mean of both counts, and the teacher's answer where the file has none.
    only = loaded(first, distill__teacher=kept, distill__soft_labels="null")
    assert only.soft_labels is None
    said = only.soft(tmp_path / "answers")
    assert said is not None
    rows = inputs.rows["train"]
    opposite = [replace(each, logits=-each.logits) for each in soft]
    write_soft_labels(first / SOFT_LABELS, rows[1:], opposite[1:], inputs.tasks)
    taught = loaded(first, distill__teacher=kept)
    both = taught.soft(tmp_path / "answers")
    assert both is not None
    assert both[0] is not None
    assert said[0] is not None
    np.testing.assert_array_equal(both[0].logits, said[0].logits)
    for mean, ours, theirs in zip(both[1:], soft[1:], opposite[1:], strict=True):
        assert mean is not None
        expected = (chances(ours.logits) + chances(theirs.logits)) / 2
        np.testing.assert_allclose(chances(mean.logits), expected, atol=2e-4)
    learnt = taught.learnt_from()
    assert learnt is not None
    assert set(learnt) == {"address", "mlflow_run", "sha256", "soft_labels", "soft_labels_sha256"}
    identities = [each.identity(make_config()) for each in (only, taught)]
    assert {"teacher"} == set(identities[0]) & {"teacher", "soft_labels"}
    assert {"teacher", "soft_labels"} <= set(identities[1])

    # Those of one set say nothing of others.
    assert loaded(first, second).learnt_from() is None


def test_the_shipped_soft_labels_speak_of_the_shipped_rows() -> None:
    rows = load_data_set(SHIPPED).split("train")
    with gzip.open(SHIPPED / SOFT_LABELS, "rt", encoding="utf-8") as file:
        described = dict(re.findall(r'"id":"([^"]+)","text":"([^"]+)"', file.read()))
    # Of the rows that were written later the labels themselves are learnt.
    asked = [row for row in rows if row.columns["origin"] != "targeted"]
    assert described == {row.id: text_digest(row) for row in asked}


def line(inputs: TrainingInputs, path: Path) -> dict[str, Any]:
    """A sound line about the first training row."""
    row = inputs.rows["train"][0]
    soft = SoftLabels(
        np.array([2, -3, 0.5, 1, 0, -1], np.float32),
        np.array([[0, 2], [3, 5]], np.int32),
        np.zeros((2, 6), np.float16),
    )
    write_soft_labels(path, [row], [soft], inputs.tasks)
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_what_cannot_be_meant_is_refused_with_its_line(
    inputs: TrainingInputs, tmp_path: Path
) -> None:
    path = tmp_path / "soft.jsonl"
    good = line(inputs, path)
    rows = inputs.rows["train"]
    read_soft_labels(path, rows, inputs.tasks)
    mood = good["scores"]["mood"]

    def refusal(*lines: Any) -> str:
        path.write_text("".join(json.dumps(each) + "\n" for each in lines))
        with pytest.raises(DataError) as caught:
            read_soft_labels(path, rows, inputs.tasks)
        assert str(path) in str(caught.value)
        return str(caught.value)

    def scores(**changed: Any) -> dict[str, Any]:
        return {**good, "scores": {**good["scores"], **changed}}

    assert "did you mean 'thanks'" in refusal(scores(moves={"thank": 0.5}))
    assert "unknown task 'moods'" in refusal(scores(moods=mood))
    assert "their sum is 1" in refusal(scores(mood={"happy": 1.0}))
    assert "1.5 is no probability" in refusal(scores(moves={"sorry": 1.5}))
    assert "soft.jsonl:2: row" in refusal(good, good)
    assert "no row 'elsewhere'" in refusal({**good, "id": "elsewhere"})
    assert "another text" in refusal({**good, "text": "0" * 12})
    wrong = {**good, "evidence": {"moves": {"sorry": [0.5]}}}
    assert "1 numbers for 2 tokens" in refusal(wrong)
    assert "not an object" in refusal(["a"])
    assert "holds no soft labels" in refusal()
    named = tmp_path / "soft.csv"
    named.write_text("")
    with pytest.raises(DataError, match=r"ends with \.jsonl"):
        read_soft_labels(named, rows, inputs.tasks)
    broken = tmp_path / "soft.jsonl.gz"
    broken.write_bytes(gzip.compress(b"{}")[:12])
    with pytest.raises(DataError, match="cannot be read"):
        read_soft_labels(broken, rows, inputs.tasks)


def test_a_file_may_speak_of_some_labels_only(inputs: TrainingInputs, tmp_path: Path) -> None:
    path = tmp_path / "soft.jsonl"
    partial = {**line(inputs, path), "scores": {"moves": {"sorry": 0.25}}}
    del partial["tokens"], partial["evidence"]
    path.write_text(json.dumps(partial) + "\n")
    [soft] = read_soft_labels(path, inputs.rows["train"], inputs.tasks).rows.values()
    column = inputs.tasks.columns["moves", "sorry"]
    assert soft.logits[column] == pytest.approx(np.log(1 / 3))
    assert np.isnan(np.delete(soft.logits, column)).all()
    assert np.isnan(soft.at(np.array([[0, 2]], np.int32))).all()


def test_token_scores_find_the_tokens_that_share_their_characters() -> None:
    offsets = np.array([[0, 4], [5, 9]], np.int32)
    soft = SoftLabels(np.zeros(1, np.float32), offsets, np.array([[1], [3]], np.float16))
    ours = np.array([[0, 2], [2, 4], [5, 9], [4, 5], [2, 7]], np.int32)
    np.testing.assert_array_equal(soft.at(ours)[:, 0], [1, 1, 3, np.nan, 2])
    assert soft.at(offsets) is soft.token_scores


def test_an_ensemble_speaks_with_the_mean_of_its_probabilities(inputs: TrainingInputs) -> None:
    offsets = np.array([[0, 2]], np.int32)

    def say(first: float, tone: float) -> SoftLabels:
        logits = np.array([first, 0, 0, tone, 0, 0], np.float32)
        return SoftLabels(logits, offsets, np.full((1, 6), first, np.float16))

    mean = mean_of([say(2.0, 3.0), say(-2.0, -1.0)], inputs.tasks)
    both = [chances(each.logits) for each in (say(2.0, 3.0), say(-2.0, -1.0))]
    np.testing.assert_allclose(chances(mean.logits), np.mean(both, axis=0), atol=1e-4)
    assert mean.token_scores[0, 0] == pytest.approx(0, abs=1e-3)
    assert mean_of([say(2.0, 1.0)], inputs.tasks).logits[0] == 2.0

    # Who says nothing of a label, a task or a word has no part in its mean.
    silent = say(np.nan, -1.0)
    silent.logits[3:] = np.nan
    sure = say(-12.0, 15.0)
    mean = mean_of([sure, silent], inputs.tasks)
    known = ~np.isnan(silent.logits)
    np.testing.assert_array_equal(mean.logits[~known], sure.logits[~known])
    np.testing.assert_allclose(chances(mean.logits)[known], 0.5, atol=1e-4)
    np.testing.assert_array_equal(mean.token_scores, sure.token_scores)
    nobody = mean_of([silent, silent], inputs.tasks)
    assert np.isnan(nobody.logits[[0, 3, 4, 5]]).all()
    assert np.isnan(nobody.token_scores).all()
