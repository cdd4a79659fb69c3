"""Folders that are replaced as a whole: written aside, checked, then moved in.

A crash leaves the old folder or the new one, never a part of one. Between two renames neither may
stand in its place; the next write, or `recover`, puts the old one back.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from tactful.disk import sync_folder

_T = TypeVar("_T")


def replace_folder(
    folder: Path,
    files: Mapping[str, bytes],
    *,
    may_replace: Callable[[Path], None],
    check: Callable[[Path], _T],
) -> _T:
    """Put a folder of files in the place of an older one, or of none.

    Args:
        folder: where it is to be, resolved; parents are made, and removed again if it fails.
        files: name to content of everything that it will hold.
        may_replace: called with ``folder``; raises where what is there must stay.
        check: called with the new folder while it is still aside; raises where it is unfit.

    Returns:
        What ``check`` returned.

    Raises:
        OSError: the disk refuses; the old folder is still there.
    """
    missing = [parent for parent in folder.parents if not parent.exists()]
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.parent):
            _recover(folder)
            may_replace(folder)
            new = aside(folder, "new")
            try:
                _write_files(new, files)
                checked = check(new)
                _move_in(new, folder)
            finally:
                shutil.rmtree(new, ignore_errors=True)
    except BaseException:
        for parent in missing:  # the nearest first; what others have put there stays
            with contextlib.suppress(OSError):
                parent.rmdir()
        raise
    return checked


def recover(folder: Path) -> None:
    """Put back a folder that a crash left aside; where there is none nothing is touched.

    Waits for a writer that is at work beside it.

    Raises:
        OSError: the disk refuses.
    """
    if os.path.exists(folder) or not os.path.isdir(folder.parent):
        return
    if any(_left(folder, "old")):
        with _locked(folder.parent):
            _recover(folder)


def aside(path: Path, role: str) -> Path:
    """A name beside ``path`` that nothing has."""
    return path.with_name(f".{path.name}.{role}-{secrets.token_hex(4)}")


def write_file(path: Path, content: bytes) -> None:
    """Write a new file through to the disk."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One writer at a time in a folder, so that leftovers are nobody's work in progress."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _recover(folder: Path) -> None:
    """Undo what a crash left: put back a folder that was moved aside, drop the rest."""
    for old in sorted(_left(folder, "old")):
        if folder.exists():
            shutil.rmtree(old)
        else:
            os.rename(old, folder)
    for new in _left(folder, "new"):
        shutil.rmtree(new)


def _left(folder: Path, role: str) -> Iterator[Path]:
    """What writers that were killed left of that role."""
    return folder.parent.glob(f".{glob.escape(folder.name)}.{role}-*")


def _write_files(folder: Path, contents: Mapping[str, bytes]) -> None:
    folder.mkdir()
    for name, content in contents.items():
        write_file(folder / name, content)
    sync_folder(folder)


def _move_in(new: Path, folder: Path) -> None:
    old = aside(folder, "old")
    try:
        if folder.exists():
            os.rename(folder, old)
        os.rename(new, folder)
    except BaseException:  # Ctrl-C too, which may come when the new one is in already
        if old.exists() and not folder.exists():
            os.rename(old, folder)
        raise
    sync_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)
