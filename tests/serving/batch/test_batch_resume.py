"""Jobs that are killed, disturbed, repeated or started twice."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tactful import batch
from tactful.storage import locked

Score = Callable[..., subprocess.CompletedProcess[bytes]]
WORK = ".out.jsonl.tactful"


def write_input(path: Path, rows: int) -> Path:
    with path.open("w", encoding="utf-8") as file:
        for n in range(rows):
            words = "so sorry friend" if n % 3 else "thank you for your order"
            reply = None if n % 50 == 7 else f"I am {words} {n} " * (1 + n % 7)
            file.write(json.dumps({"id": n, "reply": reply}) + "\n")
    return path


def committed(folder: Path) -> int:
    try:
        return (folder / WORK / "journal.jsonl").read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def kill_after(parts: int, command: list[str], folder: Path, bundle: Path) -> None:
    """Start the job and kill it as soon as so many parts are committed."""
    environment = {"TACTFUL_BUNDLE": str(bundle), "OMP_NUM_THREADS": "1"}
    running = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.DEVNULL)
    while committed(folder) < parts:
        assert running.poll() is None, "the job ended before it could be killed"
        time.sleep(0.002)
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL


@pytest.mark.parametrize("name", ["in.jsonl", "in.jsonl.gz"])
def test_a_killed_job_loses_and_repeats_nothing(
    tmp_path: Path, sound_bundle: Path, score: Score, name: str
) -> None:
    write_input(tmp_path / "in.jsonl", 3000)
    if name.endswith(".gz"):
        subprocess.run(["gzip", str(tmp_path / "in.jsonl")], check=True)
    whole = batch.score(tmp_path / name, tmp_path / "whole.jsonl", sound_bundle, part_rows=100)
    arguments = [name, "out.jsonl", "--part-rows", "100"]
    command = [sys.executable, "-m", "tactful.cli", "score", *arguments]
    for parts in (1, 13, 24):
        kill_after(parts, command, tmp_path, sound_bundle)
        assert not (tmp_path / "out.jsonl").exists()
    before = committed(tmp_path)
    last = score(*arguments, "--json", cwd=tmp_path)

    assert last.returncode == 1, last.stderr  # rows failed
    summary = json.loads(last.stdout)
    assert summary["resumed_rows"] == before * 100 >= 2400
    assert (summary["rows"], summary["errors"]) == (3000, whole.errors)
    assert summary["labels"] == whole.labels
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert sorted(path.name for path in (tmp_path / WORK).iterdir()) == ["done.json"]


@pytest.fixture
def interrupted(tmp_path: Path, sound_bundle: Path) -> Path:
    """A folder with a job on ``in.jsonl`` of which two of five parts are committed."""
    write_input(tmp_path / "in.jsonl", 500)
    with pytest.raises(batch.TooManyErrorsError):
        batch.score(
            tmp_path / "in.jsonl", tmp_path / "out.jsonl", sound_bundle, part_rows=100,
            max_errors=3,
        )  # fmt: skip
    assert committed(tmp_path) == 2
    return tmp_path


def run(folder: Path, bundle: Path, **options: Any) -> batch.Summary:
    options = {"part_rows": 100, **options}
    return batch.score(folder / "in.jsonl", folder / "out.jsonl", bundle, **options)


def test_a_torn_journal_and_leftover_files_are_dropped(
    interrupted: Path, sound_bundle: Path
) -> None:
    with (interrupted / WORK / "journal.jsonl").open("ab") as journal:
        journal.write(b'{"part": {"index": 2')
    (interrupted / WORK / "parts" / "00000002.part").write_bytes(b"half")
    (interrupted / WORK / "parts" / "00000003.new").write_bytes(b"half")
    assert run(interrupted, sound_bundle).resumed_rows == 200
    fresh = batch.score(interrupted / "in.jsonl", interrupted / "x.jsonl", sound_bundle,
                        part_rows=100)  # fmt: skip
    assert fresh.rows == 500
    assert (interrupted / "out.jsonl").read_bytes() == (interrupted / "x.jsonl").read_bytes()


def test_nothing_that_a_kill_left_gets_into_an_output_folder(
    tmp_path: Path, sound_bundle: Path
) -> None:
    write_input(tmp_path / "in.jsonl", 500)
    output, work = f"{tmp_path}/out/", tmp_path / ".out.tactful"
    with pytest.raises(batch.TooManyErrorsError):
        batch.score(tmp_path / "in.jsonl", output, sound_bundle, part_rows=100, max_errors=3)
    (work / "made").mkdir()
    for name in ("made/.in.jsonl.new-0a1b", ".done.json.new-0a1b", "parts/.00000002.part.new-0a1b"):
        (work / name).write_bytes(b"half")
    assert batch.score(tmp_path / "in.jsonl", output, sound_bundle, part_rows=100).rows == 500
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["in.jsonl"]
    assert [path.name for path in work.iterdir()] == ["done.json"]


def test_a_part_that_is_gone_is_scored_again(interrupted: Path, sound_bundle: Path) -> None:
    (interrupted / WORK / "parts" / "00000001.part").unlink()
    assert run(interrupted, sound_bundle).resumed_rows == 100


def test_a_part_that_was_changed_is_told(interrupted: Path, sound_bundle: Path) -> None:
    path = interrupted / WORK / "parts" / "00000001.part"
    path.write_bytes(path.read_bytes().replace(b"neutral", b"Neutral", 1))
    for _ in range(2):
        with pytest.raises(batch.JobError, match=r"after it was written; start anew: --overwrite$"):
            run(interrupted, sound_bundle)
    summary = run(interrupted, sound_bundle, overwrite=True)
    assert (summary.rows, summary.resumed_rows) == (500, 0)
    batch.score(interrupted / "in.jsonl", interrupted / "x.jsonl", sound_bundle, part_rows=100)
    assert (interrupted / "out.jsonl").read_bytes() == (interrupted / "x.jsonl").read_bytes()


@pytest.mark.parametrize("name", ["job.json", "journal.jsonl", "journal.jsonl gone"])
def test_work_that_cannot_be_read_is_told(interrupted: Path, sound_bundle: Path, name: str) -> None:
    path = interrupted / WORK / name.split()[0]
    path.unlink() if "gone" in name else path.write_bytes(b'{"other": 1}\n')
    with pytest.raises(batch.JobError, match=r"cannot be read; start anew: --overwrite$"):
        run(interrupted, sound_bundle)
    assert run(interrupted, sound_bundle, overwrite=True).resumed_rows == 0


def test_a_job_with_overwrite_that_was_killed_goes_on_all_the_same(
    interrupted: Path, sound_bundle: Path
) -> None:
    assert run(interrupted, sound_bundle, overwrite=True).resumed_rows == 200


def test_what_changed_is_named(
    interrupted: Path, sound_bundle: Path, bundle_copy: Path, rehash: Callable[..., None]
) -> None:
    rehash(bundle_copy, version="0.2.0")
    content = (interrupted / "in.jsonl").read_bytes()
    with pytest.raises(batch.JobError, match=r"200 rows are done:\n  - the bundle was"):
        run(interrupted, bundle_copy)
    with pytest.raises(batch.JobError, match="scores was 'all', is 'none'"):
        run(interrupted, sound_bundle, scores="none")
    with pytest.raises(batch.JobError, match="part_rows was 100, is 50"):
        run(interrupted, sound_bundle, part_rows=50)
    (interrupted / "in.jsonl").write_bytes(content.replace(b"order 0", b"order 9", 1))
    with pytest.raises(batch.JobError, match=r"in\.jsonl has another content"):
        run(interrupted, sound_bundle)
    (interrupted / "in.jsonl").write_bytes(content)  # another time, the same content
    assert run(interrupted, sound_bundle).resumed_rows == 200


def test_another_job_may_start_anew_with_overwrite(interrupted: Path, sound_bundle: Path) -> None:
    summary = run(interrupted, sound_bundle, scores="none", overwrite=True)
    assert (summary.rows, summary.resumed_rows) == (500, 0)


def test_a_finished_job_says_so_and_others_are_refused(
    tmp_path: Path, sound_bundle: Path, score: Score
) -> None:
    write_input(tmp_path / "in.jsonl", 30)
    assert score("in.jsonl", "out.jsonl", cwd=tmp_path).returncode == 1
    before = (tmp_path / "out.jsonl").stat()
    again = score("in.jsonl", "out.jsonl", cwd=tmp_path)
    assert (again.returncode, b"there already" in again.stdout) == (0, True)
    after = (tmp_path / "out.jsonl").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)

    refused = score("in.jsonl", "out.jsonl", "--scores", "none", cwd=tmp_path)
    assert (refused.returncode, refused.stdout) == (2, b"")
    assert b"--overwrite" in refused.stderr
    (tmp_path / "out.jsonl").write_bytes(b"mine\n")
    assert score("in.jsonl", "out.jsonl", cwd=tmp_path).returncode == 2
    assert (tmp_path / "out.jsonl").read_bytes() == b"mine\n"
    assert score("in.jsonl", "out.jsonl", "--overwrite", cwd=tmp_path).returncode == 1
    assert (tmp_path / "out.jsonl").stat().st_size == before.st_size


def test_a_job_that_was_killed_just_before_or_after_the_last_rename(
    tmp_path: Path, sound_bundle: Path
) -> None:
    write_input(tmp_path / "in.jsonl", 200)
    run(tmp_path, sound_bundle)
    made = (tmp_path / "out.jsonl").read_bytes()
    # Without OUTPUT nothing is done, whatever the record says.
    (tmp_path / "out.jsonl").unlink()
    summary = run(tmp_path, sound_bundle)
    assert (summary.already_done, (tmp_path / "out.jsonl").read_bytes()) == (False, made)


def test_the_second_job_on_one_output_is_refused(
    tmp_path: Path, sound_bundle: Path, score: Score
) -> None:
    write_input(tmp_path / "in.jsonl", 10)
    with locked(tmp_path / WORK / "lock"):
        refused = score("in.jsonl", "out.jsonl", cwd=tmp_path)
    assert refused.returncode == 2
    assert b"another job is writing out.jsonl" in refused.stderr
    assert score("in.jsonl", "out.jsonl", cwd=tmp_path).returncode == 1


@pytest.mark.parametrize("limit", [60_000, 200_000], ids=["in a part", "in the last file"])
def test_a_full_disk_keeps_what_is_done(
    tmp_path: Path, sound_bundle: Path, score: Score, limit: int
) -> None:
    write_input(tmp_path / "in.jsonl", 1000)
    rows = "100" if limit > 100_000 else "200"

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    arguments = ("in.jsonl", "out.jsonl", "--part-rows", rows)
    failed = score(*arguments, cwd=tmp_path, preexec_fn=small_files)
    assert failed.returncode == 2
    assert b"cannot be written: File too large" in failed.stderr
    assert b"Traceback" not in failed.stderr
    assert not (tmp_path / "out.jsonl").exists()
    done = committed(tmp_path)
    if limit > 100_000:
        assert done == 10
        assert b"1,000 rows are done and kept" in failed.stderr
    finished = score(*arguments, "--json", cwd=tmp_path)
    assert json.loads(finished.stdout)["resumed_rows"] == done * int(rows)


def test_places_that_cannot_be_written(tmp_path: Path, sound_bundle: Path) -> None:
    source = write_input(tmp_path / "in.jsonl", 3)
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(batch.JobError, match="cannot be written: Not a directory"):
        batch.score(source, tmp_path / "file" / "out.jsonl", sound_bundle)
    with pytest.raises(batch.JobError, match=r"is .or holds. the input"):
        batch.score(source, source, sound_bundle)
    with pytest.raises(batch.JobError, match="does not say its format"):
        batch.score(source, tmp_path / "out", sound_bundle)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("keep me")
    with pytest.raises(batch.JobError, match=r"letter\.txt"):
        batch.score(source, f"{tmp_path}/mine/", sound_bundle, overwrite=True)
    assert (tmp_path / "mine" / "letter.txt").read_text() == "keep me"


def test_an_input_that_vanishes_or_changes(interrupted: Path, sound_bundle: Path) -> None:
    content = (interrupted / "in.jsonl").read_bytes()
    (interrupted / "in.jsonl").unlink()
    with pytest.raises(batch.JobError, match=r"in\.jsonl does not exist"):
        run(interrupted, sound_bundle)
    (interrupted / "in.jsonl").write_bytes(content)
    assert run(interrupted, sound_bundle).resumed_rows == 200


@pytest.mark.parametrize("given", ["nowhere.jsonl", "*.csv", "empty", "odd.txt", "bad.parquet"])
def test_inputs_that_cannot_be_used(tmp_path: Path, score: Score, given: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "odd.txt").write_text("sorry")
    (tmp_path / "bad.parquet").write_text("sorry")
    before = sorted(tmp_path.iterdir())
    refused = score(given, "out.jsonl", cwd=tmp_path)
    assert (refused.returncode, refused.stdout) == (2, b"")
    assert given.encode() in refused.stderr
    assert refused.stderr.splitlines()[-1].startswith(b"error: ")
    assert sorted(tmp_path.iterdir()) == before
