"""Number format from the device; allocator settings, unless somebody else has set them."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest
import torch

from tactful_training.fitting import hardware
from tactful_training.fitting.hardware import choose_precision, faster_precision

CODE = "from tactful_training.fitting.hardware import keep_freed_memory; print(keep_freed_memory())"


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


@pytest.mark.parametrize("wanted", ["fp32", "bf16"])
def test_what_is_configured_is_taken(wanted: str) -> None:
    assert choose_precision(wanted, torch.device("cpu")) == wanted


@pytest.mark.parametrize(
    ("fp32", "bf16", "expected"),
    [(2.0, 1.0, "bf16"), (1.26, 1.0, "bf16"), (1.24, 1.0, "fp32"), (1.0, 2.0, "fp32")],
)
def test_bf16_must_be_clearly_faster_on_a_processor(
    fp32: float, bf16: float, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = {"fp32": fp32, "bf16": bf16}
    assert faster_precision(times) == expected
    monkeypatch.setattr(hardware, "_time_products", lambda: times)
    assert choose_precision("auto", torch.device("cpu")) == expected


def test_a_product_is_timed_in_each_format() -> None:
    times = hardware._time_products()
    assert set(times) == {"fp32", "bf16"}
    assert all(0 < seconds < 60 for seconds in times.values())
