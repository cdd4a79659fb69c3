"""Labelled rows from a pipe: read as from a file, or refused with what to do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tactful import Classifier
from tactful_training.data.data_check import check_data
from tactful_training.data.data_set import load_data_set, load_labelled
from tactful_training.errors import DataError

CARD = """---
tasks:
  - {name: strategies, kind: multilabel, labels: {apology: a, gratitude: g, next_step: n}}
  - {name: tone, kind: single, labels: {warm: w, neutral: n}}
---
"""
ROWS = [
    {"id": f"{n}", "reply": f"I am so sorry {n}", "labels": {"strategies": ["apology"], "tone": t}}
    for n, t in enumerate(["warm", "neutral"] * 20)
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "README.md").write_text(CARD)
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    flat = [{"id": row["id"], "reply": row["reply"], "strategies": "apology"} for row in ROWS]
    pq.write_table(pa.Table.from_pylist(flat), tmp_path / "test.parquet")
    lines = [",".join(row.values()) for row in flat]
    (tmp_path / "test.csv").write_text("\n".join(["id,reply,strategies", *lines]))
    return tmp_path


def feed(pipe: Path | int, content: bytes) -> threading.Thread:
    def write() -> None:
        with open(pipe, "wb") as file:
            file.write(content)

    writer = threading.Thread(target=write)
    writer.start()
    return writer


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_the_content_of_a_pipe_says_its_format(
    folder: Path, classifier: Classifier, suffix: str
) -> None:
    path = folder / f"test{suffix}"
    tasks = classifier.bundle.heads.tasks
    reading, writing = os.pipe()
    writer = feed(writing, path.read_bytes())
    piped = load_labelled(f"/dev/fd/{reading}", "test", tasks)
    writer.join()
    os.close(reading)
    filed = load_labelled(path, "test", tasks)
    assert len(piped.rows) == len(ROWS)
    assert [(row.id, row.reply) for row in piped.rows] == [
        (row.id, row.reply) for row in filed.rows
    ]


def test_evaluate_takes_a_pipe(folder: Path, sound_bundle: Path) -> None:
    def evaluated(data: str) -> dict[str, object]:
        command = f"{sys.executable} -m tactful.cli evaluate --json --bundle {sound_bundle}"
        ran = subprocess.run(
            ["bash", "-c", f"{command} --data {data}"], cwd=folder, capture_output=True
        )
        assert ran.returncode == 0, ran.stderr
        content: dict[str, object] = json.loads(ran.stdout)
        return content

    assert evaluated("<(cat test.jsonl)") == evaluated("test.jsonl")


def test_data_check_reads_a_pipe_beside_a_card_and_refuses_others(folder: Path) -> None:
    os.mkfifo(folder / "more.jsonl")
    writer = feed(folder / "more.jsonl", (folder / "test.jsonl").read_bytes())
    report = check_data(folder / "more.jsonl")
    writer.join()
    assert report.splits["more"].rows == len(ROWS)
    reading, writing = os.pipe()
    os.close(writing)
    with pytest.raises(DataError, match="save them in the folder of their card"):
        check_data(Path(f"/dev/fd/{reading}"))
    os.close(reading)


def test_a_pipe_is_no_split(folder: Path) -> None:
    (folder / "test.csv").unlink()
    (folder / "test.parquet").unlink()
    os.mkfifo(folder / "train.jsonl")
    with pytest.raises(DataError, match=r"train\.jsonl is no regular file; .* under this name"):
        load_data_set(folder)
