"""docs/your_own_labels.md, followed to the letter with the default encoder; minutes."""

from __future__ import annotations

import os
import re
import runpy
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent

pytestmark = pytest.mark.slow


def test_an_export_becomes_a_trained_and_measured_bundle(tmp_path: Path) -> None:
    made_up = runpy.run_path(str(Path(__file__).with_name("own_labels_export.py")))
    made_up["write_export"](tmp_path / "export.csv")
    text = (ROOT / "docs/your_own_labels.md").read_text("utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", text, flags=re.M | re.S)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    environment = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    for line in lines:
        if not line or line.startswith(("tactful serve", "tactful data merge")):
            continue  # those need somebody who says something
        began = time.monotonic()
        done = subprocess.run(
            shlex.split(line, comments=True),
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        print(f"$ {line}\n{done.stdout}[{time.monotonic() - began:.0f} s]")
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "models/own_labels/manifest.json").exists()
