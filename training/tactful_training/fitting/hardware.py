"""What training derives from the machine: device, number format, handling of memory."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from typing import Literal

import torch

from tactful.reading.processor import available_cpus, instructions, vendor
from tactful_training.fitting.encoder import Attention

Precision = Literal["fp32", "bf16"]

# What bf16 pays on: matrix units everywhere, vector instructions where they take half the time of
# fp32's. Intel's take as long, and conversions come on top.
_MATRIX_UNIT = "amx_bf16"
_VECTORS, _FAST_VECTORS_BY = "avx512_bf16", "AuthenticAMD"
# Of glibc's mallopt(3).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_MIB = 2**20


def device_for_training() -> torch.device:
    """CUDA where there is a device, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def choose_precision(
    wanted: Literal["auto", "fp32", "bf16"], device: torch.device, root: Path = Path("/")
) -> Precision:
    """Resolve ``auto`` for a device, from what it can do; no clock decides.

    CUDA devices that know bf16 are faster with it; so are processors with matrix units and AMD's
    with vector instructions for it (Zen 4 and later).

    Args:
        wanted: the configured value.
        device: where training runs.
        root: where ``proc`` is mounted.

    Returns:
        The format of autocast; weights and optimiser stay fp32 in either.
    """
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        pays = torch.cuda.is_bf16_supported()
    else:
        known = instructions(root, among=(_MATRIX_UNIT, _VECTORS))
        pays = _MATRIX_UNIT in known or (_VECTORS in known and vendor(root) == _FAST_VECTORS_BY)
    return "bf16" if pays else "fp32"


def choose_attention(precision: Precision, device: torch.device) -> Attention:
    """The way of attention that trains fastest; None leaves it to transformers.

    On a processor the gradients of PyTorch's fused attention take four times as long in bf16 as in
    fp32, a third of a step of the default model; products and a softmax of their own do not.
    """
    return "eager" if precision == "bf16" and device.type == "cpu" else None


def prepare_process() -> None:
    """Set threads and memory of this process for training."""
    keep_freed_memory()
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(available_cpus())


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
