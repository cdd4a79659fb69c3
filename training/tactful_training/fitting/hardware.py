"""What training derives from the machine: device, number format, handling of memory."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Mapping
from typing import Literal

import torch

Precision = Literal["fp32", "bf16"]

# A layer of the default encoder at work: (tokens x width) · (width x 4 width).
_ROWS, _INNER, _COLUMNS = 1024, 384, 1536
_ROUNDS = 12
# bf16 also costs conversions and accuracy: it must pay clearly, not by the noise of a measurement.
_CLEARLY = 1.25


def choose_precision(wanted: Literal["auto", "fp32", "bf16"], device: torch.device) -> Precision:
    """Resolve ``auto`` for a device.

    CUDA devices that know bf16 are faster with it. Processors differ: with matrix units bf16 is
    twice as fast, with vector instructions alone it is often slower, so a product is timed (about
    a third of a second).

    Args:
        wanted: the configured value.
        device: where training runs.

    Returns:
        The format of autocast; weights and optimiser stay fp32 in either.
    """
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    return faster_precision(_time_products())


def faster_precision(seconds: Mapping[Precision, float]) -> Precision:
    """bf16 if its product takes clearly less time.

    Args:
        seconds: format to the time of the same product in it.
    """
    return "bf16" if seconds["fp32"] > _CLEARLY * seconds["bf16"] else "fp32"


def _time_products() -> dict[Precision, float]:
    types: dict[Precision, torch.dtype] = {"bf16": torch.bfloat16, "fp32": torch.float32}
    operands = {
        name: (torch.ones(_ROWS, _INNER, dtype=dtype), torch.ones(_INNER, _COLUMNS, dtype=dtype))
        for name, dtype in types.items()
    }
    best = dict.fromkeys(operands, float("inf"))
    # In turn, and the shortest time of each: another program on the machine disturbs both alike,
    # and the first round, which sets up the kernels, counts for neither.
    for _ in range(_ROUNDS):
        for name, (left, right) in operands.items():
            start = time.perf_counter()
            left @ right
            best[name] = min(best[name], time.perf_counter() - start)
    return best


# Of glibc's mallopt(3).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_MIB = 2**20


def keep_freed_memory() -> bool:
    """Let glibc keep freed memory for the next step instead of returning it to the system.

    By default every large tensor is mapped afresh and its pages are cleared by the kernel at first
    touch, again and again: about a tenth of a training step of the default model on two cores.

    Returns:
        Whether it was done: only where the C library is glibc, and not where its ``MALLOC_…``
        environment variables show that somebody has tuned it already.
    """
    if sys.platform != "linux" or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    settings = {_MMAP_THRESHOLD: 32 * _MIB, _TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 64 * _MIB}
    taken = [mallopt(name, value) for name, value in settings.items()]
    return all(taken)
