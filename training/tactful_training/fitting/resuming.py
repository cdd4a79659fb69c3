"""What a killed run leaves behind and the next one goes on from: checkpoints in a work folder.

The folder's name is derived from config, data and encoder, so that another experiment never meets
these files. It goes when the run has finished.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import safetensors.torch
from torch import Tensor

from tactful.storage import locked, write_file
from tactful_training.errors import RunError
from tactful_training.fitting.encoder import WEIGHTS
from tactful_training.fitting.epochs import Epoch
from tactful_training.fitting.hardware import Precision
from tactful_training.fitting.trained_weights import WEIGHTS_FOLDER, write_weights
from tactful_training.fitting.training_inputs import TrainingInputs

RUNS = Path("runs")
_STATE, _LOCK, _TRAINED = "state.json", "lock", "trained.json"


@dataclass(frozen=True)
class Fitted:
    """A finished training.

    Attributes:
        weights: the state of the model after its best epoch, on the CPU.
        epochs: all epochs, also those before an interruption.
        best: number of the best epoch.
        start: validation before the first step (number 0) where training went on from weights.
        averaged: validation score of the mean of the last weights, where that was taken instead of
            the best epoch's.
    """

    weights: dict[str, Tensor]
    epochs: tuple[Epoch, ...]
    best: int
    start: Epoch | None = None
    averaged: float | None = None

    @classmethod
    def of(
        cls,
        weights: dict[str, Tensor],
        epochs: Sequence[Epoch],
        best: int,
        *,
        averaged: float | None = None,
    ) -> Fitted:
        """From all epochs, the start (number 0) among them where it was measured."""
        start = next((epoch for epoch in epochs if epoch.number == 0), None)
        return cls(weights, tuple(epoch for epoch in epochs if epoch.number), best, start, averaged)

    @property
    def all_epochs(self) -> tuple[Epoch, ...]:
        """All that was measured in training, the start first where it was."""
        return self.epochs if self.start is None else (self.start, *self.epochs)


@dataclass
class State:
    """What a run remembers beside its checkpoints.

    Attributes:
        identity: digests of config, data and encoder; a run resumes only if all are the same.
        precision: chosen at the start, and kept: another one would be another run.
        tracking_run: id of the MLflow run, or None before there is one.
        tracked_epochs: number of the last epoch that MLflow has; -1 before there is one.
    """

    identity: dict[str, str]
    precision: Precision | None = None
    tracking_run: str | None = None
    tracked_epochs: int = -1


class WorkFolder:
    """An open, locked work folder; see `open_work_folder`.

    Attributes:
        path: the folder.
        state: what is remembered; `save` after a change.
        resumed: whether an earlier run left it.
    """

    def __init__(self, path: Path, identity: Mapping[str, str]) -> None:
        self.path = path
        self.state = State(dict(identity))
        self.resumed = False
        try:
            state = State(**json.loads((path / _STATE).read_bytes()))
        except (OSError, ValueError, TypeError):
            pass  # new, or killed before it had anything to resume
        else:
            if state.identity == self.state.identity:
                self.state, self.resumed = state, True
        if not self.resumed:
            self.clear()
            self.save()

    @property
    def checkpoints(self) -> Path:
        """Where the trainer's checkpoints go."""
        return self.path / "checkpoints"

    def save(self) -> None:
        """Write the state."""
        write_file(self.path / _STATE, json.dumps(asdict(self.state)).encode())

    @property
    def weights(self) -> Path:
        """Where the trained weights are kept; see `tactful_training.fitting.trained_weights`."""
        return self.path / WEIGHTS_FOLDER

    def save_fitted(self, fitted: Fitted, inputs: TrainingInputs) -> None:
        """Keep the result of training, so that only what comes after it is done again."""
        write_weights(self.weights, fitted.weights, inputs.encoder, inputs.tasks)
        told = {
            "epochs": [asdict(epoch) for epoch in fitted.all_epochs],
            "best": fitted.best,
            "averaged": fitted.averaged,
        }
        write_file(self.path / _TRAINED, json.dumps(told).encode())

    @property
    def is_fitted(self) -> bool:
        """Whether an earlier run came as far as trained weights."""
        return (self.path / _TRAINED).is_file()

    def load_fitted(self) -> Fitted | None:
        """The result of training if an earlier run came that far."""
        if not self.is_fitted:
            return None
        told = json.loads((self.path / _TRAINED).read_bytes())
        weights = safetensors.torch.load_file(self.weights / WEIGHTS)
        epochs = [Epoch(**epoch) for epoch in told["epochs"]]
        return Fitted.of(weights, epochs, told["best"], averaged=told.get("averaged"))

    def clear(self) -> None:
        """Remove all but the lock: the run has finished, or is to start anew."""
        # First, so that a kill in between leaves nothing that looks like trained weights.
        (self.path / _TRAINED).unlink(missing_ok=True)
        for path in self.path.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != _LOCK:
                path.unlink()


@contextmanager
def open_work_folder(identity: Mapping[str, str]) -> Iterator[WorkFolder]:
    """Open the work folder of a run in `RUNS` and keep other processes out of it.

    Args:
        identity: digests of everything that makes this run what it is.

    Raises:
        RunError: another process is at the same run, or the folder cannot be written.
    """
    name = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]
    path = RUNS / name
    refusal = RunError(
        f"the same training (same config, data and encoder) is already running in {path}; "
        "wait for it or stop it first"
    )
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(path / _LOCK, refusal=refusal))
        except OSError as error:
            raise RunError(f"the work folder {path} cannot be used: {error}") from error
        yield WorkFolder(path, identity)
    for folder in (path, RUNS):
        with suppress(OSError):  # something to go on from is left, or another run is there
            folder.rmdir()


_MARK = "complete.json"


@contextmanager
def saving(checkpoint: Path) -> Iterator[None]:
    """Mark a checkpoint as whole when the block has written it, and not before.

    The mark holds the size of each file, so that half a deletion is noticed as well.
    """
    mark = checkpoint / _MARK
    mark.unlink(missing_ok=True)
    yield
    sizes = {path.name: path.stat().st_size for path in checkpoint.iterdir()}
    write_file(mark, json.dumps(sizes).encode())


def last_complete(folder: Path) -> Path | None:
    """The newest whole checkpoint in a folder; what was left half-written or half-deleted goes.

    Args:
        folder: where ``checkpoint-<step>`` folders lie; it need not exist.

    Returns:
        The checkpoint to resume from, or None.
    """
    whole: dict[int, Path] = {}
    for checkpoint in folder.glob("checkpoint-*"):
        if _is_complete(checkpoint):
            whole[int(checkpoint.name.partition("-")[2])] = checkpoint
        else:
            shutil.rmtree(checkpoint)
    return whole[max(whole)] if whole else None


def _is_complete(checkpoint: Path) -> bool:
    try:
        sizes: dict[str, int] = json.loads((checkpoint / _MARK).read_bytes())
        return all((checkpoint / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False
