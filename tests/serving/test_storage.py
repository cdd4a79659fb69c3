"""Folders replaced as a whole, by writers that meet each other, fail and are interrupted."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tactful import storage as folders
from tactful.storage import recover, replace_folder


def write(folder: Path, text: str, check: Callable[[Path], object] = lambda new: None) -> None:
    replace_folder(folder, {"text": text.encode()}, may_replace=lambda there: None, check=check)


def content(folder: Path) -> dict[str, str]:
    """Path to text of every file under a folder, hidden ones too."""
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


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
    tmp_path: Path,
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

    waiting = threading.Event()
    real = folders.fcntl.flock

    def flock(descriptor: int, operation: int) -> None:
        if threading.current_thread().name == "second":
            waiting.set()  # it has opened the folder that the first one is about to remove
        real(descriptor, operation)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folders.fcntl, "flock", flock)
        first = threading.Thread(target=run, args=("a", refuse))
        second = threading.Thread(target=run, args=("b", lambda new: None), name="second")
        first.start()
        assert inside.wait(60)
        second.start()
        assert waiting.wait(60)
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
