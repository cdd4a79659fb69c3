"""Dropout whose random numbers cost less than the layer that they follow."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_STEPS = 256  # of a byte


class Dropout(nn.Dropout):
    """`torch.nn.Dropout` that draws one random byte for each value.

    On a processor PyTorch draws these numbers one after the other from 32-bit words: at two cores
    a seventh of a training step of the default model. Eight values share a 64-bit draw here. The
    rate is rounded to 1/256, and kept values are scaled by the rounded one, so that the expected
    output is the input, as ever (Srivastava et al. 2014).
    """

    def forward(self, input: Tensor) -> Tensor:
        """Zero a share ``p`` of the values, of any shape, and scale up the others."""
        dropped = round(self.p * _STEPS)
        if not self.training or not dropped:
            return input
        draws = torch.empty((input.numel() + 7) // 8, dtype=torch.int64, device=input.device)
        draws.random_(torch.iinfo(torch.int64).min, None)
        values = draws.view(torch.uint8)[: input.numel()].view(input.shape)
        scale = _STEPS / (_STEPS - dropped)
        return input * (values >= dropped).to(input.dtype).mul_(scale)


def replace_dropout(module: nn.Module) -> None:
    """Put `Dropout` in the place of every `torch.nn.Dropout` within a module."""
    for name, child in module.named_children():
        if type(child) is nn.Dropout:
            setattr(module, name, Dropout(child.p))
        else:
            replace_dropout(child)
