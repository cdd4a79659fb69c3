"""Files and folders replaced as a whole, by writers that meet, fail and are interrupted."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tactful.storage import locked, recover, replace_folder, write_file, written_aside


def write(folder: Path, text: str, check: Callable[[Path], object] = lambda new: None) -> None:
    replace_folder(folder, {"text": text.encode()}, may_replace=lambda there: None, check=check)


def content(folder: Path) -> dict[str, str]:
    """Path to text of every file under a folder, hidden ones too."""
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@contextlib.contextmanager
def waiting_told(caplog: pytest.LogCaptureFixture) -> Iterator[threading.Event]:
    """An event that is set as soon as somebody has to wait for a lock."""
    waiting = threading.Event()

    class Told(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "not acquired" in record.getMessage():
                waiting.set()

    told = Told()
    logging.getLogger("filelock").addHandler(told)
    try:
        with caplog.at_level(logging.DEBUG, "filelock"):
            yield waiting
    finally:
        logging.getLogger("filelock").removeHandler(told)


def test_parents_are_made_and_removed_again_where_the_writer_is_refused(tmp_path: Path) -> None:
    def refuse(new: Path) -> None:
        raise ValueError("unfit")

    with pytest.raises(ValueError, match="unfit"):
        write(tmp_path / "deep/er/one", "1", refuse)
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / "deep/er/one", "1")
    with pytest.raises(ValueError, match="unfit"):
        write(tmp_path / "deep/er/two", "2", refuse)
    assert content(tmp_path) == {"deep/er/one/text": "1"}


def test_a_refused_writer_does_not_pull_the_folder_from_under_one_that_waits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    inside, go = threading.Event(), threading.Event()
    failures: list[BaseException] = []

    def refuse(new: Path) -> None:
        inside.set()
        assert go.wait(60)
        raise ValueError("unfit")

    def run(name: str, check: Callable[[Path], object]) -> None:
        try:
            write(tmp_path / "models" / name, name, check)
        except BaseException as error:
            failures.append(error)

    first = threading.Thread(target=run, args=("a", refuse))
    second = threading.Thread(target=run, args=("b", lambda new: None))
    first.start()
    assert inside.wait(60)
    with waiting_told(caplog) as waiting:
        second.start()
        assert waiting.wait(60)  # in the folder that the first one is about to remove
        go.set()
        first.join(60)
        second.join(60)
    assert [str(error) for error in failures] == ["unfit"]
    assert content(tmp_path) == {"models/b/text": "b"}


@pytest.mark.parametrize("older", [True, False], ids=["replaced", "new"])
@pytest.mark.parametrize("step", [1, 2, 3])
def test_an_interrupt_while_it_is_moved_in_leaves_all_as_it_was_or_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, older: bool
) -> None:
    folder = tmp_path / "set"
    if older:
        write(folder, "old")
    left = step
    real = os.rename

    def rename(source: Path, target: Path) -> None:
        nonlocal left
        real(source, target)
        left -= 1
        if left == 0:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", rename)
        try:
            write(folder, "new")
        except KeyboardInterrupt:
            interrupted = True
        else:
            interrupted = False
    moved = 2 if older else 1  # renames until the new one is in; the third one discards the old
    before = {"set/text": "old"} if older else {}
    assert interrupted == (older or step <= moved)
    done = step > moved
    found = content(tmp_path)
    assert {path: text for path, text in found.items() if ".set.new-" not in path} == (
        {"set/text": "new"} if done else before
    )
    shutil.rmtree(folder, ignore_errors=True)
    recover(folder)
    assert not folder.exists(), "a folder that was replaced came back"


def test_a_folder_left_aside_is_put_back_and_only_then(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    recover(folder)
    write(folder, "old")
    folder.rename(tmp_path / ".set.old-00")
    recover(folder)
    assert content(tmp_path) == {"set/text": "old"}
    shutil.copytree(folder, tmp_path / ".set.old-00")
    recover(folder)
    assert set(content(tmp_path)) == {"set/text", ".set.old-00/text"}


REFUSAL = ValueError("held by another")
HOLD = """
import sys, time
from pathlib import Path
from tactful.storage import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_lock_is_refused_while_it_is_held_and_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "deep/er/lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(ValueError, match="held by another"), locked(path, refusal=REFUSAL):
            pass
        holder.send_signal(signal.SIGKILL)
    with (
        locked(path, refusal=REFUSAL),
        pytest.raises(ValueError, match="held by another"),
        locked(path, refusal=REFUSAL),
    ):
        pass
    assert content(tmp_path) == {}


def test_a_lock_leaves_nothing_behind(tmp_path: Path) -> None:
    with locked(tmp_path / "deep/er/lock"):
        (tmp_path / "deep/kept").write_text("x")
    assert content(tmp_path) == {"deep/kept": "x"}
    assert not (tmp_path / "deep/er").exists()


def test_many_writers_of_a_lock_that_comes_and_goes_never_meet(tmp_path: Path) -> None:
    inside, met, done = [], [], []

    def work() -> None:
        for _ in range(20):
            with locked(tmp_path / "deep/lock"):
                inside.append(1)
                if len(inside) > 1:
                    met.append(1)
                inside.pop()
        done.append(1)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert (len(done), met) == (4, [])
    assert content(tmp_path) == {}


def test_a_file_is_the_old_one_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_file(path, b"old")
    with pytest.raises(TypeError), written_aside(path) as file:
        file.write("no bytes, after some of them were written" if file.write(b"half") else b"")
    assert content(tmp_path) == {"file": "old"}
    write_file(path, b"new")
    assert content(tmp_path) == {"file": "new"}


def test_what_a_new_folder_takes_over_is_the_same_files(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    (folder / "notes").mkdir(parents=True)
    (folder / "notes/one.txt").write_text("one")
    (folder / "old.txt").write_text("old")
    (folder / "gone.txt").write_text("gone")
    (folder / "link").symlink_to("old.txt")
    number = (folder / "old.txt").stat().st_ino
    replace_folder(
        folder,
        {"new.txt": b"new"},
        may_replace=lambda there: None,
        check=lambda new: None,
        kept=lambda name: name != "gone.txt",
    )
    assert sorted(path.name for path in folder.iterdir()) == ["link", "new.txt", "notes", "old.txt"]
    assert (folder / "notes/one.txt").read_text() == "one"
    assert (folder / "link").read_text() == "old"
    assert (folder / "old.txt").stat().st_ino == number
