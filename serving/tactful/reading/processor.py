"""How many threads and which processor: what this process may really use."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path

# With avx2 alone, 8-bit products are summed in pairs that may saturate; with the others never.
_FOR_INT8 = ("avx2", "avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm")


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
    name = _cpuinfo(root).get("model name")
    if name:
        return name
    return platform.processor() or platform.machine() or "unknown"


def vendor(root: Path = Path("/")) -> str:
    """Who made the processor, as it says itself: ``AuthenticAMD``, ``GenuineIntel``; or nothing.

    Args:
        root: where ``proc`` is mounted.
    """
    return _cpuinfo(root).get("vendor_id", "")


def instructions(root: Path = Path("/"), *, among: Sequence[str] = _FOR_INT8) -> tuple[str, ...]:
    """Those of this processor that int8 results depend on, in Linux's names; elsewhere none.

    Args:
        root: where ``proc`` is mounted.
        among: which ones to look for instead.
    """
    info = _cpuinfo(root)
    known = (info.get("flags") or info.get("Features") or "").split()  # x86, ARM
    return tuple(name for name in among if name in known)


def _cpuinfo(root: Path) -> dict[str, str]:
    """What Linux says of the first processor."""
    try:
        lines = (root / "proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return {}
    entries = (line.partition(":") for line in reversed(lines))
    return {key.strip(): value.strip() for key, _, value in entries}


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
