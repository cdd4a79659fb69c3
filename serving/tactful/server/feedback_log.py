"""What people say against readings, in one file to which lines are only ever added.

Off unless a file is named, as it stores texts. A line is on the disk before the sender is thanked;
where one was cut off (a full disk, a kill), the next begins a line of its own. ``tactful data
merge`` takes the file.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tactful.errors import TactfulError
from tactful.reading.readings import LabelReading, Reading
from tactful.storage import append_synced, locked

FORMAT = 1


class FeedbackLog:
    """The file of one service; its workers and other services may share it.

    Args:
        path: the file; made, readable by its owner alone, where there is none.

    Raises:
        TactfulError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
        except OSError as error:
            raise TactfulError(
                f"the feedback file {path} cannot be written: {error.strerror}; name another with "
                "--feedback, or leave it out to take no feedback"
            ) from error

    def add(self, said: Mapping[str, Any], reading: Reading, digest: str) -> str:
        """Add a line, through to the disk.

        Args:
            said: reply, context and labels, and whatever else the person gave.
            reading: what the bundle says of the same texts.
            digest: of that bundle, whole.

        Returns:
            The line's id.

        Raises:
            OSError: the disk refuses; a part of the line may be there.
        """
        line = {
            "feedback": FORMAT,  # first: by this the file is known
            "id": secrets.token_hex(8),
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "bundle": reading.bundle,
            "digest": digest,
            "read": {task: _names(reading, task) for task in said["labels"]},
            **said,
        }
        content = f"{json.dumps(line)}\n".encode()
        with locked(self._path.with_name(f".{self._path.name}.lock")):
            append_synced(self._path, content if self._is_whole() else b"\n" + content)
        return str(line["id"])

    def _is_whole(self) -> bool:
        """Whether the file ends where a line does."""
        with self._path.open("rb") as file:
            if not file.seek(0, os.SEEK_END):
                return True
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"


def _names(reading: Reading, task: str) -> list[str] | str:
    decided = reading.labels[task]
    if isinstance(decided, LabelReading):
        return decided.label
    return [each.label for each in decided]
