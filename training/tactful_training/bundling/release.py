"""Pack a bundle for a release: ``python -m tactful_training.bundling.release BUNDLE DIST``."""

from __future__ import annotations

import sys
from pathlib import Path

import tactful
from tactful.bundle.loading import Bundle
from tactful.bundle.writing import write_archive
from tactful.errors import TactfulError
from tactful.storage import write_file


def release_bundle(address: str | Path, dist: Path) -> Path:
    """Write ``tactful-<version of the package>.bundle.tar.gz`` and its ``.sha256``.

    Args:
        address: of a bundle; it is loaded first, goldens and all.
        dist: folder to write into; made where missing.

    Returns:
        The archive. The file beside it is in the form of ``sha256sum --check``.

    Raises:
        BundleError: the bundle, or the archive made of it, cannot be used.
    """
    bundle = Bundle.load(address)
    archive = dist / f"tactful-{tactful.__version__}.bundle.tar.gz"
    digest = write_archive(bundle, archive)
    Bundle.load(archive)
    checksum = archive.with_name(f"{archive.name}.sha256")
    write_file(checksum, f"{digest}  {archive.name}\n".encode())
    return archive


if __name__ == "__main__":
    try:
        print(f"wrote {release_bundle(sys.argv[1], Path(sys.argv[2]))}")
    except TactfulError as error:
        sys.exit(f"error: {error}")
