"""What an actor of the engine ``ray`` does, without a cluster; `make test-ray` starts one."""

from __future__ import annotations

import io
import json
import pickle
from dataclasses import asdict
from pathlib import Path

import pytest

from tactful import BundleError, Classifier, batch
from tactful.batch.job_files import described, find_files, find_targets
from tactful.batch.job_parts import plan_parts
from tactful.batch.job_spec import JobSpec, ResultOptions
from tactful.batch.ray_engine import PartActor


def test_an_actor_needs_the_bytes_of_a_bundle_and_not_its_address(
    tmp_path: Path, sound_bundle: Path, classifier: Classifier
) -> None:
    (tmp_path / "in.jsonl").write_text('{"reply": "so sorry"}\n' * 20, encoding="utf-8")
    batch.score(tmp_path / "in.jsonl", tmp_path / "local.jsonl", sound_bundle)
    output = tmp_path / "out.jsonl"
    files = find_files(str(tmp_path / "in.jsonl"), None, output)
    targets = find_targets(str(output), files, None, many=False)
    spec = JobSpec(described(files), targets, ResultOptions(), classifier.bundle.digest)
    shipped = pickle.loads(pickle.dumps((spec, dict(classifier.bundle.files))))
    actor = PartActor(shipped[0], "models:/tactful@champion", shipped[1])
    written = io.BytesIO()
    for part in plan_parts(spec, None):
        row = actor({"part": json.dumps(asdict(part))})
        assert row["failure"] == b""
        written.write(row["content"])
    assert written.getvalue() == (tmp_path / "local.jsonl").read_bytes()

    with pytest.raises(BundleError, match=r"models:/tactful@champion.*\n.*labels\.json"):
        PartActor(spec, "models:/tactful@champion", {**shipped[1], "labels.json": b"{}"})
