from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import DistilBertConfig, DistilBertModel, PreTrainedModel

from tactful.reading.encoding import EncodingLimits, ReplyEncoding
from tactful.reading.tasks import Task, Tasks
from tactful_training.config.config_schema import Model as ModelConfig
from tactful_training.fitting.encoder import EncoderSource, load_encoder
from tactful_training.fitting.model import LabelAttentionModel, prior_log_odds, torch_forward

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
