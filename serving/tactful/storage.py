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
    """One writer at a time in a folder, so that leftovers are nobody's work in progress.

    The folder is made where it is missing, and removed again where the writer fails.
    """
    made: list[Path] = []
    descriptor = None
    while descriptor is None:
        made += _make(folder)
        descriptor = _lock(folder)
    try:
        yield
    except BaseException:
        for each in reversed(made):  # under the lock; where others have put something it stays
            with contextlib.suppress(OSError):
                each.rmdir()
        raise
    finally:
        os.close(descriptor)


def _make(folder: Path) -> list[Path]:
    """Make a folder and its parents; those that this made, the outermost first."""
    made = []
    for each in reversed([each for each in (folder, *folder.parents) if not each.exists()]):
        with contextlib.suppress(FileExistsError):
            each.mkdir()
            made.append(each)
    return made


def _lock(folder: Path) -> int | None:
    """Wait for the lock; None where the writer that held it has removed the folder."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        still = folder.exists() and os.path.samestat(os.fstat(descriptor), folder.stat())
    except BaseException:
        os.close(descriptor)
        raise
    if not still:
        os.close(descriptor)
        return None
    return descriptor


def _recover(folder: Path) -> None:
    """Undo what a crash left: put back a folder that was moved aside, drop the rest."""
    for old in sorted(_left(folder, "old")):
        if folder.exists():
            _discard(old, folder)
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
        sync_folder(folder.parent)
    except BaseException:  # Ctrl-C too: all is as it was, or the new one is in for good
        if folder.exists() and not new.exists():
            os.rename(folder, new)
        if old.exists():
            os.rename(old, folder)
        raise
    _discard(old, folder)


def _discard(old: Path, folder: Path) -> None:
    """Delete what ``folder`` replaced; half of it must not pass for one to be put back."""
    rest = aside(folder, "new")
    with contextlib.suppress(OSError):
        os.rename(old, rest)
        shutil.rmtree(rest)
