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


@pytest.fixture
def registered(tmp_path: Path, sound_bundle: Path) -> Iterator[str]:
    """The address of a bundle in an MLflow store that no actor knows."""
    mlflow = pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    client = MlflowClient()
    run = client.create_run(client.create_experiment("bundles", str(tmp_path / "artifacts"))).info
    client.log_artifacts(run.run_id, str(sound_bundle), "model/data/tiny")
    client.create_registered_model("tactful")
    client.create_model_version("tactful", f"{run.artifact_uri}/model", run.run_id)
    yield "models:/tactful/1"
    mlflow.set_tracking_uri(before)


def test_a_bundle_of_the_registry_reaches_the_actors(
    tmp_path: Path, sound_bundle: Path, registered: str
) -> None:
    (tmp_path / "in.jsonl").write_text('{"reply": "so sorry"}\n' * 20, encoding="utf-8")
    batch.score(tmp_path / "in.jsonl", tmp_path / "local.jsonl", sound_bundle)
    summary = batch.score(
        tmp_path / "in.jsonl", tmp_path / "out.jsonl", registered,
        engine="ray", ray_actors=2, part_rows=5,
    )  # fmt: skip
    assert summary.rows == 20
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "local.jsonl").read_bytes()


def test_what_an_actor_refuses_is_told(tmp_path: Path, sound_bundle: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"reply": "sorry", "tone": "mine"}\n', encoding="utf-8")
    with pytest.raises(batch.JobError, match=r"--prefix tactful\."):
        batch.score(
            tmp_path / "in.jsonl", tmp_path / "out.jsonl", sound_bundle, engine="ray", ray_actors=1
        )
