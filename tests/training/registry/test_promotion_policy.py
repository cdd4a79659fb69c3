"""What a policy asks of a challenger's costs, with made-up timings."""

from __future__ import annotations

import numpy as np
import pytest

from tactful_training.evaluation.bootstrap import Estimate
from tactful_training.evaluation.bundle_comparison import Comparison
from tactful_training.evaluation.paired_differences import Cost, Costs, slowdown
from tactful_training.registry.promotion_policy import Check, check_against, load_policy


def seconds(factor: float = 1.0, noise: float = 0.05, seed: int = 0) -> np.ndarray:
    """Seven rounds of 48 replies of very different lengths."""
    lengths = np.random.default_rng(0).lognormal(-5, 0.8, 48)
    random = np.random.default_rng(seed)
    return factor * lengths * random.lognormal(0, noise, (7, 48))


def costs(time: Estimate, growth: float = 1.0) -> Costs:
    return Costs(Cost(24.0, 5.0, 14.0), Cost(24.0 * growth, 5.0, 14.0), time)


def checked(found: Costs) -> dict[str, Check]:
    """The checks of the shipped policy on a comparison that knows costs only."""
    compared = Comparison(("a", "b"), 1, 1, 1, {}, {}, [], {}, {}, [], found, None)  # type: ignore[arg-type]
    checks = check_against(load_policy(), compared)
    return {check.name: check for check in checks if check.name in ("speed", "size")}


def test_a_model_twice_as_slow_is_refused() -> None:
    time = slowdown(seconds(seed=1), seconds(2.0, seed=2))
    assert time.low < 2 < time.high
    assert time.low > 1.5
    check = checked(costs(time))["speed"]
    assert check.outcome == "harmful"
    assert "surely slower" in check.reason
    assert f"({time.low:.2f} to {time.high:.2f})" in check.reason


@pytest.mark.parametrize("seed", range(5))
def test_a_noisy_timing_decides_nothing(seed: int) -> None:
    # One of them was read while the machine did something else in some of the rounds.
    a, b = seconds(noise=0.3, seed=seed), seconds(1.4, noise=0.3, seed=seed + 10)
    b[[1, 4, 5]] *= 3
    assert checked(costs(slowdown(a, b)))["speed"].outcome == "passed"


def test_a_timing_beyond_the_limit_that_is_not_sure_is_said_and_passes() -> None:
    check = checked(costs(Estimate(1.6, 1.4, 1.9)))["speed"]
    assert check.outcome == "passed"
    assert check.reason.endswith(
        "1.60 (1.40 to 1.90) times the champion's; at most 1.5: not surely slower"
    )
    assert checked(costs(Estimate(1.6, 1.51, 1.9)))["speed"].outcome == "harmful"


def test_equal_models_have_a_narrow_interval_around_one() -> None:
    time = slowdown(seconds(seed=3), seconds(seed=4))
    assert 0.95 < time.low <= time.value <= time.high < 1.05
    assert time == slowdown(seconds(seed=3), seconds(seed=4))


def test_size_needs_no_interval() -> None:
    assert checked(costs(Estimate(1, 1, 1), growth=1.5))["size"].outcome == "passed"
    check = checked(costs(Estimate(1, 1, 1), growth=1.6))["size"]
    assert check.outcome == "harmful"
    assert check.reason == "size is 1.60 times the champion's; at most 1.5"
