"""Memory of an endless stream of replies: `make soak-stream`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Short replies, and now and then a long one with context: ever new shapes for the memory pool.
PROGRAM = """
import random, sys
from tactful import Classifier

words = "thanks sorry please parcel order today we will call you back soon refund".split()
chosen = random.Random(1)

def replies(count):
    for number in range(count):
        long = number % 100 == 0
        reply = " ".join(chosen.choices(words, k=chosen.randint(1, 300 if long else 20)))
        context = " ".join(chosen.choices(words, k=chosen.randint(1, 99))) if long else None
        yield f"{number} {reply}", context

for _ in Classifier.load(sys.argv[1]).classify_many(replies(int(sys.argv[2]))):
    pass
# Not ru_maxrss, which a child begins with that of its parent.
print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1])
"""
ALLOWED = 50 * 1024  # KiB


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_stream(sound_bundle: Path) -> None:
    bundle = os.environ.get("STREAM_BUNDLE") or str(sound_bundle)
    peaks = []
    for count in (5_000, 50_000):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, bundle, str(count)], capture_output=True, check=True
        )
        peaks.append(int(done.stdout))
    print(f"peak of 5,000 replies {peaks[0] / 1024:.1f} MiB, of 50,000 {peaks[1] / 1024:.1f} MiB")
    assert peaks[1] - peaks[0] < ALLOWED
