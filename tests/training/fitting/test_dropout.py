"""Dropout: the right share, the same expectation, nothing when evaluating."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tactful_training.fitting.dropout import Dropout, replace_dropout


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_share_is_dropped_and_the_mean_stays(rate: float, dtype: torch.dtype) -> None:
    torch.manual_seed(13)
    kept = Dropout(rate).train()(torch.ones(7, 300, 211, dtype=dtype)).float()

    # 443,100 draws: five standard deviations are below 0.004, a step of the rate is 1/256.
    assert (kept == 0).float().mean().item() == pytest.approx(rate, abs=0.006)
    assert kept.mean().item() == pytest.approx(1, abs=0.04)
    # No value is tied to its neighbours, in the same draw or beside it.
    dropped = (kept == 0).float().flatten()
    for lag in (1, 2, 4, 8, 64):
        pairs = torch.stack([dropped[:-lag], dropped[lag:]])
        assert abs(torch.corrcoef(pairs)[0, 1].item()) < 0.01


def test_gradients_flow_where_values_did() -> None:
    torch.manual_seed(13)
    values = torch.ones(40, 25, requires_grad=True)
    kept = Dropout(0.3).train()(values)
    kept.sum().backward()

    assert values.grad is not None
    torch.testing.assert_close(values.grad, kept.detach())


def test_the_same_seed_drops_the_same_and_evaluation_drops_nothing() -> None:
    values = torch.randn(5, 6)
    layer = Dropout(0.5).train()
    torch.manual_seed(1)
    first = layer(values)
    torch.manual_seed(1)

    torch.testing.assert_close(layer(values), first)
    assert layer.eval()(values) is values
    assert Dropout(0.0).train()(values) is values


def test_every_dropout_of_a_module_is_replaced() -> None:
    module = nn.Sequential(nn.Dropout(0.1), nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.2)))
    replace_dropout(module)

    found = [child.p for child in module.modules() if isinstance(child, Dropout)]
    assert found == [0.1, 0.2]
    assert sum(isinstance(child, nn.Dropout) for child in module.modules()) == 2
