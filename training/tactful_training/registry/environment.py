"""What a run was made with: versions, processor, commit."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tactful.reading.processor import available_cpus, processor_name

_PACKAGES = (
    "tactful",
    "torch",
    "transformers",
    "tokenizers",
    "onnx",
    "onnxruntime",
    "numpy",
    "mlflow",
)


def describe_environment() -> dict[str, str]:
    """Name to value: versions of what takes part, processor, operating system."""
    environment = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor_name(),
        "cpus": str(available_cpus()),
    }
    for package in _PACKAGES:
        try:
            environment[package] = version(package)
        except PackageNotFoundError:
            environment[package] = "not installed as a package"
    return environment


def git_commit() -> str | None:
    """The commit of this source checkout (40 hex digits, ``-dirty`` where changed), or None.

    None outside a checkout, where git is missing, and where the package merely is installed
    somewhere inside another repository.
    """
    package = Path(__file__).resolve().parents[1]
    top = _git(package, "rev-parse", "--show-toplevel")
    if top is None or not (Path(top) / "training" / package.name).is_dir():
        return None
    return _git(package, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        # It is the code that runs here, whoever owns it: git need not distrust another's folder.
        command = ["git", "-c", "safe.directory=*", "-C", str(folder), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
