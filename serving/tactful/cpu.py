"""How many threads and which processor: what this process may really use."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterator
from pathlib import Path

# AVX2 alone multiplies 8-bit numbers in pairs that may saturate; each of the others does not.
_FOR_INT8 = ("avx2", "avx512bw", "avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm")


def available_cpus(root: Path = Path("/")) -> int:
    """Processors this process may use: the least of its affinity and its cgroups' quota.

    In a container ``os.cpu_count()`` counts the machine's processors; as many threads then fight
    for a quota of two.

    Args:
        root: where ``proc`` and ``sys`` are mounted.
    """
    if hasattr(os, "sched_getaffinity"):
        usable = len(os.sched_getaffinity(0))
    else:
        usable = os.cpu_count() or 1
    quotas = [math.ceil(quota) for quota in _quotas(root)]
    return max(1, min([usable, *quotas]))


def processor_name(root: Path = Path("/")) -> str:
    """The model name of the processor, for messages about results that differ."""
    try:
        lines = (root / "proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "model name" and value.strip():
            return value.strip()
    return platform.processor() or platform.machine() or "unknown"


def instructions(root: Path = Path("/")) -> tuple[str, ...]:
    """Those of this processor that int8 results depend on, in Linux's names; elsewhere none."""
    try:
        lines = (root / "proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return ()
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):  # x86, ARM
            return tuple(name for name in _FOR_INT8 if name in value.split())
    return ()


def _quotas(root: Path) -> Iterator[float]:
    """CPU quotas, in processors, of every cgroup above this process."""
    try:
        entries = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    mounts = root / "sys/fs/cgroup"
    for entry in entries:
        _, _, rest = entry.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            mount, read = mounts, _quota_v2
        elif "cpu" in controllers.split(","):
            mount, read = mounts / controllers, _quota_v1
        else:
            continue
        # The path may be the host's and unknown in this container; then its upper folders, and
        # in the end the mount itself, are the ones that exist.
        group = Path(path.lstrip("/"))
        for folder in (group, *group.parents):
            quota = read(mount / folder)
            if quota is not None:
                yield quota


def _quota_v2(folder: Path) -> float | None:
    try:
        quota, period = (folder / "cpu.max").read_text().split()
        return int(quota) / int(period)  # "max" is no number: no quota
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _quota_v1(folder: Path) -> float | None:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        period = int((folder / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return None
    return quota / period if quota > 0 and period > 0 else None  # -1: no quota
