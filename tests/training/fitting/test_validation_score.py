"""The score that chooses the best epoch is made of the F1 that evaluation reports."""

from __future__ import annotations

import numpy as np
import pytest

from tactful.reading.tasks import Task, Tasks
from tactful_training.evaluation.quality_metrics import decision_counts, decision_statistic
from tactful_training.fitting.validation_score import score

TASKS = Tasks(
    (
        Task("moves", "multilabel", {"sorry": "", "thanks": "", "never": ""}),
        Task("alone", "multilabel", {"long": ""}),
        Task("mood", "single", {"happy": "", "sad": "", "flat": ""}),
        Task("unknown", "multilabel", {"x": ""}),
    )
)


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_mean_of_macro_and_micro_f1(seed: int) -> None:
    random = np.random.default_rng(seed)
    targets = (random.random((60, TASKS.size)) < 0.4).astype(np.float32)
    targets[:, TASKS.columns["moves", "never"]] = 0
    targets[:, TASKS.slices["mood"]] = np.eye(3)[random.integers(3, size=60)]
    for task in TASKS:
        targets[random.random(60) < 0.2, TASKS.slices[task.name]] = np.nan
    targets[:, TASKS.slices["unknown"]] = np.nan
    logits = random.normal(size=targets.shape).astype(np.float32)

    expected = []
    for name in ("moves", "alone", "mood"):
        truth, z = targets[:, TASKS.slices[name]], logits[:, TASKS.slices[name]]
        decided = z == z.max(axis=1, keepdims=True) if name == "mood" else z > 0
        counts = decision_counts(truth, decided).sum(axis=0, keepdims=True)
        occurs = np.nansum(truth, axis=0) > 0
        *_, macro, micro = decision_statistic(counts, occurs)(np.ones((1, 1)))[0]
        expected.append((macro + micro) / 2)
    assert score(targets, logits, TASKS) == pytest.approx(np.mean(expected))


def test_without_anything_known_it_is_zero() -> None:
    nothing = np.full((3, TASKS.size), np.nan, np.float32)
    assert score(nothing, np.zeros_like(nothing), TASKS) == 0
