"""Files and folders that are locked, whole and on the disk: the one place that writes them.

What is new is written aside, synced and then moved in, so that a crash leaves the old one or the
new one, never a part of one. Locks end with the process that holds them, however it ends.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

_T = TypeVar("_T")
_BUFFER = 1 << 20


@contextlib.contextmanager
def locked(path: Path, *, refusal: Exception | None = None) -> Iterator[None]:
    """Keep out everybody else who asks for the same lock.

    Args:
        path: the lock file. Missing parents are made; the file, and of those parents what is
            empty, goes afterwards. Nobody else may remove it.
        refusal: raised where another one holds it; without it, whoever holds it is waited for.

    Raises:
        OSError: the file cannot be made.
    """
    from filelock import FileLock, Timeout  # a quarter of a second that few commands need

    made: list[Path] = []
    path = Path(os.path.abspath(path))
    lock = FileLock(path, thread_local=False)
    while not lock.is_locked:
        try:
            _make(path.parent, made)
            lock.acquire(blocking=refusal is None)
        except Timeout as error:
            raise (refusal or error) from None
        except FileNotFoundError:
            pass  # a holder who went removed the folder
        except FileExistsError:  # or removed it while it was made: there, and then no folder
            if path.parent.exists() and not path.parent.is_dir():
                raise
    try:
        yield
    finally:
        # Before it is let go: those who wait for it notice that, and ask for a new one.
        with contextlib.suppress(OSError):  # on Windows it is the library that removes it
            path.unlink()
        lock.release()
        for each in reversed(made):
            with contextlib.suppress(OSError):  # others have put something there
                each.rmdir()


def _make(folder: Path, made: list[Path]) -> None:
    """Make a folder and its parents; those that this makes are added, the outermost first.

    Raises:
        FileNotFoundError: somebody removed a parent in between.
    """
    for each in reversed([each for each in (folder, *folder.parents) if not each.exists()]):
        with contextlib.suppress(FileExistsError):
            each.mkdir()
            made.append(each)


class SyncedFile:
    """A new file that is on the disk when it was closed.

    Args:
        path: the file; there must be none.

    Attributes:
        size: bytes written so far.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb", buffering=_BUFFER)
        self._digest = hashlib.sha256()
        self.size = 0

    @property
    def sha256(self) -> str:
        """The digest of what was written so far."""
        return self._digest.hexdigest()

    def write(self, data: Any) -> int:
        """Write bytes."""
        self._file.write(data)
        self._digest.update(data)
        length = memoryview(data).nbytes
        self.size += length
        return length

    def flush(self) -> None:
        """Nothing: it is on the disk when it was closed."""

    def close(self, *, keep: bool = True) -> None:
        """Put it on the disk; or just let go of it, whatever it holds."""
        if keep:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            return
        with contextlib.suppress(OSError):
            self._file.close()


@contextlib.contextmanager
def written_aside(path: Path) -> Iterator[SyncedFile]:
    """A file that takes the place of ``path`` after the block; where that fails nothing stays.

    Raises:
        OSError: the disk refuses; the old file is still there.
    """
    new = aside(path, "new")
    file = SyncedFile(new)
    try:
        yield file
        file.close()
        os.replace(new, path)
    except BaseException:
        file.close(keep=False)
        new.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_file(path: Path, content: bytes) -> None:
    """Put a file in the place of an older one, or of none.

    Raises:
        OSError: the disk refuses; the old file is still there.
    """
    with written_aside(path) as file:
        file.write(content)


def append_synced(path: Path, content: bytes) -> None:
    """Add to the end of a file, through to the disk.

    Raises:
        OSError: the disk refuses; a part of it may be there.
    """
    with path.open("ab") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, where the system has a way to say so.

    Raises:
        OSError: the folder cannot be opened or synchronised.
    """
    if os.name == "nt":  # it opens no folders
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_folder(
    folder: Path,
    files: Mapping[str, bytes],
    *,
    may_replace: Callable[[Path], None],
    check: Callable[[Path], _T],
    kept: Callable[[str], bool] = lambda name: False,
) -> _T:
    """Put a folder of files in the place of an older one, or of none.

    Between two renames neither may stand in its place; the next write, or `recover`, puts the old
    one back.

    Args:
        folder: where it is to be, resolved; parents are made, and removed again if it fails.
        files: name to content of everything that it will hold.
        may_replace: called with ``folder``; raises where what is there must stay.
        check: called with the new folder while it is still aside; raises where it is unfit.
        kept: whether the new one takes over a file or folder of the old one, by its name.

    Returns:
        What ``check`` returned.

    Raises:
        OSError: the disk refuses; the old folder is still there.
    """
    with _writing_beside(folder):
        _recover(folder)
        may_replace(folder)
        new = aside(folder, "new")
        try:
            new.mkdir()
            for old in folder.iterdir() if folder.exists() else ():
                if kept(old.name):
                    _take_over(old, new / old.name)
            for name, content in files.items():
                write_file(new / name, content)
            checked = check(new)
            _move_in(new, folder)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    return checked


def _take_over(old: Path, new: Path) -> None:
    """Have a file, link or folder in a second place; files are not written again where links do."""
    if old.is_symlink():
        new.symlink_to(os.readlink(old))
    elif old.is_dir():
        shutil.copytree(old, new, symlinks=True, copy_function=_link)
    else:
        _link(str(old), str(new))


def _link(old: str, new: str) -> None:
    try:
        os.link(old, new)
    except OSError:  # a file system that has no links
        write_file(Path(new), Path(old).read_bytes())


def recover(folder: Path) -> None:
    """Put back a folder that a crash left aside; where there is none nothing is touched.

    Waits for a writer that is at work beside it.

    Raises:
        OSError: the disk refuses.
    """
    if os.path.exists(folder) or not os.path.isdir(folder.parent):
        return
    if any(_left(folder, "old")):
        with _writing_beside(folder):
            _recover(folder)


def aside(path: Path, role: str) -> Path:
    """A name beside ``path`` that nothing has."""
    return path.with_name(f".{path.name}.{role}-{secrets.token_hex(4)}")


def _writing_beside(folder: Path) -> contextlib.AbstractContextManager[None]:
    """One writer of folders at a time, so that leftovers are nobody's work in progress."""
    return locked(folder.parent / ".tactful.lock")


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
