"""Memory of an endless stream of replies: `make soak-stream`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
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
"""
ALLOWED = 50 * 1024  # KiB


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_stream(
    sound_bundle: Path, run_and_measure: Callable[..., tuple[str, int]]
) -> None:
    bundle = os.environ.get("STREAM_BUNDLE") or str(sound_bundle)
    peaks = [run_and_measure(PROGRAM, bundle, count)[1] for count in (5_000, 50_000)]
    print(f"peak of 5,000 replies {peaks[0] / 1024:.1f} MiB, of 50,000 {peaks[1] / 1024:.1f} MiB")
    assert peaks[1] - peaks[0] < ALLOWED
