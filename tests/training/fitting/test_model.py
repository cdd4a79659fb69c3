"""The model's outputs, gradients, start and dropout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import DistilBertConfig, DistilBertModel, PreTrainedModel

from tactful.reading.encoding import EncodingLimits, ReplyEncoding
from tactful.reading.tasks import Task, Tasks
from tactful_training.config.config_schema import ModelConfig
from tactful_training.fitting.encoder import EncoderSource, load_encoder
from tactful_training.fitting.model import (
    Dropout,
    LabelAttentionModel,
    prior_log_odds,
    replace_dropout,
    torch_forward,
)

NO_DROPOUT = ModelConfig(
    dropout=0.0, hidden_dropout=0.0, attention_dropout=0.0, freeze_word_embeddings=False
)


@pytest.fixture(scope="module")
def encoding(tiny_encoder: Path) -> ReplyEncoding:
    tokenizer = (tiny_encoder / "tokenizer.json").read_bytes()
    return ReplyEncoding(tokenizer, EncodingLimits(max_tokens=32, max_windows=2, window_overlap=4))


@pytest.fixture
def encoder(tiny_encoder: Path) -> PreTrainedModel:
    return load_encoder(EncoderSource("tests/tiny", tiny_encoder, ""), NO_DROPOUT)


def test_it_starts_at_the_base_rates_and_the_mean_over_the_reply(
    encoder: PreTrainedModel, encoding: ReplyEncoding
) -> None:
    model = LabelAttentionModel(encoder, 3).eval()
    priors = np.array([-2.0, 0.0, 1.5], dtype=np.float32)
    model.start_at(priors)
    batch = encoding.collate(
        [
            row.windows[0]
            for row in encoding.encode([("we are sorry", "where is it"), ("noted", "")])
        ]
    )
    logits, scores = torch_forward(model)(batch)
    assert logits.shape == (2, 3)
    assert scores.shape == (*batch.input_ids.shape, 3)
    is_reply = (batch.token_type_ids * batch.attention_mask).astype(bool)
    for row in range(2):
        np.testing.assert_allclose(logits[row], scores[row, is_reply[row]].mean(axis=0), atol=1e-5)
    assert np.abs(logits - priors).max() < 1  # weights of std 0.02 add little


def test_padding_changes_nothing(encoder: PreTrainedModel, encoding: ReplyEncoding) -> None:
    model = LabelAttentionModel(encoder, 3).eval()
    torch.nn.init.normal_(model.attention.weight)
    [row] = encoding.encode([("thank you , it was sent", "it broke")])
    forward = torch_forward(model)
    logits, scores = forward(encoding.collate(row.windows))
    padded_logits, padded_scores = forward(encoding.collate(row.windows, length=30))
    np.testing.assert_allclose(logits, padded_logits, atol=1e-5)
    np.testing.assert_allclose(scores, padded_scores[:, : scores.shape[1]], atol=1e-5)


def test_labels_attend_to_the_reply_alone(
    encoder: PreTrainedModel, encoding: ReplyEncoding
) -> None:
    model = LabelAttentionModel(encoder, 2).eval()
    torch.nn.init.normal_(model.attention.weight)
    batch = encoding.collate(encoding.encode([("thank you", "it broke")])[0].windows)
    _, scores = torch_forward(model)(batch)
    hidden = model.encoder(
        **{name: torch.from_numpy(getattr(batch, name)) for name in batch.__slots__}
    ).last_hidden_state
    attention = model.attention(hidden)[batch.token_type_ids == 1].softmax(dim=0)
    expected = (attention.detach().numpy() * scores[batch.token_type_ids == 1]).sum(axis=0)
    np.testing.assert_allclose(torch_forward(model)(batch)[0][0], expected, atol=1e-5)


def test_the_embedding_table_can_be_frozen(encoder: PreTrainedModel) -> None:
    model = LabelAttentionModel(encoder, 2)
    model.freeze_word_embeddings()
    frozen = [name for name, weights in model.named_parameters() if not weights.requires_grad]
    assert frozen == ["encoder.embeddings.word_embeddings.weight"]


def test_an_encoder_without_segments_or_pooler_serves_as_well(
    tmp_path: Path, encoding: ReplyEncoding
) -> None:
    settings = DistilBertConfig(
        vocab_size=encoding.largest_id + 1, dim=32, n_layers=1, n_heads=2, hidden_dim=64
    )
    DistilBertModel(settings).save_pretrained(tmp_path)
    encoder = load_encoder(EncoderSource("tests/distilled", tmp_path, ""), NO_DROPOUT)
    assert encoder.config.dropout == 0
    model = LabelAttentionModel(encoder, 2).eval()
    batch = encoding.collate(encoding.encode([("thank you", "it broke")])[0].windows)
    assert np.isfinite(torch_forward(model)(batch)[0]).all()


def test_priors_of_rare_constant_and_unknown_labels_are_finite() -> None:
    tasks = Tasks(
        (
            Task("moves", "multilabel", {"half": "", "never": "", "always": "", "unknown": ""}),
            Task("mood", "single", {"common": "", "rare": ""}),
        )
    )
    row = [[1, 0, 1, np.nan, 1, 0], [0, 0, 1, np.nan, 1, 0], [1, 0, 1, np.nan, 0, 1]]
    targets = np.array([*row, [0, 0, 1, np.nan, np.nan, np.nan]], dtype=np.float32)
    priors = prior_log_odds(targets, tasks)
    np.testing.assert_allclose(priors[:4], [0, np.log(0.5 / 4.5), np.log(4.5 / 0.5), 0], atol=1e-6)
    np.testing.assert_allclose(np.exp(priors[4:]), [2.5 / 4, 1.5 / 4], rtol=1e-6)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_share_is_dropped_and_the_mean_stays(rate: float, dtype: torch.dtype) -> None:
    torch.manual_seed(13)
    kept = Dropout(rate).train()(torch.ones(7, 300, 211, dtype=dtype)).float()

    # 443,100 draws: five standard deviations are below 0.004, a step of the rate is 1/256.
    assert (kept == 0).float().mean().item() == pytest.approx(rate, abs=0.006)
    assert kept.mean().item() == pytest.approx(1, abs=0.04)
    # No value is tied to its neighbours, in the same draw or beside it.
    dropped = (kept == 0).float().flatten()
    for lag in (1, 2, 4, 8, 64):
        pairs = torch.stack([dropped[:-lag], dropped[lag:]])
        assert abs(torch.corrcoef(pairs)[0, 1].item()) < 0.01


def test_gradients_flow_where_values_did() -> None:
    torch.manual_seed(13)
    values = torch.ones(40, 25, requires_grad=True)
    kept = Dropout(0.3).train()(values)
    kept.sum().backward()

    assert values.grad is not None
    torch.testing.assert_close(values.grad, kept.detach())


def test_the_same_seed_drops_the_same_and_evaluation_drops_nothing() -> None:
    values = torch.randn(5, 6)
    layer = Dropout(0.5).train()
    torch.manual_seed(1)
    first = layer(values)
    torch.manual_seed(1)

    torch.testing.assert_close(layer(values), first)
    assert layer.eval()(values) is values
    assert Dropout(0.0).train()(values) is values


def test_every_dropout_of_a_module_is_replaced() -> None:
    module = nn.Sequential(nn.Dropout(0.1), nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.2)))
    replace_dropout(module)

    found = [child.p for child in module.modules() if isinstance(child, Dropout)]
    assert found == [0.1, 0.2]
    assert sum(isinstance(child, nn.Dropout) for child in module.modules()) == 2
