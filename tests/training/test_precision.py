from __future__ import annotations

import pytest
import torch

from tactful_training.precision import choose_precision


@pytest.mark.parametrize("wanted", ["fp32", "bf16"])
def test_what_is_configured_is_taken(wanted: str) -> None:
    assert choose_precision(wanted, torch.device("cpu")) == wanted


def test_auto_decides_for_the_processor() -> None:
    assert choose_precision("auto", torch.device("cpu")) in ("fp32", "bf16")
