"""How the C library handles the large, short-lived blocks of a training step."""

from __future__ import annotations

import ctypes
import os
import sys

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
