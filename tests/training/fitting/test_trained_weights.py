"""Trained weights are kept, and a training can start from them."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow.tracking import MlflowClient
from rich.console import Console
from tokenizers import Tokenizer
from transformers import BertConfig, BertModel

from tactful import Classifier
from tactful.reading.tasks import Task, Tasks
from tactful_training.config.config_schema import Config
from tactful_training.errors import EncoderError
from tactful_training.fitting.model import LabelAttentionModel
from tactful_training.fitting.trained_weights import read_start, take_over, write_weights
from tactful_training.fitting.training_inputs import TrainingInputs, load_training_inputs
from tactful_training.training_run import train

Make = Callable[..., Config]


@pytest.fixture
def kept(model: LabelAttentionModel, inputs: TrainingInputs, tmp_path: Path) -> Path:
    """The weights of a model, as a run keeps them."""
    folder = tmp_path / "weights"
    write_weights(folder, dict(model.state_dict()), inputs.encoder, inputs.tasks)
    return folder


def fresh(model: LabelAttentionModel, tasks: Tasks) -> LabelAttentionModel:
    """A model of the same encoder whose heads know nothing."""
    torch.manual_seed(99)
    return LabelAttentionModel(BertModel(model.encoder.config, add_pooling_layer=False), tasks.size)


def column(model: LabelAttentionModel, at: int) -> list[torch.Tensor]:
    heads = (model.attention.weight, model.scores.weight, model.scores.bias)
    return [each[at].detach() for each in heads]


def test_a_training_goes_on_where_the_other_one_was(make_config: Make, workplace: Path) -> None:
    first = train(make_config(training__epochs=2), workplace / "first", console=quiet())
    client = MlflowClient(f"sqlite:///{workplace / 'mlflow.db'}")
    names = {Path(each.path).name for each in client.list_artifacts(first.tracking_run, "weights")}
    assert names == {"model.safetensors", "config.json", "tokenizer.json", "heads.json"}
    history = client.get_metric_history(first.tracking_run, "validation/score")
    best = max(point.value for point in history)

    for address in (f"runs:/{first.tracking_run}", "models:/tactful/1"):
        said = io.StringIO()
        second = train(
            make_config(training__epochs=1, encoder__init_from=address),
            workplace / "second",
            console=Console(file=said, width=200),
        )
        assert f"starting from {address}" in said.getvalue()
        assert "labels that start fresh: none" in said.getvalue()
        assert said.getvalue().index("before the first step") < said.getvalue().index("epoch 1 of")
        history = client.get_metric_history(second.tracking_run, "validation/score")
        assert [point.step for point in history] == [0, 1]
        assert history[0].value == pytest.approx(best, abs=1e-9)

        params = client.get_run(second.tracking_run).data.params
        assert params["encoder.init_from"] == params["start.address"] == address
        assert params["start.mlflow_run"] == first.tracking_run
        bundle = Classifier.load(second.out).bundle
        assert bundle.manifest["started_from"]["mlflow_run"] == first.tracking_run
        assert f"Started from the trained weights of {address} (MLflow run" in bundle.card
        assert "best of 1 epochs: 1" in bundle.card


def quiet() -> Console:
    return Console(file=io.StringIO())


def test_heads_come_along_label_by_label(
    model: LabelAttentionModel, inputs: TrainingInputs, kept: Path
) -> None:
    _, mood = inputs.tasks
    start = read_start(str(kept), inputs.encoder)
    assert start.tasks.columns == inputs.tasks.columns
    # Other order, a label more and one less, a task more, and one whose kind is another.
    tasks = Tasks(
        (
            Task("extra", "multilabel", {"sorry": ""}),
            Task("moves", "multilabel", {"thanks": "", "regret": "", "sorry": ""}),
            Task("mood", "multilabel", dict.fromkeys(mood.names, "")),
        )
    )
    other = fresh(model, tasks)
    untouched = fresh(model, tasks)
    told = take_over(other, tasks, start)
    assert told == ["extra/sorry", "moves/regret", *(f"mood/{name}" for name in mood.names)]
    for (task, label), at in tasks.columns.items():
        like = column(untouched, at)
        if f"{task}/{label}" not in told:
            like = column(model, inputs.tasks.columns[task, label])
        assert all(map(torch.equal, column(other, at), like)), (task, label)
    for name, value in model.encoder.state_dict().items():
        assert torch.equal(other.encoder.state_dict()[name], value)


def test_a_folder_starts_a_training_and_is_part_of_what_it_is(
    make_config: Make, inputs: TrainingInputs, kept: Path
) -> None:
    config = make_config(encoder__init_from=kept)
    found = load_training_inputs(config)
    assert found.start is not None
    assert found.start.run is None
    assert found.identity(config)["start"] == found.start.sha256
    assert "start" not in inputs.identity(make_config())


def test_weights_of_another_tokenizer_are_refused(
    make_config: Make, tiny_encoder: Path, kept: Path
) -> None:
    content = json.loads((kept / "tokenizer.json").read_text())
    content["truncation"] = {"max_length": 8, "strategy": "LongestFirst"} | {
        "stride": 0,
        "direction": "Right",
    }  # set anew by serving: no other tokenizer
    (kept / "tokenizer.json").write_text(json.dumps(content, indent=4))
    assert load_training_inputs(make_config(encoder__init_from=kept)).start is not None

    tokenizer = Tokenizer.from_file(str(kept / "tokenizer.json"))
    tokenizer.add_tokens(["goodness"])
    tokenizer.save(str(kept / "tokenizer.json"))
    with pytest.raises(EncoderError) as caught:
        load_training_inputs(make_config(encoder__init_from=kept))
    for part in (str(kept), "another tokenizer", "tests/tiny", str(tiny_encoder)):
        assert part in str(caught.value)


def test_weights_of_another_architecture_are_refused(
    make_config: Make, tiny_encoder: Path, kept: Path, tmp_path: Path
) -> None:
    wider = tmp_path / "wider"
    shutil.copytree(tiny_encoder, wider)
    settings = BertConfig.from_pretrained(tiny_encoder)
    settings.hidden_size = 64
    BertModel(settings).save_pretrained(wider)
    config = make_config(encoder__init_from=kept, encoder__path=wider, encoder__name="tests/wide")
    with pytest.raises(
        EncoderError, match=r"another kind of encoder than tests/wide: hidden_size 32"
    ):
        load_training_inputs(config)


def test_weights_that_do_not_fill_the_model_are_refused(
    model: LabelAttentionModel, inputs: TrainingInputs, tmp_path: Path
) -> None:
    weights: dict[str, Any] = dict(model.state_dict())
    weights["scores.weight"] = weights["scores.weight"][:, :5].contiguous()
    write_weights(tmp_path / "cut", weights, inputs.encoder, inputs.tasks)
    start = read_start(str(tmp_path / "cut"), inputs.encoder)
    with pytest.raises(EncoderError, match=r"cut holds \[6, 5\] for scores.weight.*\[6, 32\]"):
        take_over(fresh(model, inputs.tasks), inputs.tasks, start)


def test_what_holds_no_weights_is_named(
    make_config: Make, inputs: TrainingInputs, kept: Path, workplace: Path
) -> None:
    (kept / "heads.json").unlink()
    with pytest.raises(EncoderError, match=r"weights lacks heads\.json; .* model\.safetensors"):
        load_training_inputs(make_config(encoder__init_from=kept))
    with pytest.raises(EncoderError, match=r"nowhere lacks model\.safetensors"):
        load_training_inputs(make_config(encoder__init_from=workplace / "nowhere"))

    client = MlflowClient(f"sqlite:///{workplace / 'mlflow.db'}")
    empty = client.create_run(client.create_experiment("older")).info.run_id
    for address in (f"runs:/{empty}", "runs:/0123456789abcdef", "models:/tactful@champion"):
        with pytest.raises(EncoderError, match=f"no weights at {address}.*tactful train"):
            read_start(address, inputs.encoder)
    with pytest.raises(EncoderError, match="write models:/NAME@ALIAS or models:/NAME/VERSION"):
        read_start("models:/tactful", inputs.encoder)
