"""Label Studio itself imports what tactful exports; in an environment of its own.

``make test-label-studio`` installs it there. It is asked through its own HTTP interface.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tactful_training.annotation.exchange import export_rows, read_labellings
from tactful_training.data.data_set import load_data_set

PROGRAM = os.environ.get("TACTFUL_LABEL_STUDIO", "")
TOKEN = "0123456789abcdef0123456789abcdef01234567"
PATIENCE = 600.0  # seconds until it is given up; its first start makes a database

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PROGRAM, reason="make test-label-studio installs Label Studio"),
]


class Studio:
    def __init__(self, url: str) -> None:
        self._url = url

    def ask(self, method: str, path: str, content: Any = None) -> Any:
        body = None if content is None else json.dumps(content).encode()
        headers = {"Authorization": f"Token {TOKEN}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self._url}{path}", body, headers, method=method)
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("label-studio")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = {
        "LABEL_STUDIO_BASE_DATA_DIR": str(folder),
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
    }
    command = [PROGRAM, "start", "--no-browser", "--port", str(port), "--username", "a@b.example"]
    command += ["--password", "password-of-a-test", "--user-token", TOKEN]
    url = f"http://127.0.0.1:{port}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=os.environ | variables, stdout=log, stderr=log)
    try:
        end = time.monotonic() + PATIENCE
        while True:
            assert process.poll() is None, (folder / "log").read_text("utf-8")
            assert time.monotonic() < end, (folder / "log").read_text("utf-8")
            try:
                urllib.request.urlopen(f"{url}/health", timeout=10)
                break
            except OSError:
                time.sleep(1)
        yield Studio(url)
    finally:
        process.terminate()
        process.wait()


CARD = """---
tasks:
  - {name: moves, kind: multilabel, labels: {sorry: "says <sorry>", thanks: ""}}
  - {name: mood, kind: single, labels: {warm: kind, cold: ""}}
---
"""


@pytest.fixture
def data_set(tmp_path: Path) -> Path:
    """Rows with emoji before the marked words, without a label, and with an unknown task."""
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "README.md").write_text(CARD, "utf-8")
    said = [(["sorry"], "warm"), ([], "cold"), (["sorry", "thanks"], None), (None, "warm")]
    lines = []
    for number, (moves, mood) in enumerate(said * 3):
        marks = [{"label": "sorry", "start": 2, "end": 10}] if moves and "sorry" in moves else []
        reply = f"🙂 so sorry, and thank you, number {number}"
        labels = {"moves": moves, "mood": mood}
        row = {"id": f"r{number}", "reply": reply, "labels": labels, "evidence": marks}
        lines.append(json.dumps(row) + "\n")
    (folder / "test.jsonl").write_text("".join(lines), "utf-8")
    return folder


@pytest.mark.parametrize("suggested", [False, True], ids=["annotations", "predictions"])
def test_it_imports_what_is_exported_and_gives_it_back(
    studio: Studio, tmp_path: Path, data_set: Path, suggested: bool
) -> None:
    out = tmp_path / "to_label.json"
    count = export_rows(data_set, out, "label-studio", splits=["test"], suggested=suggested)
    config = out.with_suffix(".xml").read_text("utf-8")
    project = studio.ask("POST", "/api/projects", {"title": "tactful", "label_config": config})
    path = f"/api/projects/{project['id']}"
    answer = studio.ask("POST", f"{path}/import", json.loads(out.read_text("utf-8")))
    assert answer["task_count"] == count
    assert answer["prediction_count" if suggested else "annotation_count"] == count

    back = tmp_path / "back.json"
    tasks = studio.ask("GET", f"{path}/export?exportType=JSON&download_all_tasks=true")
    back.write_text(json.dumps(tasks), "utf-8")
    data = load_data_set(data_set)
    if suggested:  # what nobody has answered comes back without a word
        assert len(tasks) == count
        return
    expected = {row.id: row for row in data.split("test")}
    for each in read_labellings(back, data.tasks).labellings:
        row = expected.pop(each.row.id)
        assert (each.row.reply, each.row.labels) == (row.reply, row.labels)
        assert sorted(each.row.evidence) == sorted(row.evidence)
    assert not expected
