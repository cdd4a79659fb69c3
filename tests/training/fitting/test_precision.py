from __future__ import annotations

import pytest
import torch

from tactful_training.fitting import precision
from tactful_training.fitting.precision import choose_precision, faster_precision


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
    monkeypatch.setattr(precision, "_time_products", lambda: times)
    assert choose_precision("auto", torch.device("cpu")) == expected


def test_a_product_is_timed_in_each_format() -> None:
    times = precision._time_products()
    assert set(times) == {"fp32", "bf16"}
    assert all(0 < seconds < 60 for seconds in times.values())
