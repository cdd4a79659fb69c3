"""What an installation costs: time to import, space on disk."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_ROUNDS = 5


def import_seconds() -> float:
    """Median seconds of ``import tactful`` in a fresh interpreter, less an empty one's start."""
    whole: list[float] = []
    empty: list[float] = []
    for _ in range(_ROUNDS):
        for code, seconds in (("import tactful", whole), ("pass", empty)):
            begin = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            seconds.append(time.perf_counter() - begin)
    return statistics.median(whole) - statistics.median(empty)


def installed_bytes(*extras: str) -> int:
    """Size of tactful and all that it requires, as installed in this environment.

    Args:
        extras: those to count; packages that are not installed here count nothing.
    """
    seen: set[tuple[str, str]] = set()
    waiting = [("tactful", extra) for extra in ("", *extras)]
    sizes: dict[str, int] = {}
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue
        sizes[name] = sum(_size(Path(str(file.locate()))) for file in found.files or ())
        for line in found.requires or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                needed = canonicalize_name(requirement.name)
                waiting += [(needed, each) for each in ("", *requirement.extras)]
    return sum(sizes.values())


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
