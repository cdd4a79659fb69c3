"""Files that are whole and on the disk before anything relies on them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tactful.batch.errors import JobError
from tactful.disk import sync_folder
from tactful.strict_json import strict_json

_BUFFER = 1 << 20


class Sink:
    """A file being written: knows its size and digest, and says what it is when a write fails."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.size = 0
        self.digest = hashlib.sha256()
        with writing(path):
            self._file = path.open("wb", buffering=_BUFFER)

    def write(self, data: Any) -> int:
        """Write bytes."""
        with writing(self._path):
            self._file.write(data)
        self.digest.update(data)
        length = memoryview(data).nbytes
        self.size += length
        return length

    def tell(self) -> int:
        """How many bytes were written."""
        return self.size

    def flush(self) -> None:
        """Nothing: a sink is on the disk when it was closed."""

    def close(self) -> None:
        """Put it on the disk."""
        with writing(self._path):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()

    def discard(self) -> None:
        """Close it without caring for what it holds."""
        with contextlib.suppress(OSError):
            self._file.close()
        self._path.unlink(missing_ok=True)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what a full disk or a closed folder raises into a message with the path."""
    try:
        yield
    except OSError as error:
        raise JobError(f"{path} cannot be written: {error.strerror or error}") from error


def write_synced(path: Path, content: bytes) -> None:
    """Write a small file that is the old one or the new one, whenever the process ends."""
    aside = path.with_suffix(".new")
    with aside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)
    sync_folder(path.parent)


def json_bytes(value: object) -> bytes:
    """A line of JSON in ASCII, as names may hold what UTF-8 cannot."""
    return json.dumps(value).encode() + b"\n"


def read_json(path: Path) -> Any:
    """The content of a small file; None where it is missing or torn."""
    try:
        return parsed(path.read_bytes())
    except FileNotFoundError:
        return None


def parsed(content: bytes) -> Any:
    """JSON; None where it is torn."""
    try:
        return strict_json(content)
    except ValueError:
        return None
