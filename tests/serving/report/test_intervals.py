from __future__ import annotations

import numpy as np
import pytest

from tactful.errors import ReportError
from tactful.report.bundle_facts import read_reliabilities
from tactful.report.intervals import (
    Reliability,
    adjusted,
    benjamini_hochberg,
    effective_replies,
    holm,
    proportion,
    rates,
    sums_by,
)


def test_wilson_gives_the_published_interval():
    # Newcombe 1998, table I: 81 of 263 and 15 of 148.
    for hits, n, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605)):
        found = proportion(hits, n)
        assert (round(found.low, 4), round(found.high, 4)) == (low, high)
    assert proportion(0, 20).low == 0
    assert proportion(20, 20).high == 1


def test_replies_that_stand_alone_count_in_full():
    hits = np.array([[True], [False], [True], [False]])
    assert effective_replies(hits, np.full(4, -1)) == [4]
    assert effective_replies(hits, np.arange(4)) == [4]


def test_conversations_whose_replies_are_all_alike_count_once_each():
    random = np.random.default_rng(3)
    each = random.random((300, 1)) < 0.3
    hits, conversations = np.repeat(each, 4, axis=0), np.repeat(np.arange(300), 4)
    assert effective_replies(hits, conversations)[0] == pytest.approx(300, rel=0.03)
    [alike], [alone] = rates(hits, conversations), rates(hits, np.full(1200, -1))
    assert alike.value == alone.value == hits.mean()
    assert alike.high - alike.low == pytest.approx(2 * (alone.high - alone.low), rel=0.05)


def test_intervals_by_conversation_cover_the_truth():
    random = np.random.default_rng(5)
    covered = 0
    for _ in range(300):
        share = random.beta(2, 6, 60)  # conversations differ
        conversations = np.repeat(np.arange(60), 5)
        hits = random.random(300) < share[conversations]
        [found] = rates(hits[:, None], conversations)
        covered += found.low <= 0.25 <= found.high
    assert covered / 300 > 0.92


def test_sums_by_keeps_those_of_no_group_apart():
    values = np.array([[1], [2], [4], [8]])
    sums, sizes = sums_by(values, np.array([-1, 3, -1, 3]))
    assert sorted(zip(sums[:, 0], sizes, strict=True)) == [(1, 1), (4, 1), (10, 2)]


def test_corrections_for_many_comparisons():
    p = np.array([0.01, 0.04, 0.03, 0.005])
    assert holm(p).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert benjamini_hochberg(p).tolist() == pytest.approx([0.02, 0.04, 0.04, 0.02])
    assert holm(np.zeros(0)).size == benjamini_hochberg(np.zeros(0)).size == 0


def label(sensitivity, specificity, positives=400, negatives=600):
    return Reliability(0.8, sensitivity, 0.8, positives, negatives, specificity)


def test_the_true_rate_is_solved_for():
    seen = proportion(340, 1000)  # 0.3 · 0.8 + 0.7 · 0.1 = 0.31; 0.34 comes of a third
    found = adjusted(seen, 1000, label(0.8, 0.9))
    assert found is not None
    assert found.value == pytest.approx((0.34 + 0.9 - 1) / (0.8 + 0.9 - 1))
    assert found.low < found.value < found.high
    assert found.high - found.low > seen.high - seen.low


def test_what_is_read_without_error_is_left_as_it_is():
    seen = proportion(300, 1000)
    found = adjusted(seen, 1000, label(1.0, 1.0, 100_000, 100_000))
    assert (found.value, found.low, found.high) == pytest.approx(
        (seen.value, seen.low, seen.high), abs=2e-3
    )


@pytest.mark.parametrize(
    "known",
    [
        None,
        label(None, 0.9),
        label(0.9, None),
        label(0.5, 0.55),  # hardly better than a coin
        label(0.9, 0.9, positives=0),
    ],
)
def test_what_is_not_known_well_enough_is_not_adjusted(known):
    assert adjusted(proportion(300, 1000), 1000, known) is None


def test_adjusted_rates_lie_nearer_to_the_truth_and_their_intervals_cover_it():
    random = np.random.default_rng(11)
    errors, covered, rounds = [], 0, 400
    for _ in range(rounds):
        truth, s, c = (random.uniform(*ends) for ends in ((0.05, 0.5), (0.6, 0.9), (0.85, 0.99)))
        measured = label(random.binomial(120, s) / 120, random.binomial(500, c) / 500, 120, 500)
        seen = proportion(int(random.binomial(1500, truth * s + (1 - truth) * (1 - c))), 1500)
        found = adjusted(seen, 1500, measured)
        errors.append((abs(seen.value - truth), abs(found.value - truth)))
        covered += found.low <= truth <= found.high
    raw, corrected = np.mean(errors, axis=0)
    assert corrected < 0.6 * raw
    assert covered / rounds > 0.93


def test_sensitivity_and_specificity_follow_from_what_evaluate_prints():
    # 40 of 200 rows have it; it was given to 50, rightly to 30.
    said = {"precision": 0.6, "recall": 0.75, "f1": 2 / 3, "support": 40}
    evaluation = {
        "n": 200,
        "strategies": {"macro_f1": {"value": 0.5}, "labels": {"apology": said}},
        "tone": {"n": 100, "labels": {"warm": said | {"precision": None, "recall": 0.0}}},
        "evidence": None,
        "calibration": {"strategies": {}},
    }
    found = read_reliabilities(evaluation, "it")
    assert found["strategies"]["apology"] == Reliability(
        0.6, 0.75, 2 / 3, 40, 160, pytest.approx(1 - 20 / 160)
    )
    assert found["tone"]["warm"].negatives == 60
    assert found["tone"]["warm"].specificity == 1  # it was never given
    given = {"n": 200, "strategies": {"labels": {"apology": said | {"specificity": 0.5}}}}
    assert read_reliabilities(given, "it")["strategies"]["apology"].specificity == 0.5


@pytest.mark.parametrize(
    "wrong", [[], {}, {"n": 3}, {"n": 3, "strategies": {"labels": {"a": {"support": 9}}}},
              {"n": 9, "strategies": {"labels": {"a": {"support": 3, "recall": 70}}}}]
)  # fmt: skip
def test_another_shape_is_refused_by_name(wrong):
    with pytest.raises(ReportError, match=r"evaluate\.json .*tactful evaluate --data"):
        read_reliabilities(wrong, "evaluate.json")
