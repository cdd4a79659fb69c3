"""One real training for all end-to-end tests: the smoke config through the installed command."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def tactful() -> Run:
    """Runs the installed command; keyword ``code`` is the exit code that is expected."""
    command = Path(sys.executable).with_name("tactful")
    plain = {"NO_COLOR": "1", "COLUMNS": "100", "TERM": "dumb"}
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("TACTFUL_", "MLFLOW_"))}

    def run(
        *arguments: str, cwd: Path, code: int = 0, stdin: bytes = b"", **variables: str
    ) -> subprocess.CompletedProcess[str]:
        finished = subprocess.run(
            [command, *arguments],
            cwd=cwd,
            env=kept | plain | variables,
            input=stdin,
            capture_output=True,
            check=False,
        )
        text = subprocess.CompletedProcess(
            finished.args,
            finished.returncode,
            finished.stdout.decode(),
            finished.stderr.decode(errors="replace"),
        )
        assert text.returncode == code, text.stdout + text.stderr
        assert "Traceback" not in text.stderr, text.stderr
        return text

    return run


@pytest.fixture(scope="session")
def trained(tactful: Run, tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder where the smoke config was trained; config and data are the package's own.

    What the command printed is in ``printed.txt``. Where tests run in several processes the first
    one trains for all, and each has a copy.
    """
    mine = tmp_path_factory.getbasetemp()
    shared = (mine if worker_id == "master" else mine.parent) / "smoke"
    with FileLock(f"{shared}.lock"):
        if not (shared / "printed.txt").exists():
            shared.mkdir()
            finished = tactful("train", "smoke", cwd=shared)
            said = finished.stdout + finished.stderr
            (shared / "printed.txt").write_text(said, encoding="utf-8")
    return shared if worker_id == "master" else shutil.copytree(shared, mine / "smoke")
