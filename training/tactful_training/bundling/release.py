"""Pack a release: ``python -m tactful_training.bundling.release BUNDLE DIST``, in a checkout.

The wheel carries the bundle as the default model, so that ``pip install`` is all that labelling
takes; the archive beside it is the bundle alone. The repository itself holds no model.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import tactful
from tactful.bundle.addresses import DEFAULT_BUNDLE
from tactful.bundle.loading import Bundle
from tactful.bundle.writing import write_archive
from tactful.errors import BundleError, TactfulError
from tactful.storage import write_file
from tactful_training.config.shipped_files import shipped_root

MAX_WHEEL_BYTES = 40_000_000
"""More than this nobody wants to download for a labeller."""
# What the wheel is built of, as pyproject.toml names it.
_SOURCES = ("pyproject.toml", "README.md", "LICENSE", "serving", "training", "configs")
_DATA_CARDS = "data_cards"
_DATA_SET = "support_replies"


def release_bundle(bundle: Bundle, dist: Path) -> Path:
    """Write ``tactful-<version of the package>.bundle.tar.gz`` and its ``.sha256``.

    Args:
        bundle: a loaded bundle.
        dist: folder to write into; made where missing.

    Returns:
        The archive. The file beside it is in the form of ``sha256sum --check``.

    Raises:
        BundleError: the archive cannot be written, or what was written cannot be used.
    """
    archive = dist / f"tactful-{tactful.__version__}.bundle.tar.gz"
    digest = write_archive(bundle, archive)
    Bundle.load(archive)
    checksum = archive.with_name(f"{archive.name}.sha256")
    write_file(checksum, f"{digest}  {archive.name}\n".encode())
    return archive


def release_wheel(bundle: Bundle, dist: Path) -> Path:
    """Build the wheel of this checkout with a bundle in it.

    The package is built from a copy, so that no model ever lies in the checkout's own folders.

    Args:
        bundle: a loaded bundle; it becomes the default model.
        dist: folder to write into; made where missing.

    Returns:
        The wheel.

    Raises:
        BundleError: the wheel cannot be built, or would be larger than `MAX_WHEEL_BYTES`.
    """
    root = shipped_root()
    with tempfile.TemporaryDirectory() as made:
        copy, wheels = Path(made) / "source", Path(made) / "wheels"
        copy.mkdir()
        for name in _SOURCES:
            _copy(root / name, copy / name)
        for card in sorted((root / _DATA_CARDS).iterdir()):
            ignored = () if card.name == _DATA_SET else ("*.jsonl",)
            _copy(card, copy / _DATA_CARDS / card.name, *ignored)
        model = copy / "serving/tactful/_shipped" / DEFAULT_BUNDLE
        model.mkdir(parents=True)
        for name, content in bundle.files.items():
            (model / name).write_bytes(content)
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
        command += ["--no-deps", "--build-constraint", str(root / "constraints.txt")]
        command += ["--wheel-dir", str(wheels), str(copy)]
        built = subprocess.run(command, capture_output=True, text=True, check=False)
        if built.returncode:
            raise BundleError(bundle.address, [f"no wheel can be built: {built.stderr.strip()}"])
        [wheel] = wheels.glob("*.whl")
        if (size := wheel.stat().st_size) > MAX_WHEEL_BYTES:
            problem = f"a wheel with it has {size} bytes; allowed: {MAX_WHEEL_BYTES}"
            raise BundleError(bundle.address, [f"{problem}; ship an int8 form"])
        dist.mkdir(parents=True, exist_ok=True)
        write_file(dist / wheel.name, wheel.read_bytes())
    return dist / wheel.name


def _copy(source: Path, target: Path, *ignored: str) -> None:
    if source.is_dir():
        skipped = shutil.ignore_patterns("__pycache__", "_shipped", *ignored)
        shutil.copytree(source, target, ignore=skipped)
    else:
        shutil.copy(source, target)


def main(address: str, folder: str) -> None:
    """Write both and say so."""
    try:
        bundle = Bundle.load(address)
        for pack in (release_bundle, release_wheel):
            path = pack(bundle, Path(folder))
            print(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)")
    except TactfulError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
