"""Allocator settings: taken by glibc, left alone where somebody else has set them."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

CODE = "from tactful_training.fitting.memory import keep_freed_memory; print(keep_freed_memory())"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's settings")
@pytest.mark.parametrize(
    ("variables", "done"), [({}, "True"), ({"MALLOC_ARENA_MAX": "2"}, "False")]
)
def test_glibc_takes_the_settings_unless_tuned_already(
    variables: dict[str, str], done: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    shown = subprocess.run([sys.executable, "-c", CODE], capture_output=True, check=True, text=True)

    assert shown.stdout.strip() == done
