from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import load_file, save_file

from tactful_training.config.config_file import load_config
from tactful_training.config.config_schema import Config
from tactful_training.errors import EncoderError
from tactful_training.fitting.encoder import OFFLINE_PACKAGES, find_encoder, load_encoder
from tactful_training.fitting.training_inputs import check_fit, load_training_inputs


@pytest.fixture
def copy(tiny_encoder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_encoder, tmp_path / "encoder"))


def test_a_local_path_comes_first(make_config: Callable[..., Config], copy: Path) -> None:
    expected = hashlib.sha256((copy / "model.safetensors").read_bytes()).hexdigest()
    for pinned in ("null", expected):
        config = make_config(encoder__path=copy, encoder__sha256=pinned)
        source = find_encoder(config.encoder)
        assert source.folder == copy
        assert source.sha256 == expected
        assert source.tokenizer == (copy / "tokenizer.json").read_bytes()


def test_other_weights_than_pinned_are_refused(
    make_config: Callable[..., Config], copy: Path
) -> None:
    config = make_config(encoder__path=copy, encoder__sha256="ab" * 32)
    with pytest.raises(EncoderError, match=r"(?s)expected encoder\.sha256 abab.*found.*null"):
        find_encoder(config.encoder)


def test_a_path_that_lacks_files_is_named(make_config: Callable[..., Config], copy: Path) -> None:
    (copy / "tokenizer.json").unlink()
    with pytest.raises(EncoderError, match=r"encoder, which lacks tokenizer\.json"):
        find_encoder(make_config(encoder__path=copy).encoder)
    with pytest.raises(EncoderError, match=r"nowhere, which lacks config\.json"):
        find_encoder(make_config(encoder__path=copy / "nowhere").encoder)


def test_an_encoder_that_is_nowhere_lists_where_it_was_looked_for(
    make_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    config = make_config(encoder__path="null", encoder__name="tests/nowhere")
    with pytest.raises(EncoderError) as caught:
        find_encoder(config.encoder)
    message = str(caught.value)
    for part in ("tests/nowhere", "offline package", "cache", "hub", "encoder.path"):
        assert part in message


def test_the_offline_package_holds_the_pinned_default() -> None:
    config = load_config().encoder
    pytest.importorskip(OFFLINE_PACKAGES[config.name])
    assert find_encoder(config).sha256 == config.sha256


def test_weights_that_are_missing_or_broken_are_refused(
    make_config: Callable[..., Config], copy: Path
) -> None:
    config = make_config(encoder__path=copy)
    path = copy / "model.safetensors"
    weights = load_file(path)
    dropped = next(name for name in weights if "layer.1" in name)
    save_file({name: w for name, w in weights.items() if name != dropped}, path)
    with pytest.raises(EncoderError, match=f"lacks 1 weights of a BertModel.*{dropped}"):
        load_encoder(find_encoder(config.encoder), config.model)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(EncoderError, match="cannot be loaded"):
        load_encoder(find_encoder(config.encoder), config.model)


def test_loading_is_silent_and_sets_dropout(
    make_config: Callable[..., Config], capfd: pytest.CaptureFixture[str]
) -> None:
    config = make_config(model__hidden_dropout=0.25, model__attention_dropout=0.0)
    encoder = load_encoder(find_encoder(config.encoder), config.model)
    assert capfd.readouterr() == ("", "")
    assert encoder.config.hidden_dropout_prob == 0.25
    assert encoder.config.attention_probs_dropout_prob == 0.0
    assert {parameter.dtype for parameter in encoder.parameters()} == {torch.float32}


def test_windows_longer_than_the_encoder_reads_are_refused(
    make_config: Callable[..., Config],
) -> None:
    config = make_config(encoding__max_tokens=65)
    inputs = load_training_inputs(config)
    encoder = load_encoder(inputs.encoder, config.model)
    with pytest.raises(EncoderError, match=r"max_tokens is 65.*at most 64"):
        check_fit(encoder, inputs)
    check_fit(encoder, load_training_inputs(make_config(encoding__max_tokens=64)))
