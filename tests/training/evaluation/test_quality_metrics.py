from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_fscore_support

from tactful_training.evaluation.bootstrap import Resamples
from tactful_training.evaluation.quality_metrics import (
    BINS,
    average_precision_statistic,
    calibration_bins,
    calibration_statistic,
    decision_counts,
    decision_statistic,
    precision_recall_f1,
)

LABELS = 5


def random_answers(seed: int, rows: int = 300) -> tuple[NDArray[Any], NDArray[Any]]:
    """Targets with unknown rows and a label nobody has, and scores with many ties."""
    random = np.random.default_rng(seed)
    targets = (random.random((rows, LABELS)) < [0.5, 0.2, 0.05, 0.3, 0]).astype(np.float32)
    scores = np.round(np.clip(targets * 0.4 + random.random((rows, LABELS)) * 0.6, 0, 1), 1)
    targets[random.random(rows) < 0.2] = np.nan
    return targets, scores


def each_row_alone(rows: int) -> Resamples:
    return Resamples([str(row) for row in range(rows)])


@pytest.mark.parametrize("seed", range(5))
def test_precision_recall_and_f1_are_those_of_scikit_learn(seed: int) -> None:
    targets, scores = random_answers(seed)
    decisions = scores >= 0.5
    drawn = each_row_alone(len(targets))
    counts = drawn.sums(decision_counts(targets, decisions))
    counted = np.array([True, True, False, True, False])
    *columns, macro, micro = decision_statistic(counts, counted)(np.ones((1, drawn.size)))[0]
    precision, recall, f1 = np.reshape(columns, (3, LABELS))

    known = ~np.isnan(targets[:, 0])
    truth, said = targets[known].astype(int), decisions[known].astype(int)
    expected = precision_recall_fscore_support(truth, said, zero_division=np.nan)
    np.testing.assert_allclose([precision, recall, f1], expected[:3])
    assert macro == pytest.approx(expected[2][counted].mean())
    assert micro == pytest.approx(
        precision_recall_fscore_support(truth, said, average="micro", zero_division=0)[2]
    )


@pytest.mark.parametrize("seed", range(5))
def test_average_precision_with_ties_and_weights_is_that_of_scikit_learn(seed: int) -> None:
    targets, scores = random_answers(seed)
    groups = np.random.default_rng(seed).integers(0, 60, len(targets))
    drawn = Resamples([str(group) for group in groups])
    weights = np.random.default_rng(seed).integers(0, 4, (3, drawn.size)).astype(float)
    found = average_precision_statistic(targets, scores, drawn)(weights)

    for resample, row_weights in enumerate(weights[:, drawn.groups]):
        for label in range(LABELS - 1):
            known = ~np.isnan(targets[:, label])
            expected = average_precision_score(
                targets[known, label], scores[known, label], sample_weight=row_weights[known]
            )
            assert found[resample, label] == pytest.approx(expected)
    assert np.isnan(found[:, LABELS - 1]).all()


def test_nothing_to_count_is_undefined_not_zero_or_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        precision, recall, f1 = precision_recall_f1(
            *np.array([[0.0, 0, 0], [0, 2, 0], [0, 0, 3]]).T
        )
        unknown = np.full((4, 2), np.nan)
        drawn = each_row_alone(4)
        assert np.isnan(average_precision_statistic(unknown, unknown, drawn)(np.ones((1, 4)))).all()
        bins = calibration_bins(np.zeros((4, 2)), unknown, drawn)
        assert np.isnan(calibration_statistic(bins)(np.ones((1, 4)))).all()
    np.testing.assert_array_equal(precision, [np.nan, 0, np.nan])
    np.testing.assert_array_equal(recall, [np.nan, np.nan, 0])
    np.testing.assert_array_equal(f1, [np.nan, 0, 0])


def test_calibration_error_by_hand() -> None:
    confidence = np.array([[0.92], [0.98], [0.31], [1.0]])
    outcome = np.array([[1.0], [0.0], [0.0], [np.nan]])
    drawn = each_row_alone(4)
    bins = calibration_bins(confidence, outcome, drawn)
    # The bin from 0.9: said 0.95 of two, one came true; the bin from 0.3: said 0.31, none did.
    expected = (2 * abs(0.95 - 0.5) + 1 * abs(0.31 - 0)) / 3
    assert calibration_statistic(bins)(np.ones((1, 4)))[0, 0] == pytest.approx(expected)
    assert bins.sum(axis=0)[:, 0].tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 0, 2]
    assert len(bins[0]) == BINS


def test_scores_at_the_ends_and_past_one_by_rounding_fall_into_the_outer_bins() -> None:
    confidence = np.array([[0.0], [1.0], [np.nextafter(np.float32(1), np.float32(2))]], np.float32)
    bins = calibration_bins(confidence, np.ones((3, 1)), each_row_alone(3)).sum(axis=0)
    assert bins[[0, -1], 0].tolist() == [1, 2]
