"""What can be read but once: pipes, standard input, devices; as INPUT and as OUTPUT."""

from __future__ import annotations

import gzip
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tactful import batch

ROWS = 2500
PROGRAM = f"{sys.executable} -m tactful.cli"
Shell = Callable[[str], subprocess.CompletedProcess[bytes]]


@pytest.fixture
def here(tmp_path: Path) -> Path:
    lines = [json.dumps({"id": n, "reply": f"so sorry {n % 40}"}) for n in range(ROWS)]
    (tmp_path / "r.jsonl").write_text("\n".join(lines))
    (tmp_path / "r.csv").write_text("id,reply\n1,so sorry\n2,thank you\n")
    return tmp_path


@pytest.fixture
def shell(here: Path, sound_bundle: Path) -> Shell:
    def run(script: str) -> subprocess.CompletedProcess[bytes]:
        environment = {**os.environ, "TACTFUL_BUNDLE": str(sound_bundle), "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            ["bash", "-c", script.replace("tactful", PROGRAM)],
            cwd=here, env=environment, capture_output=True, timeout=300,
        )  # fmt: skip

    return run


def ids(path: Path) -> list[int]:
    return [json.loads(line)["id"] for line in path.read_bytes().splitlines()]


@pytest.mark.parametrize(
    "script",
    [
        "tactful score <(cat r.jsonl) out.jsonl --input-format jsonl",
        "tactful score <(gzip -c r.jsonl) out.jsonl",
        "cat r.jsonl | tactful score /dev/stdin out.jsonl",
        "tactful score /dev/stdin out.jsonl < r.jsonl",
        "tactful score /dev/fd/7 out.jsonl 7< r.jsonl",
        "mkfifo pipe.jsonl; cat r.jsonl > pipe.jsonl & tactful score pipe.jsonl out.jsonl",
    ],
)
def test_every_row_of_a_pipe_is_scored(here: Path, shell: Shell, script: str) -> None:
    ran = shell(script)
    assert ran.returncode == 0, ran.stderr
    assert ids(here / "out.jsonl") == list(range(ROWS))
    assert [path.name for path in (here / ".out.jsonl.tactful").iterdir()] == ["done.json"]


def test_the_format_of_a_pipe_is_its_names_or_what_was_said(
    here: Path, sound_bundle: Path, shell: Shell
) -> None:
    ran = shell("mkfifo p.csv; cat r.csv > p.csv & tactful score p.csv out.jsonl")
    assert (ran.returncode, len(ids_of_text(here / "out.jsonl"))) == (0, 2), ran.stderr
    ran = shell("tactful score <(cat r.csv) said.jsonl --input-format csv")
    assert (here / "said.jsonl").read_bytes() == (here / "out.jsonl").read_bytes()
    ran = shell("gzip -c r.csv | tactful score - seen.jsonl")  # its first line names the reply
    assert (here / "seen.jsonl").read_bytes() == (here / "out.jsonl").read_bytes(), ran.stderr
    ran = shell("sed s/reply/answer/ r.csv | tactful score - none.jsonl")
    assert ran.returncode == 2
    assert b"say what it is with --input-format, and name the reply's column" in ran.stderr
    ran = shell("sed s/reply/answer/ r.csv | tactful score - other.jsonl --reply-column answer")
    assert ids_of_text(here / "other.jsonl") == ["1", "2"], ran.stderr
    pq.write_table(pa.table({"id": [1, 2], "reply": ["so sorry"] * 2}), here / "r.parquet")
    ran = shell("tactful score <(cat r.parquet) parquet.jsonl")
    assert ids(here / "parquet.jsonl") == [1, 2], ran.stderr


def ids_of_text(path: Path) -> list[str]:
    return [json.loads(line)["id"] for line in path.read_bytes().splitlines()]


def test_a_pipe_from_python(here: Path, sound_bundle: Path) -> None:
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(gzip.compress((here / "r.jsonl").read_bytes()))

    writer = threading.Thread(target=write)
    writer.start()
    summary = batch.score(f"/dev/fd/{reading}", here / "out.csv", sound_bundle)
    writer.join()
    os.close(reading)
    assert summary.rows == ROWS


def test_a_job_on_a_pipe_is_known_again_and_goes_on(here: Path, shell: Shell) -> None:
    command = "tactful score <(cat r.jsonl {more}) out.jsonl --part-rows 1000"
    (here / "bad.jsonl").write_text("\n" + "{\n" * 1000)
    stopped = shell(command.format(more="bad.jsonl") + " --max-errors 1")
    assert stopped.returncode == 1
    assert b"2,500 rows failed" not in stopped.stderr
    went_on = shell(command.format(more="bad.jsonl") + " --json")
    assert json.loads(went_on.stdout)["resumed_rows"] == 3000
    again = shell(command.format(more="bad.jsonl") + " --json")
    assert (again.returncode, json.loads(again.stdout)["already_done"]) == (0, True)
    other = shell(command.format(more="") + " --json")
    assert (other.returncode, b"--overwrite" in other.stderr) == (2, True)


def test_a_pipe_among_files_is_refused_by_its_name(here: Path, sound_bundle: Path) -> None:
    (here / "r.csv").unlink()
    os.mkfifo(here / "pipe.jsonl")
    (here / "gone.jsonl").symlink_to(here / "nowhere")
    for given in (here, here / "*.jsonl"):
        with pytest.raises(batch.JobError, match=r"gone\.jsonl is no regular file .*name it alone"):
            batch.score(given, here.parent / "out.jsonl", sound_bundle, input_format="jsonl")


def test_what_is_neither_file_nor_pipe_is_told(
    here: Path, sound_bundle: Path, shell: Shell
) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(here / "s.jsonl"))
        for given in (here / "s.jsonl", "/dev/zero"):
            with pytest.raises(batch.JobError, match="is a device or a socket; INPUT is a file, a"):
                batch.score(given, here / "out.jsonl", sound_bundle, input_format="jsonl")
    assert not (here / ".out.jsonl.tactful").exists()
    assert shell("tactful score /dev/null none.jsonl").returncode == 0
    assert (here / "none.jsonl").read_bytes() == b""


@pytest.mark.parametrize(
    "script",
    [
        "tactful score r.csv >(cat) --output-format jsonl",
        "tactful score r.csv /dev/stdout --output-format jsonl --overwrite > file.jsonl",
        "tactful score - /dev/stdout --output-format jsonl < r.csv",
        "mkfifo pipe.jsonl; tactful score r.csv pipe.jsonl --overwrite",
    ],
)
def test_a_pipe_as_output_is_refused_with_the_remedy(here: Path, shell: Shell, script: str) -> None:
    ran = shell(script)
    assert (ran.returncode, ran.stdout) == (2, b"")
    assert b"is no regular file" in ran.stderr
    assert b"write to - and pass that on" in ran.stderr
    piped = shell("tactful score r.csv - | cat > told.jsonl")
    assert ids_of_text(here / "told.jsonl") == ["1", "2"], piped.stderr
