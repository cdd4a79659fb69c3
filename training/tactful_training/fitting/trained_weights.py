"""Trained weights as files: kept with a run, and read to start another training from.

A folder holds ``model.safetensors`` (the whole `LabelAttentionModel`), ``config.json`` and
``tokenizer.json`` of its encoder, and ``heads.json``, which names tasks and labels in the order of
the label axis.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
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
from tactful_training.fitting.encoder import CONFIG, DROPOUTS, TOKENIZER, WEIGHTS, EncoderSource
from tactful_training.fitting.model import LabelAttentionModel

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
_TOKENIZER_ASIDE = {"padding", "truncation"}  # serving sets them itself


@dataclass(frozen=True, eq=False)
class StartWeights:
    """Weights of a finished training that another one starts from.

    Attributes:
        address: as the config names them.
        run: the MLflow run that made them; None for a folder.
        sha256: of ``model.safetensors``, hex.
        tasks: those of the label axis.
        weights: the state of the model.
    """

    address: str
    run: str | None
    sha256: str
    tasks: Tasks
    weights: Mapping[str, Tensor]

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
    for name in (CONFIG, TOKENIZER):
        write_file(folder / name, (encoder.folder / name).read_bytes())
    write_file(folder / WEIGHTS, safetensors.torch.save(weights))


def read_weights(address: str, encoder: EncoderSource) -> StartWeights:
    """Read weights to start from, which fit an encoder.

    Args:
        address: ``runs:/RUN``, ``models:/NAME@ALIAS``, ``models:/NAME/VERSION`` or a folder.
        encoder: what the config names.

    Raises:
        EncoderError: there are none, or they are of another encoder or tokenizer.
    """
    with _located(address) as (folder, run):
        if lacking := [name for name in _FILES if not (folder / name).is_file()]:
            raise EncoderError(
                f"encoder.init_from: {address} lacks {', '.join(lacking)}; the weights of a "
                f"training are a folder of {', '.join(_FILES)}"
            )
        _check_same(address, folder, encoder)
        content = (folder / WEIGHTS).read_bytes()
        try:
            heads = json.loads((folder / _HEADS).read_bytes())
            tasks = Tasks(
                tuple(
                    Task(each["name"], each["kind"], dict.fromkeys(each["labels"], ""))
                    for each in heads["tasks"]
                )
            )
            weights = safetensors.torch.load(content)
        except (ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
            raise EncoderError(f"encoder.init_from: {address} cannot be read: {error}") from error
    return StartWeights(address, run, sha256_hex(content), tasks, weights)


def take_over(model: LabelAttentionModel, tasks: Tasks, start: StartWeights) -> list[str]:
    """Put the start weights into a model: the encoder, and the heads of labels that are the same.

    A label is the same where task, its kind and the label are; others keep their fresh heads.

    Args:
        model: changed in place.
        tasks: of its label axis.
        start: the weights.

    Returns:
        The labels that start fresh, as ``task/label``.

    Raises:
        EncoderError: the weights are not those of such a model.
    """
    state = model.state_dict()
    for name, ours in state.items():
        theirs = start.weights.get(name)
        wanted = list(ours.shape)
        if name in _ROWS:
            wanted[0] = start.tasks.size
        if theirs is None or list(theirs.shape) != wanted:
            found = "nothing" if theirs is None else list(theirs.shape)
            raise EncoderError(
                f"encoder.init_from: {start.address} holds {found} for {name}, the model of this "
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
def _located(address: str) -> Iterator[tuple[Path, str | None]]:
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
                f"encoder.init_from: no weights at {address}: {'; '.join(error.problems)}. Runs of "
                f"`tactful train` hold them under {WEIGHTS_FOLDER}/ among their artifacts; runs of "
                "sweeps and of older versions do not"
            ) from error
        yield folder, run


def _check_same(address: str, folder: Path, encoder: EncoderSource) -> None:
    """Check that the weights are of a model with this architecture and this tokenizer."""
    ours, theirs = (_settings(each / CONFIG, _CONFIG_ASIDE) for each in (encoder.folder, folder))
    other = [
        f"{key} {theirs[key]!r} there, {ours[key]!r} in {encoder.folder}"
        for key in sorted(ours.keys() & theirs.keys())
        if ours[key] != theirs[key]
    ]
    if other:
        raise EncoderError(
            f"encoder.init_from: {address} was trained from another kind of encoder than "
            f"{encoder.name}: {'; '.join(other)}"
        )
    files = [each / TOKENIZER for each in (encoder.folder, folder)]
    ours, theirs = (_settings(each, _TOKENIZER_ASIDE) for each in files)
    if ours != theirs:
        raise EncoderError(
            f"encoder.init_from: {address} was trained with another tokenizer than that of "
            f"{encoder.name} in {encoder.folder}: its weights would read other words"
        )


def _settings(path: Path, aside: set[str]) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise EncoderError(f"{path} is no JSON: {error}") from error
    return {key: value for key, value in content.items() if key not in aside}
