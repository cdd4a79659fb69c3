from __future__ import annotations

import numpy as np
import pytest

from tactful_training.bundling.threshold_choice import choose_prior_shift, choose_thresholds


def f1(targets: np.ndarray, decided: np.ndarray) -> float:
    hits = (decided & (targets == 1)).sum()
    return float(2 * hits / max(1, 2 * hits + (decided != (targets == 1)).sum()))


def drawn(rows: int, labels: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated scores and the labels that they speak of."""
    random = np.random.default_rng(seed)
    scores = random.beta(0.3, 1.2, (rows, labels))
    return (random.random((rows, labels)) < scores).astype(float), scores


def test_a_common_label_gets_about_its_best_threshold() -> None:
    targets, scores = drawn(5000, 3, seed=1)
    thresholds = choose_thresholds(targets, scores, min_positives=20)
    assert thresholds.dtype == np.float32
    for label in range(3):
        best = max(
            f1(targets[:, label], scores[:, label] >= t) for t in np.arange(0.05, 0.96, 0.01)
        )
        got = f1(targets[:, label], scores[:, label] >= thresholds[label])
        assert got > best - 0.01


def test_labels_with_few_positives_share_the_pooled_threshold() -> None:
    targets, scores = drawn(400, 5, seed=2)
    targets[:, 3] = 0
    targets[:19, 3] = 1  # one fewer than needed
    scores[:, 3] = 0.9
    targets[:, 4] = 0  # none at all
    thresholds = choose_thresholds(targets, scores, min_positives=20)
    pooled = choose_thresholds(targets, scores, min_positives=10_000)
    assert len(set(pooled)) == 1
    assert thresholds[3] == thresholds[4] == pooled[0]
    assert len(set(thresholds)) > 2


def test_the_fewer_positives_the_nearer_to_the_pooled_threshold() -> None:
    targets, scores = drawn(4000, 8, seed=3)
    few = np.zeros((4000, 1))
    few[:25] = 1
    odd_scores = np.where(few == 1, 0.06, 0.01)  # its own optimum is at the very low end
    many = np.zeros((4000, 1))
    many[:1000] = 1
    also_odd = np.where(many == 1, 0.06, 0.01)
    thresholds = choose_thresholds(
        np.hstack([targets, few, many]), np.hstack([scores, odd_scores, also_odd]), min_positives=20
    )
    pooled = choose_thresholds(targets, scores, min_positives=10_000)[0]
    assert thresholds[-1] < thresholds[-2] < pooled


def test_how_far_thresholds_are_pulled_together_can_be_chosen() -> None:
    targets, scores = drawn(4000, 3, seed=5)
    odd = np.zeros((4000, 1))
    odd[:50] = 1
    odd_scores = np.where(odd == 1, 0.06, 0.01)
    table = (np.hstack([targets, odd]), np.hstack([scores, odd_scores]))
    some = [
        choose_thresholds(*table, min_positives=20, pull=pull)[-1] for pull in (0, 20, 100, 1e9)
    ]
    assert some == sorted(some)
    assert some[0] == pytest.approx(0.05)  # the lowest there is: its own optimum
    assert some[-1] == pytest.approx(choose_thresholds(*table, min_positives=10_000)[-1])


def test_unknown_cells_are_ignored() -> None:
    targets, scores = drawn(600, 2, seed=4)
    hidden = targets.copy()
    hidden[300:] = np.nan
    np.testing.assert_array_equal(
        choose_thresholds(hidden, scores, min_positives=20),
        choose_thresholds(targets[:300], scores[:300], min_positives=20),
    )


def test_without_any_positive_a_half() -> None:
    targets = np.array([[0.0, np.nan], [0.0, np.nan]])
    thresholds = choose_thresholds(targets, np.full((2, 2), 0.3), min_positives=1)
    assert thresholds.tolist() == [0.5, 0.5]


def test_thresholds_from_a_few_rows_do_well_on_others() -> None:
    gains = []
    for seed in range(20):
        targets, scores = drawn(120, 6, seed=seed)
        others, other_scores = drawn(4000, 6, seed=1000 + seed)
        thresholds = choose_thresholds(targets, scores, min_positives=10)
        naive = np.array(
            [
                max(np.unique(scores[:, k]), key=lambda t: f1(targets[:, k], scores[:, k] >= t))
                for k in range(6)
            ]
        )
        gains.append(
            np.mean(
                [
                    f1(others[:, k], other_scores[:, k] >= thresholds[k])
                    - f1(others[:, k], other_scores[:, k] >= naive[k])
                    for k in range(6)
                ]
            )
        )
    assert np.mean(gains) > 0.01
    assert min(gains) > -0.01


@pytest.mark.parametrize("positives", [0, 1, 40])
def test_thresholds_are_probabilities(positives: int) -> None:
    targets = (np.arange(40) < positives).astype(float)[:, None]
    thresholds = choose_thresholds(targets, np.ones((40, 1)), min_positives=1)
    assert ((thresholds > 0) & (thresholds < 1)).all()


def test_a_shift_favours_rare_labels_where_they_are_decided_too_seldom() -> None:
    random = np.random.default_rng(4)
    truth = random.choice(3, size=2000, p=[0.8, 0.15, 0.05])
    targets = np.eye(3)[truth]
    logits = 2 * targets + random.normal(size=targets.shape) + np.log([0.8, 0.15, 0.05])
    shift = choose_prior_shift(targets, logits)
    assert shift.mean() == pytest.approx(0)
    assert shift[2] > shift[1] > 0 > shift[0]

    def macro_f1(z: np.ndarray) -> float:
        said = z.argmax(axis=1)
        hits = [((said == k) & (truth == k)).sum() for k in range(3)]
        return float(
            np.mean([2 * h / ((said == k).sum() + (truth == k).sum()) for k, h in enumerate(hits)])
        )

    assert macro_f1(logits + shift) > macro_f1(logits) + 0.02
    stated = choose_prior_shift(targets, logits, 0.5)
    counts = targets.sum(axis=0) + 0.5
    expected = -0.5 * np.log(counts / counts.sum())
    np.testing.assert_allclose(stated, expected - expected.mean())
    assert not choose_prior_shift(targets, 100 * targets).any()  # nothing to gain
    assert not choose_prior_shift(np.zeros((0, 3)), np.zeros((0, 3))).any()
