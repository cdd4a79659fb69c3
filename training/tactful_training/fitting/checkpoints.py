"""Which checkpoints of a run are whole: a killed process may leave half of one behind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tactful.storage import write_file

_MARK = "complete.json"


@contextmanager
def saving(checkpoint: Path) -> Iterator[None]:
    """Mark a checkpoint as whole when the block has written it, and not before.

    The mark holds the size of each file, so that half a deletion is noticed as well.
    """
    mark = checkpoint / _MARK
    mark.unlink(missing_ok=True)
    yield
    sizes = {path.name: path.stat().st_size for path in checkpoint.iterdir()}
    write_file(mark, json.dumps(sizes).encode())


def last_complete(folder: Path) -> Path | None:
    """The newest whole checkpoint in a folder; what was left half-written or half-deleted goes.

    Args:
        folder: where ``checkpoint-<step>`` folders lie; it need not exist.

    Returns:
        The checkpoint to resume from, or None.
    """
    whole: dict[int, Path] = {}
    for checkpoint in folder.glob("checkpoint-*"):
        if _is_complete(checkpoint):
            whole[int(checkpoint.name.partition("-")[2])] = checkpoint
        else:
            shutil.rmtree(checkpoint)
    return whole[max(whole)] if whole else None


def _is_complete(checkpoint: Path) -> bool:
    try:
        sizes: dict[str, int] = json.loads((checkpoint / _MARK).read_bytes())
        return all((checkpoint / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False
