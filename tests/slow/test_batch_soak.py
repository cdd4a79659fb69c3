"""Minutes of batch jobs: `make soak-batch`."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tactful import batch

COMMAND = [sys.executable, "-m", "tactful.cli", "score"]


def write_input(path: Path, rows: int, distinct: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        for n in range(rows):
            words = "so sorry friend" if n % 3 else "thank you"
            file.write(json.dumps({"id": n, "reply": f"I am {words} {n % distinct}"}) + "\n")


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_twenty_kills_at_random_moments(tmp_path: Path, sound_bundle: Path, suffix: str) -> None:
    write_input(tmp_path / "in.jsonl", 20_000, 20_000)
    arguments = ["in.jsonl", f"out.{suffix}", "--part-rows", "100", "--bundle", str(sound_bundle)]
    start = time.monotonic()
    batch.score(tmp_path / "in.jsonl", tmp_path / f"whole.{suffix}", sound_bundle, part_rows=100)
    whole_seconds = time.monotonic() - start
    whole = (tmp_path / f"whole.{suffix}").read_bytes()
    output, work = tmp_path / f"out.{suffix}", tmp_path / f".out.{suffix}.tactful"
    seed = random.randrange(2**32)
    moments = random.Random(seed)
    kills = parts = 0
    while kills < 20:
        running = subprocess.Popen(
            [*COMMAND, *arguments], cwd=tmp_path, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(moments.uniform(0.2, 1.0 + whole_seconds / 10))
        running.send_signal(signal.SIGKILL)
        if running.wait() == -signal.SIGKILL and not output.exists():
            kills += 1
            before, parts = parts, whole_parts(work)
            assert parts >= before
            continue
        # It was over, or all but: look at what it made and begin another.
        assert output.read_bytes() == whole
        output.unlink()
        shutil.rmtree(work)
        parts = 0
    done = subprocess.run(
        [*COMMAND, *arguments, "--json"], cwd=tmp_path, capture_output=True, check=True
    )
    print(f"seed {seed}, {kills} kills, last run: {done.stdout.decode()}")
    summary = json.loads(done.stdout)
    assert (summary["rows"], summary["resumed_rows"]) == (20_000, parts * 100)
    assert output.read_bytes() == whole


def whole_parts(work: Path) -> int:
    """How many parts the journal has: each once, in order; a torn last line does not count."""
    try:
        lines = (work / "journal.jsonl").read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return 0
    assert [json.loads(line)["part"]["index"] for line in lines] == list(range(len(lines)))
    return len(lines)


def test_memory_does_not_grow_with_the_file(
    tmp_path: Path, sound_bundle: Path, run_and_measure: Callable[..., tuple[str, int]]
) -> None:
    program = "import sys\nfrom tactful import batch\nbatch.score(*sys.argv[1:4])"
    peaks = {}
    for rows in (30_000, 300_000):
        for suffix in ("jsonl", "csv", "parquet"):
            # Repeated replies are quick; what may grow with other texts shows with one format.
            write_input(tmp_path / "in.jsonl", rows, rows if suffix == "jsonl" else 40)
            output = tmp_path / f"{rows}.{suffix}"
            _, peaks[rows, suffix] = run_and_measure(
                program, tmp_path / "in.jsonl", output, sound_bundle
            )
    print(peaks)
    for suffix in ("jsonl", "csv", "parquet"):
        assert peaks[300_000, suffix] < 1.15 * peaks[30_000, suffix]
