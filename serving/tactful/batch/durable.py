"""Files that are whole and on the disk before anything relies on them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tactful.batch.errors import JobError
from tactful.strict_json import strict_json


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what a full disk or a closed folder raises into a message with the path."""
    try:
        yield
    except OSError as error:
        raise JobError(f"{path} cannot be written: {error.strerror or error}") from error


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
