"""An encoder that is cut down to some of its layers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import (
    AlbertConfig,
    AlbertModel,
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    ElectraConfig,
    ElectraModel,
    MPNetConfig,
    MPNetModel,
    PreTrainedModel,
    RobertaConfig,
    RobertaModel,
)

from tactful.reading.batches import run_rows
from tactful_training.config.config_schema import Config
from tactful_training.errors import ConfigError, EncoderError
from tactful_training.fitting.encoder import EncoderSource, load_encoder
from tactful_training.fitting.encoder_layers import keep_layers, kept_weights, layer_list
from tactful_training.fitting.model import LabelAttentionModel, torch_forward
from tactful_training.fitting.trained_weights import read_start, take_over, write_weights
from tactful_training.fitting.training_inputs import TrainingInputs, load_training_inputs

Make = Callable[..., Config]
SIZES = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
}
FAMILIES: dict[str, Callable[[], PreTrainedModel]] = {
    "bert": lambda: BertModel(BertConfig(**SIZES), add_pooling_layer=False),
    "roberta": lambda: RobertaModel(RobertaConfig(**SIZES), add_pooling_layer=False),
    "electra": lambda: ElectraModel(ElectraConfig(**SIZES, embedding_size=16)),
    "mpnet": lambda: MPNetModel(MPNetConfig(**SIZES), add_pooling_layer=False),
    "distilbert": lambda: DistilBertModel(
        DistilBertConfig(
            vocab_size=60, dim=16, n_layers=4, n_heads=2, hidden_dim=32, max_position_embeddings=40
        )
    ),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_kept_layers_compute_what_they_did(family: str) -> None:
    torch.manual_seed(3)
    encoder = FAMILIES[family]().eval()
    whole = {name: value.clone() for name, value in encoder.state_dict().items()}
    prefix = layer_list(encoder)
    ids = torch.arange(5, 17).reshape(2, 6)
    states: list[torch.Tensor] = []
    handles = [
        layer.register_forward_hook(lambda *given: states.append(given[2]))
        for layer in encoder.get_submodule(prefix)
    ]
    encoder(input_ids=ids)
    for handle in handles:
        handle.remove()

    keep_layers(encoder, [0, 1])
    assert encoder.config.num_hidden_layers == 2
    found = encoder(input_ids=ids).last_hidden_state
    second = states[1][0] if isinstance(states[1], tuple) else states[1]
    torch.testing.assert_close(found, second)
    kept = kept_weights(whole, prefix, [0, 1])
    assert {name: list(value.shape) for name, value in kept.items()} == {
        name: list(value.shape) for name, value in encoder.state_dict().items()
    }
    assert all(torch.equal(value, kept[name]) for name, value in encoder.state_dict().items())


def test_layers_that_are_not_there_are_named(make_config: Make) -> None:
    config = make_config(encoder__layers="[0, 2]")
    source = load_training_inputs(config).encoder
    with pytest.raises(EncoderError, match=r"names layer 2, but the encoder has 2, .*0 to 1"):
        load_encoder(source, config.model)
    for wrong in ("[1, 0]", "[0, 0]", "[]", "[-1]"):
        with pytest.raises(ConfigError, match=r"encoder\.layers|ascending order"):
            make_config(encoder__layers=wrong)


def test_an_encoder_that_shares_its_layers_cannot_be_cut() -> None:
    settings = AlbertConfig(**SIZES, embedding_size=8)
    with pytest.raises(EncoderError, match="AlbertModel does not keep its layers in a list"):
        keep_layers(AlbertModel(settings), [0])


def test_trained_weights_of_a_cut_encoder_say_how_deep_it_is(
    make_config: Make, inputs: TrainingInputs, tmp_path: Path
) -> None:
    """A cut model starts from the whole one's weights, and from those of one cut like it."""
    config = make_config(encoder__layers="[1]")
    short = load_training_inputs(config).encoder
    whole = LabelAttentionModel(load_encoder(inputs.encoder, config.model), inputs.tasks.size)
    torch.nn.init.normal_(whole.attention.weight)
    write_weights(tmp_path / "whole", dict(whole.state_dict()), inputs.encoder, inputs.tasks)
    cut = LabelAttentionModel(load_encoder(short, config.model), inputs.tasks.size)
    start = read_start(str(tmp_path / "whole"), short)
    assert take_over(cut, inputs.tasks, start, short) == []
    ours, theirs = cut.state_dict(), whole.state_dict()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name.replace("layer.0", "layer.1")]), name

    write_weights(tmp_path / "cut", dict(cut.state_dict()), short, inputs.tasks)
    assert json.loads((tmp_path / "cut" / "config.json").read_text())["num_hidden_layers"] == 1
    again = LabelAttentionModel(load_encoder(short, config.model), inputs.tasks.size)
    take_over(again, inputs.tasks, read_start(str(tmp_path / "cut"), short), short)
    assert all(torch.equal(value, ours[name]) for name, value in again.state_dict().items())
    with pytest.raises(EncoderError, match="num_hidden_layers 1 there, 2 in"):
        read_start(str(tmp_path / "cut"), inputs.encoder)


def test_a_cut_model_reads(make_config: Make, inputs: TrainingInputs, tiny_encoder: Path) -> None:
    source = EncoderSource("tests/tiny", tiny_encoder, "", (0,))
    assert source.to_json()["layers"] == [0]
    model = LabelAttentionModel(load_encoder(source, make_config().model), inputs.tasks.size)
    encoded = [example.encoded for example in inputs.validation[:3]]
    outputs = run_rows(encoded, inputs.encoding, torch_forward(model.eval()), inputs.tasks)
    assert all(torch.isfinite(torch.from_numpy(each.logits)).all() for each in outputs)
