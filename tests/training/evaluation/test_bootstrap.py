from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import bootstrap as scipy_bootstrap

from tactful_training.evaluation.bootstrap import Doubles, Resamples
from tactful_training.evaluation.quality_metrics import decision_counts, decision_statistic, ratio


def mean_of(values: NDArray[Any], drawn: Resamples) -> Any:
    sums = drawn.sums(np.stack([values, np.ones_like(values)], axis=1))
    return lambda weights: ratio((weights @ sums)[:, :1], (weights @ sums)[:, 1:])


def test_groups_are_drawn_whole_and_in_full_number() -> None:
    drawn = Resamples(["a", "b", "a", "c"], count=200, seed=1)
    assert drawn.groups.tolist() == [0, 1, 0, 2]
    seen: list[Doubles] = []

    def spy(weights: Doubles) -> Doubles:
        seen.append(weights)
        return weights

    drawn.estimates(spy)
    value, resamples, left_out = seen
    assert value.tolist() == [[1, 1, 1]]
    assert resamples.shape == (200, 3)
    assert (resamples.sum(axis=1) == 3).all()
    assert resamples.mean(axis=0) == pytest.approx([1, 1, 1], abs=0.2)
    assert left_out.tolist() == [[0, 1, 1], [1, 0, 1], [1, 1, 0]]


def test_a_resample_equals_the_metric_on_its_rows_one_by_one() -> None:
    random = np.random.default_rng(3)
    groups = [str(group) for group in random.integers(0, 30, 90)]
    targets = (random.random((90, 3)) < 0.4).astype(np.float32)
    targets[::7] = np.nan
    decisions = random.random((90, 3)) < 0.5
    drawn = Resamples(groups, count=20, seed=3)
    counts = drawn.sums(decision_counts(targets, decisions))
    fast = decision_statistic(counts, np.array([True, True, False]))

    def slow(weights: Doubles) -> list[float]:
        rows = np.repeat(np.arange(90), weights[drawn.groups].astype(int))
        t, d = targets[rows], decisions[rows]
        hits = [int(np.sum(d[:, k] & (t[:, k] == 1))) for k in range(3)]
        false = [int(np.sum(d[:, k] & (t[:, k] == 0))) for k in range(3)]
        missed = [int(np.sum(~d[:, k] & (t[:, k] == 1))) for k in range(3)]
        f1 = [2 * h / (2 * h + f + m) for h, f, m in zip(hits, false, missed, strict=True)]
        micro = 2 * sum(hits) / (2 * sum(hits) + sum(false) + sum(missed))
        return [*f1, (f1[0] + f1[1]) / 2, micro]

    checked = 0

    def compare(weights: Doubles) -> Doubles:
        nonlocal checked
        values = fast(weights)
        for row, value in zip(weights, values, strict=True):
            assert value[6:].tolist() == pytest.approx(slow(row))
            checked += 1
        return values

    drawn.estimates(compare)
    assert checked == 1 + 20 + drawn.size


def test_the_same_seed_gives_the_same_interval_and_another_nearly_the_same() -> None:
    values = np.random.default_rng(0).random(400)
    intervals = []
    for seed in (5, 5, 6):
        drawn = Resamples([str(row // 2) for row in range(400)], seed=seed)
        (estimate,) = drawn.estimates(mean_of(values, drawn))
        intervals.append((estimate.low, estimate.high))
    assert intervals[0] == intervals[1] != intervals[2]
    assert intervals[0] == pytest.approx(intervals[2], abs=0.01)


def test_the_interval_is_the_bca_interval_of_scipy() -> None:
    values = np.random.default_rng(2).exponential(size=60) ** 2
    drawn = Resamples([str(row) for row in range(60)], count=20_000)
    (estimate,) = drawn.estimates(mean_of(values, drawn))
    expected = scipy_bootstrap(
        (values,), np.mean, n_resamples=20_000, method="BCa", rng=1
    ).confidence_interval
    assert (estimate.low, estimate.high) == pytest.approx(tuple(expected), rel=0.02)


def test_many_groups_are_left_out_in_blocks() -> None:
    values = np.random.default_rng(2).exponential(size=1300)
    shapes = []
    drawn = Resamples([str(row) for row in range(1300)], count=10)
    statistic = mean_of(values, drawn)

    def spy(weights: Doubles) -> Doubles:
        shapes.append(len(weights))
        result: Doubles = statistic(weights)
        return result

    drawn.estimates(spy)
    assert sum(shapes) == 1 + 10 + 500


def test_rows_that_belong_together_widen_the_interval() -> None:
    values = np.repeat(np.random.default_rng(4).random(100), 4)
    widths = []
    for size in (1, 4):
        drawn = Resamples([str(row // size) for row in range(400)])
        (estimate,) = drawn.estimates(mean_of(values, drawn))
        widths.append(estimate.high - estimate.low)
    assert widths[1] == pytest.approx(2 * widths[0], rel=0.15)


@pytest.mark.parametrize(("groups", "count"), [(["a", "a"], 50), (["a", "b"], 0)])
def test_without_resamples_or_with_one_group_there_is_a_value_but_no_interval(
    groups: list[str], count: int
) -> None:
    drawn = Resamples(groups, count=count)
    statistic = mean_of(np.array([0.2, 0.4]), drawn)
    for estimate in (*drawn.estimates(statistic), drawn.error_estimate(statistic)):
        assert estimate.value == pytest.approx(0.3)
        assert np.isnan([estimate.low, estimate.high]).all()


def test_what_is_undefined_stays_so_and_what_is_certain_has_no_width() -> None:
    drawn = Resamples(["a", "b", "c"], count=50)

    def statistic(weights: Doubles) -> Doubles:
        return np.tile([np.nan, 1.0], (len(weights), 1))

    undefined, certain = drawn.estimates(statistic)
    assert np.isnan([undefined.value, undefined.low, undefined.high]).all()
    assert (certain.low, certain.value, certain.high) == (1, 1, 1)


def test_an_error_near_zero_has_an_interval_around_its_value_that_is_never_negative() -> None:
    random = np.random.default_rng(8)
    drawn = Resamples([str(row) for row in range(200)], seed=8)
    noise = drawn.sums(random.normal(0, 1, (200, 10)))
    estimate = drawn.error_estimate(
        lambda weights: np.abs(weights @ noise).sum(axis=1, keepdims=True) / 200
    )
    assert 0 <= estimate.low <= estimate.value <= estimate.high


def test_intervals_cover_the_true_f1() -> None:
    """95% intervals of F1 over dependent rows contain the known F1 in 93 to 97% of 400 trials."""
    random = np.random.default_rng(11)
    groups, size, hit, false = 150, 3, 0.8, 0.05
    share = 0.3
    true_f1 = 2 * hit * share / (2 * hit * share + false * (1 - share) + (1 - hit) * share)
    names = [str(row // size) for row in range(groups * size)]
    covered = 0
    for trial in range(400):
        # Within a group the rows are alike: each copies the group's first with probability 0.5.
        draws = random.random((2, groups, size))
        copies = random.random((groups, size)) < 0.5
        draws = np.where(copies, draws[:, :, :1], draws).reshape(2, -1, 1)
        targets = (draws[0] < share).astype(np.float32)
        decisions = draws[1] < np.where(targets == 1, hit, false)
        drawn = Resamples(names, seed=trial)
        counts = drawn.sums(decision_counts(targets, decisions))
        *_, micro = drawn.estimates(decision_statistic(counts, np.array([True])))
        covered += micro.low <= true_f1 <= micro.high
    assert 0.93 <= covered / 400 <= 0.97
