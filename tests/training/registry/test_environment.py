"""Runs by a user whom the machine does not know, as in a container with any user id."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tactful_training.registry.environment import git_commit

HOMELESS = """
import os, pwd, sys
if os.geteuid() == 0:
    os.setresuid(54321, 0, 0)  # the real id is that of nobody; files are read as before
else:
    pwd.getpwuid = lambda uid: {}[uid]
from pathlib import Path
from tactful_training.registry.mlflow_tracker import Tracker

tracker = Tracker()
tracker.open("tactful", "homeless", None)
tracker.log_params({"seed": 1})
tracker.watch_system()
Path("note.txt").write_text("a")
tracker.attempt(lambda client, run: client.log_artifact(run, "note.txt"))
tracker.close("FINISHED")
print(tracker.failure, Path.home().is_dir())
"""


@pytest.mark.parametrize("home", [None, "/proc/no such home"], ids=["none", "unwritable"])
def test_tracking_needs_no_home(home: str | None, workplace: Path) -> None:
    kept = {"PATH", "TMPDIR", "LANG"}
    environment = {name: value for name, value in os.environ.items() if name in kept}
    if home is not None:
        environment["HOME"] = home
    done = subprocess.run(
        [sys.executable, "-c", HOMELESS],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["None", str(home is None)], done.stderr
    assert list(workplace.glob("mlruns/*/*/artifacts/note.txt"))


def test_the_commit_is_known_whoever_owns_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    commit = git_commit()
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    assert git_commit() == commit
    assert commit is None or re.fullmatch(r"[0-9a-f]{40}(-dirty)?", commit)
