"""What has to be on the disk, not only on its way there."""

from __future__ import annotations

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Have renames in a folder on the disk.

    Raises:
        OSError: the folder cannot be opened or synchronised.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
