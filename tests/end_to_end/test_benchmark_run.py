from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tactful_training.benchmark.int8_peers import PACKAGES

SYSTEMS = [
    "tactful",
    "tactful, fp32",
    "onnxruntime, fp32, batches of 32",
    "transformers pipeline, fp32, batches of 32",
    "transformers pipeline, bf16, batches of 32",
    "transformers pipeline, fp32, one by one",
    "transformers pipeline, bf16, one by one",
]


def test_all_systems_read_side_by_side(trained: Path, tactful: Callable[..., object]) -> None:
    few = ["--replies", "6", "--rounds", "1", "--singles", "2"]
    finished = tactful("benchmark", *few, "--plot", "speed.png", "--json", cwd=trained)

    content = json.loads(finished.stdout)  # type: ignore[attr-defined]
    there = {**content["systems"], **content["left_out"]}  # of the optional ones either
    assert set(there) == {*SYSTEMS, *PACKAGES}
    assert [name for name in content["systems"] if name in SYSTEMS] == SYSTEMS
    for result in content["systems"].values():
        assert result["replies_per_second"] > 0
        assert result["single_reply_seconds"]["p99"] >= result["single_reply_seconds"]["p50"] > 0
        assert result["peak_memory_bytes"] > 20_000_000
        # No upper bound: the peak is measured beside other tests, and may come out low.
        assert result["share_of_peak"] > 0
    assert content["systems"]["transformers pipeline, fp32, batches of 32"]["rate_to_pytorch"] == 1
    assert content["replies"] == 6
    assert content["tokens"] <= 6 * 64
    assert content["installed_bytes"]["base"] < content["installed_bytes"]["train"]
    assert (trained / "speed.png").read_bytes().startswith(b"\x89PNG")

    refused = tactful("benchmark", "--plot", "nowhere/speed.png", cwd=trained, code=2)
    assert "nowhere does not exist" in refused.stderr  # type: ignore[attr-defined]
