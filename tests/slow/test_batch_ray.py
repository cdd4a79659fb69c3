"""The engine ``ray`` on a cluster of this machine: `make test-ray`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tactful import batch


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz", "csv", "parquet"])
def test_ray_gives_the_same_bytes_and_resumes(
    tmp_path: Path, sound_bundle: Path, suffix: str
) -> None:
    lines = [json.dumps({"id": n, "reply": f"so sorry {n}" if n % 9 else None}) for n in range(500)]
    (tmp_path / "in.jsonl").write_text("\n".join([*lines, "{broken"]), encoding="utf-8")
    source, options = tmp_path / "in.jsonl", dict[str, Any](part_rows=50)
    local = batch.score(source, tmp_path / f"local.{suffix}", sound_bundle, **options)
    ray: dict[str, Any] = {**options, "engine": "ray", "ray_actors": 2}
    output = tmp_path / f"out.{suffix}"
    with pytest.raises(batch.TooManyErrorsError):
        batch.score(source, output, sound_bundle, max_errors=20, **ray)
    summary = batch.score(source, output, sound_bundle, **ray)

    assert 0 < summary.resumed_rows < 501
    assert (summary.rows, summary.errors) == (local.rows, local.errors)
    assert output.read_bytes() == (tmp_path / f"local.{suffix}").read_bytes()


def test_what_an_actor_refuses_is_told(tmp_path: Path, sound_bundle: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"reply": "sorry", "tone": "mine"}\n', encoding="utf-8")
    with pytest.raises(batch.JobError, match=r"--prefix tactful\."):
        batch.score(
            tmp_path / "in.jsonl", tmp_path / "out.jsonl", sound_bundle, engine="ray", ray_actors=1
        )
