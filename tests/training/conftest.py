"""A tiny encoder and small synthetic data sets, so that whole trainings take seconds."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel

from tactful_training.config.config_file import load_config
from tactful_training.config.config_schema import Config
from tactful_training.fitting.encoder import load_encoder
from tactful_training.fitting.model import LabelAttentionModel
from tactful_training.fitting.onnx_export import export_onnx
from tactful_training.fitting.training_inputs import TrainingInputs, load_training_inputs
from tactful_training.registry.mlflow_tracker import Tracker

# Before anything imports MLflow: tests talk to nobody.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

PHRASES = {
    "sorry": ["we are sorry", "my apologies"],
    "thanks": ["thank you", "thanks a lot"],
    "question": ["which one is it ?", "may i ask why ?"],
}
MOODS = {"happy": "what a great day", "sad": "that is sad news", "flat": "noted"}
FILLER = ["the parcel is here", "see the page", "it was sent", "order number five", "as agreed"]
CONTEXTS = ["where is my parcel", "it broke", None]
TASKS = [
    {"name": "moves", "kind": "multilabel", "labels": {name: f"says {name}" for name in PHRASES}},
    {"name": "mood", "kind": "single", "labels": {name: f"sounds {name}" for name in MOODS}},
]


def make_row(number: int, split: str, choice: random.Random) -> dict[str, Any]:
    """A reply of a few sentences; a phrase carries each label."""
    moves = [move for move in PHRASES if choice.random() < 0.4]
    mood = choice.choice(list(MOODS))
    parts = [(None, MOODS[mood]), (None, choice.choice(FILLER))]
    parts += [(move, choice.choice(PHRASES[move])) for move in moves]
    choice.shuffle(parts)
    reply, evidence = "", []
    for move, text in parts:
        if move is not None:
            evidence.append({"label": move, "start": len(reply), "end": len(reply) + len(text)})
        reply += f"{text} . "
    return {
        "id": f"{split}-{number}",
        "group": f"{split}-{number // 2}",
        "context": choice.choice(CONTEXTS),
        "reply": reply.strip(),
        "labels": {"moves": moves, "mood": mood},
        "evidence": evidence,
    }


def write_data_set(
    folder: Path, rows: dict[str, list[dict[str, Any]]], tasks: list[dict[str, Any]]
) -> Path:
    folder.mkdir(parents=True)
    card = yaml.safe_dump({"license": "cc0-1.0", "language": ["en"], "tasks": tasks})
    (folder / "README.md").write_text(f"---\n{card}---\n# Synthetic\n")
    for split, some in rows.items():
        lines = "".join(json.dumps(row) + "\n" for row in some)
        (folder / f"{split}.jsonl").write_text(lines)
    return folder


def synthetic_rows(train: int = 96, other: int = 48) -> dict[str, list[dict[str, Any]]]:
    choice = random.Random(7)
    sizes = {"train": train, "validation": other, "test": other}
    return {
        split: [make_row(number, split, choice) for number in range(size)]
        for split, size in sizes.items()
    }


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A randomly initialised BERT of 32 dimensions with a WordPiece tokenizer."""
    folder = tmp_path_factory.mktemp("encoder")
    texts = [text for group in PHRASES.values() for text in group]
    texts += [*MOODS.values(), *FILLER, *filter(None, CONTEXTS)]
    words = dict.fromkeys(word for text in texts for word in text.split())
    letters = [*"abcdefghijklmnopqrstuvwxyz0123456789.?!,'"]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokens = [*special, *letters, *(f"##{letter}" for letter in letters), *words]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer.add_special_tokens(special)
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(0)
    settings = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    BertModel(settings).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def data_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tasks with evidence; other labels than the shipped ones."""
    return write_data_set(tmp_path_factory.mktemp("data") / "moves", synthetic_rows(), TASKS)


@pytest.fixture(scope="session")
def data_set_writer() -> Callable[..., Path]:
    return write_data_set


@pytest.fixture(scope="session")
def overrides(tiny_encoder: Path, data_set: Path) -> dict[str, Any]:
    """Settings of a training that takes about two seconds, by dotted path."""
    return {
        "data.folder": str(data_set),
        "encoder.name": "tests/tiny",
        "encoder.path": str(tiny_encoder),
        "encoder.sha256": "null",
        "encoding.max_tokens": 24,
        "encoding.max_windows": 3,
        "encoding.window_overlap": 8,
        "model.freeze_word_embeddings": "false",
        "training.epochs": 3,
        "training.learning_rate": 2.0e-3,
        "training.precision": "fp32",
        "calibration.min_positives": 5,
        "quantisation.candidates": "[]",
        "goldens.count": 6,
        "evaluation.resamples": 20,
    }


@pytest.fixture(scope="session")
def make_config(overrides: dict[str, Any]) -> Callable[..., Config]:
    """The configuration of `overrides`, with further changes by dotted path."""

    def make(**changes: Any) -> Config:
        settings = {**overrides, **{key.replace("__", "."): v for key, v in changes.items()}}
        return load_config(None, [f"{key}={value}" for key, value in settings.items()])

    return make


@pytest.fixture(scope="module")
def inputs(make_config: Callable[..., Config]) -> TrainingInputs:
    """What a training of the synthetic data set works with."""
    return load_training_inputs(make_config())


@pytest.fixture(scope="module")
def model(make_config: Callable[..., Config], inputs: TrainingInputs) -> LabelAttentionModel:
    """An untrained model whose labels attend to different tokens."""
    torch.manual_seed(1)
    encoder = load_encoder(inputs.encoder, make_config().model, attention="eager")
    model = LabelAttentionModel(encoder, inputs.tasks.size).eval()
    torch.nn.init.normal_(model.attention.weight)
    return model


@pytest.fixture(scope="module")
def exported(model: LabelAttentionModel) -> bytes:
    """That model as ONNX."""
    return export_onnx(model, opset=17)


@pytest.fixture(scope="session")
def mlflow_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database: making the tables takes seconds, copying the file none."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    tracker = Tracker(f"sqlite:///{path}")
    tracker.open("empty", "empty", None)
    assert tracker.failure is None
    return path


@pytest.fixture
def workplace(mlflow_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The empty working folder of a training, with an MLflow database of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(mlflow_template, tmp_path / "mlflow.db")
    return tmp_path
