"""The mean of the weights over the end of a training (Polyak and Juditsky 1992; Izmailov 2018).

It lies in a flatter place than the last weights and often reads other replies better. The
validation split decides whether it is taken.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from tactful.storage import write_file

_FILE = "average.safetensors"
_COUNT = "count"
# Steps between two weights that are counted in: neighbours hardly differ.
_EVERY = 8


class WeightAverage(TrainerCallback):
    """Averages the weights of a model over the last steps.

    Args:
        model: whose floating-point weights are averaged.
        share: of all steps, at the end; 0 averages nothing.
    """

    def __init__(self, model: nn.Module, share: float) -> None:
        self._model, self._share = model, share
        self._sums: dict[str, Tensor] = {}
        self._count = 0

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Count the weights in, now and then."""
        if state.global_step > (1 - self._share) * state.max_steps and (
            state.global_step % _EVERY == 0
        ):
            self._count += 1
            for name, value in self._model.state_dict().items():
                if value.is_floating_point():
                    value = value.detach().float()
                    mean = self._sums.setdefault(name, torch.zeros_like(value))
                    mean += (value - mean) / self._count

    def weights(self) -> dict[str, Tensor] | None:
        """The mean, and as they are the weights that are no floats; None where nothing counts."""
        if not self._count:
            return None
        return {
            name: self._sums[name].to(value.dtype) if name in self._sums else value.detach()
            for name, value in self._model.state_dict().items()
        }

    def save(self, checkpoint: Path) -> None:
        """Put what was counted so far beside a checkpoint."""
        if self._count:
            sums = {name: value.cpu() for name, value in self._sums.items()}
            content = safetensors.torch.save({**sums, _COUNT: torch.tensor(self._count)})
            write_file(checkpoint / _FILE, content)

    def load(self, checkpoint: Path) -> None:
        """Go on from there."""
        path = checkpoint / _FILE
        if path.is_file():
            device = next(self._model.parameters()).device
            sums = safetensors.torch.load_file(path)
            self._count = int(sums.pop(_COUNT))
            self._sums = {name: value.to(device) for name, value in sums.items()}
