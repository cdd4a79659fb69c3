"""Number format from the device; allocator settings, unless somebody else has set them."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tactful_training.fitting.hardware import Precision, choose_attention, choose_precision

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
    ("made_by", "flags", "expected"),
    [
        ("GenuineIntel", "sse2 avx2 avx512f avx512_bf16 amx_tile amx_bf16", "bf16"),
        ("GenuineIntel", "sse2 avx2 avx512f avx512_bf16", "fp32"),
        ("GenuineIntel", "sse2 avx2", "fp32"),
        ("AuthenticAMD", "sse2 avx2 avx512f avx512_bf16", "bf16"),
        ("AuthenticAMD", "sse2 avx2", "fp32"),
    ],
)
def test_the_instructions_of_a_processor_choose_not_a_clock(
    made_by: str, flags: str, expected: str, tmp_path: Path
) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "cpuinfo").write_text(
        f"processor\t: 0\nvendor_id\t: {made_by}\nflags\t\t: {flags}\n"
    )
    assert choose_precision("auto", torch.device("cpu"), tmp_path) == expected


def test_without_cpuinfo_training_is_in_fp32(tmp_path: Path) -> None:
    assert choose_precision("auto", torch.device("cpu"), tmp_path) == "fp32"


@pytest.mark.parametrize(
    ("precision", "device", "expected"),
    [("bf16", "cpu", "eager"), ("fp32", "cpu", None), ("bf16", "cuda", None)],
)
def test_fused_attention_is_left_where_its_gradients_are_slow(
    precision: Precision, device: str, expected: str | None
) -> None:
    assert choose_attention(precision, torch.device(device)) == expected
