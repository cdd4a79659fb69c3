"""Trained weights as files: kept with a run, and read to start or to teach another training.

A folder holds ``model.safetensors`` (the whole `LabelAttentionModel`), ``config.json`` and
``tokenizer.json`` of its encoder, and ``heads.json``, which names tasks and labels in the order of
the label axis.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from tactful.bundle.addresses import is_registry_uri
from tactful.bundle.mlflow_store import downloaded, run_behind
from tactful.errors import BundleError
from tactful.reading.tasks import Task, Tasks
from tactful.storage import write_file
from tactful.strict_json import canonical_json, sha256_hex
from tactful_training.errors import EncoderError
from tactful_training.fitting.encoder import (
    CONFIG,
    DEPTHS,
    DROPOUTS,
    TOKENIZER,
    WEIGHTS,
    EncoderSource,
)
from tactful_training.fitting.encoder_layers import kept_weights, layer_list
from tactful_training.fitting.model import LabelAttentionModel
from tactful_training.fitting.vocabulary import same_tokenizer

WEIGHTS_FOLDER = "weights"
"""Name of the folder, beside a run and among its artifacts."""
_HEADS = "heads.json"
_FILES = (WEIGHTS, CONFIG, TOKENIZER, _HEADS)
_ENCODER = "encoder."  # prefix of its weights' names
# A row for each label.
_ROWS = ("attention.weight", "scores.weight", "scores.bias")
# What two files of one encoder may differ in.
_CONFIG_ASIDE = {*DROPOUTS, "_name_or_path", "architectures", "dtype", "torch_dtype"} | {
    "transformers_version",
    "use_cache",
}
_INIT_FROM = "encoder.init_from"


@dataclass(frozen=True, eq=False)
class TrainedWeights:
    """Weights of a finished training.

    Attributes:
        address: as the config names them.
        run: the MLflow run that made them; None for a folder.
        sha256: of ``model.safetensors``, hex.
        tasks: those of the label axis.
        weights: the state of the model.
        settings: the content of ``config.json``, of the encoder.
        tokenizer: the content of ``tokenizer.json``.
    """

    address: str
    run: str | None
    sha256: str
    tasks: Tasks
    weights: Mapping[str, Tensor]
    settings: Mapping[str, Any]
    tokenizer: bytes

    def to_json(self) -> dict[str, str | None]:
        """For the manifest."""
        return {"address": self.address, "mlflow_run": self.run, "sha256": self.sha256}


def write_weights(
    folder: Path, weights: dict[str, Tensor], encoder: EncoderSource, tasks: Tasks
) -> None:
    """Write the folder; the weights come last.

    Raises:
        OSError: the disk refuses.
    """
    folder.mkdir(parents=True, exist_ok=True)
    named = [{"name": t.name, "kind": t.kind, "labels": list(t.names)} for t in tasks]
    write_file(folder / _HEADS, canonical_json({"tasks": named}) + b"\n")
    settings = (encoder.folder / CONFIG).read_bytes()
    if encoder != encoder.whole:
        settings = json.dumps(encoder.settings, indent=2).encode()
    write_file(folder / CONFIG, settings)
    write_file(folder / TOKENIZER, encoder.tokenizer)
    write_file(folder / WEIGHTS, safetensors.torch.save(weights))


def read_weights(address: str, key: str) -> TrainedWeights:
    """Read the weights of a finished training.

    Args:
        address: ``runs:/RUN``, ``models:/NAME@ALIAS``, ``models:/NAME/VERSION`` or a folder.
        key: of the config that names them, for errors.

    Raises:
        EncoderError: there are none.
    """
    with _located(address, key) as (folder, run):
        if lacking := [name for name in _FILES if not (folder / name).is_file()]:
            raise EncoderError(
                f"{key}: {address} lacks {', '.join(lacking)}; the weights of a "
                f"training are a folder of {', '.join(_FILES)}"
            )
        content = (folder / WEIGHTS).read_bytes()
        try:
            settings = json.loads((folder / CONFIG).read_bytes())
            heads = json.loads((folder / _HEADS).read_bytes())
            tasks = Tasks(
                tuple(
                    Task(each["name"], each["kind"], dict.fromkeys(each["labels"], ""))
                    for each in heads["tasks"]
                )
            )
            weights = safetensors.torch.load(content)
        except (ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
            raise EncoderError(f"{key}: {address} cannot be read: {error}") from error
        tokenizer = (folder / TOKENIZER).read_bytes()
    return TrainedWeights(address, run, sha256_hex(content), tasks, weights, settings, tokenizer)


def read_start(address: str, encoder: EncoderSource) -> TrainedWeights:
    """Read weights to start from, which fit an encoder.

    Where layers or pieces of the encoder are left out, the weights may be of the whole encoder or
    of one that was cut down to as many layers, of the whole vocabulary or of what is left of it.

    Args:
        address: as for `read_weights`.
        encoder: what the config names.

    Raises:
        EncoderError: there are none, or they are of another encoder or tokenizer.
    """
    start = read_weights(address, _INIT_FROM)
    _check_same(start, encoder)
    return start


def take_over(
    model: LabelAttentionModel,
    tasks: Tasks,
    start: TrainedWeights,
    encoder: EncoderSource | None = None,
) -> list[str]:
    """Put the start weights into a model: the encoder, and the heads of labels that are the same.

    A label is the same where task, its kind and the label are; others keep their fresh heads.

    Args:
        model: changed in place.
        tasks: of its label axis.
        start: the weights.
        encoder: of the model; where layers or pieces of it are left out, weights that have them are
            cut alike. None: it is whole.

    Returns:
        The labels that start fresh, as ``task/label``.

    Raises:
        EncoderError: the weights are not those of such a model.
    """
    state = model.state_dict()
    given = dict(start.weights)
    if encoder is not None:
        if not _as_deep(start, encoder):
            given = kept_weights(given, _ENCODER + layer_list(model.encoder), encoder.layers or ())
        if not _as_many_pieces(start, encoder):
            table = _table(model)
            given[table] = given[table][encoder.kept_rows]
    for name, ours in state.items():
        theirs = given.get(name)
        wanted = list(ours.shape)
        if name in _ROWS:
            wanted[0] = start.tasks.size
        if theirs is None or list(theirs.shape) != wanted:
            found = "nothing" if theirs is None else list(theirs.shape)
            raise EncoderError(
                f"{_INIT_FROM}: {start.address} holds {found} for {name}, the model of this "
                f"config {wanted}; start from weights of the same encoder"
            )
        if name.startswith(_ENCODER):
            state[name] = theirs
    kinds = {task.name: task.kind for task in start.tasks}
    fresh = []
    for (task, label), column in tasks.columns.items():
        before = start.tasks.columns.get((task, label))
        if before is None or kinds[task] != tasks.named(task).kind:
            fresh.append(f"{task}/{label}")
            continue
        for name in _ROWS:
            state[name][column] = start.weights[name][before]
    model.load_state_dict(state)
    return fresh


@contextmanager
def _located(address: str, key: str) -> Iterator[tuple[Path, str | None]]:
    """The folder with the weights, and the run behind it."""
    if not is_registry_uri(address):
        yield Path(address), None
        return
    with ExitStack() as stack:
        try:
            run = run_behind(address)
            folder = stack.enter_context(downloaded(f"runs:/{run}/{WEIGHTS_FOLDER}"))
        except BundleError as error:
            raise EncoderError(
                f"{key}: no weights at {address}: {'; '.join(error.problems)}. Runs of "
                f"`tactful train` hold them under {WEIGHTS_FOLDER}/ among their artifacts; runs of "
                "sweeps and of older versions do not"
            ) from error
        yield folder, run


def _check_same(start: TrainedWeights, encoder: EncoderSource) -> None:
    """Check that the weights are of a model with this architecture and this tokenizer."""
    # What the weights have more of is cut off when they are taken over.
    meant = encoder
    if not _as_deep(start, encoder):
        meant = replace(meant, layers=None)
    if not _as_many_pieces(start, encoder):
        meant = replace(meant, left_out=())
    ours, theirs = meant.settings, start.settings
    other = [
        f"{key} {theirs[key]!r} there, {ours[key]!r} in {encoder.folder}"
        for key in sorted(ours.keys() & theirs.keys() - _CONFIG_ASIDE)
        if ours[key] != theirs[key]
    ]
    if other:
        raise EncoderError(
            f"{_INIT_FROM}: {start.address} was trained from another kind of encoder than "
            f"{encoder.name}: {'; '.join(other)}"
        )
    try:
        same = same_tokenizer(start.tokenizer, meant.tokenizer)
    except ValueError as error:
        raise EncoderError(
            f"{_INIT_FROM}: {TOKENIZER} of {start.address} or of {encoder.folder} is no JSON: "
            f"{error}"
        ) from error
    if not same:
        raise EncoderError(
            f"{_INIT_FROM}: {start.address} was trained with another tokenizer than that of "
            f"{encoder.name} in {encoder.folder}: its weights would read other words"
        )


def _as_deep(start: TrainedWeights, encoder: EncoderSource) -> bool:
    """Whether the weights have as many layers as are kept of the encoder."""
    depth = next((start.settings[name] for name in DEPTHS if name in start.settings), None)
    return encoder.layers is None or depth == len(encoder.layers)


def _as_many_pieces(start: TrainedWeights, encoder: EncoderSource) -> bool:
    """Whether the weights have as many pieces as are kept of the vocabulary."""
    rows = encoder.kept_rows
    return rows is None or start.settings.get("vocab_size") == len(rows)


def _table(model: LabelAttentionModel) -> str:
    """Name of the embedding table among a model's weights."""
    table = model.encoder.get_input_embeddings().weight
    return next(name for name, value in model.named_parameters() if value is table)
