"""What a program printed, and the most memory that it held."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

# Not ru_maxrss, which a child begins with that of its parent, and RUSAGE_CHILDREN has of the
# largest child of all.
SAY_PEAK = """
import atexit, sys

@atexit.register
def say_peak():
    with open("/proc/self/status") as status:
        print(next(line for line in status if line.startswith("VmHWM")).split()[1], file=sys.stderr)

"""


@pytest.fixture(scope="session")
def run_and_measure() -> Callable[..., tuple[str, int]]:
    """Run Python with arguments; what it printed, and its peak of memory in KiB. Linux only."""

    def run(program: str, *arguments: object) -> tuple[str, int]:
        done = subprocess.run(
            [sys.executable, "-c", SAY_PEAK + program, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout, int(done.stderr.splitlines()[-1])

    return run
