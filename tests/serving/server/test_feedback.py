"""What people say against readings: off unless a file is named, stored before the answer."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

httpx = pytest.importorskip("httpx")

REPLY, CONTEXT = "I am so sorry, friend. 🙂", "my parcel is late"
SAID = {"reply": REPLY, "context": CONTEXT, "labels": {"strategies": []}}


def test_without_a_file_nothing_is_taken(service):
    answer = httpx.post(f"{service.url}/v1/feedback", json=SAID, timeout=60)
    assert (answer.status_code, answer.json()["code"]) == (404, "feedback_off")
    assert httpx.get(f"{service.url}/v1/bundle", timeout=60).json()["feedback"] is False


def test_what_is_said_is_stored_with_texts_reading_and_bundle(
    serve, sound_bundle, classifier, tmp_path
):
    file = tmp_path / "feedback.jsonl"
    file.write_text('{"feedback": 1, "id": "cut o')  # what a full disk left
    running = serve(sound_bundle, "--feedback", str(file), TACTFUL_TOKEN="a-token")
    http = httpx.Client(
        base_url=running.url, timeout=60, headers={"Authorization": "Bearer a-token"}
    )
    assert http.get("/v1/bundle").json()["feedback"] is True
    answer = http.post("/v1/feedback", json=SAID | {"by": "Kim", "why": "no apology"})
    assert answer.status_code == 200, answer.text

    torn, stored = file.read_text("utf-8").splitlines()
    assert torn == '{"feedback": 1, "id": "cut o'
    line = json.loads(stored)
    reading = classifier.classify(REPLY, context=CONTEXT)
    assert line.pop("at").startswith("20")
    assert line == {
        "feedback": 1,
        "id": answer.json()["id"],
        "bundle": classifier.bundle.id,
        "digest": classifier.bundle.manifest["digest"],
        "read": {"strategies": [each.label for each in reading.strategies]},
        **SAID,
        "by": "Kim",
        "why": "no apology",
    }

    wrong = [
        ({"reply": REPLY}, "/labels"),
        ({"reply": REPLY, "labels": {}}, "/labels"),
        ({"reply": REPLY, "labels": {"mood": "warm"}}, "/labels"),
        ({"reply": REPLY, "labels": {"tone": ["warm"]}}, "/labels/tone"),
        ({"reply": REPLY, "labels": {"strategies": "apology"}}, "/labels/strategies"),
        ({"reply": REPLY, "labels": {"strategies": ["apologise"]}}, "/labels/strategies"),
        ({"reply": REPLY, "labels": {"strategies": [["apology"]]}}, "/labels/strategies"),
        ({"reply": " ", "labels": {"tone": "warm"}}, "/reply"),
        (SAID | {"by": 5}, "/by"),
        (SAID | {"why": "x" * 2001}, "/why"),
        (SAID | {"note": "x"}, ""),
    ]
    for body, pointer in wrong:
        answer = http.post("/v1/feedback", json=body)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)
        assert "apologise" not in answer.text
    assert httpx.post(f"{running.url}/v1/feedback", json=SAID, timeout=60).status_code == 401

    with ThreadPoolExecutor(8) as pool:  # lines of many at once stay whole
        list(pool.map(lambda n: http.post("/v1/feedback", json=SAID | {"by": f"{n}"}), range(40)))
    found = [json.loads(text) for text in file.read_text("utf-8").splitlines()[2:]]
    assert sorted(each["by"] for each in found) == sorted(f"{n}" for n in range(40))
    assert stat.S_IMODE(file.stat().st_mode) & 0o600 == 0o600
    assert REPLY not in running.log.read_text("utf-8")


def test_a_file_that_cannot_be_written_ends_the_start_with_its_name(sound_bundle, tmp_path):
    command = [sys.executable, "-m", "tactful.cli", "serve", "--bundle", str(sound_bundle)]
    command += ["--port", "0", "--feedback", str(tmp_path / "nowhere/feedback.jsonl")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "nowhere/feedback.jsonl cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
