from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tactful.reading.batches import RowOutput
from tactful.reading.decisions import calibrated_scores, decide, sigmoid
from tactful.reading.encoding import Encoded, EncodingLimits
from tactful.reading.tasks import Task, Tasks
from tactful_training.bundling.calibration import IDENTITY, calibrate, fit_platt, fit_temperature
from tactful_training.data.labelled_row import EvidenceSpan, Row

LIMITS = EncodingLimits(max_tokens=32, max_windows=2, window_overlap=4)
TASKS = Tasks(
    (
        Task("moves", "multilabel", {"sorry": "", "thanks": "", "rare": ""}),
        Task("mood", "single", {"happy": "", "sad": "", "flat": ""}),
    )
)
WORDS = ["alpha", "beta", "gamma", "delta"]
REPLY = " ".join(WORDS)
OFFSETS = np.array([(m, m + len(w)) for m, w in zip((0, 6, 11, 17), WORDS, strict=True)], np.int32)


def row(index: int, labels: dict[str, Any], evidence: tuple[EvidenceSpan, ...] = ()) -> Row:
    return Row(str(index), REPLY, None, str(index), labels, evidence, {})


def output(logits: np.ndarray, token_scores: np.ndarray | None = None) -> RowOutput:
    scores = np.zeros((4, TASKS.size), np.float32) if token_scores is None else token_scores
    return RowOutput(Encoded((), OFFSETS, truncated=False), logits.astype(np.float32), scores)


def test_platt_finds_the_line_that_made_the_labels() -> None:
    random = np.random.default_rng(1)
    z = random.normal(size=20000)
    y = random.random(20000) < sigmoid(2.5 * z - 1.2)
    assert fit_platt(z, y) == pytest.approx((2.5, -1.2), abs=0.1)


def test_platt_stays_finite_where_logits_separate_the_labels() -> None:
    z = np.linspace(-1, 1, 50)
    slope, intercept = fit_platt(z, z > 0)
    assert 3 < slope < 30
    assert abs(intercept) < 1


def test_platt_gives_the_identity_without_rows_or_against_the_logits() -> None:
    assert fit_platt(np.empty(0), np.empty(0)) == IDENTITY
    z = np.linspace(-1, 1, 200)
    assert fit_platt(z, z < 0) == IDENTITY


def test_temperature_finds_the_slope_that_made_the_labels() -> None:
    random = np.random.default_rng(1)
    z = random.normal(size=(20000, 4))
    powers = np.exp(0.4 * z)
    shares = powers / powers.sum(axis=1, keepdims=True)
    drawn = (random.random((20000, 1)) > shares.cumsum(axis=1)).sum(axis=1)
    assert fit_temperature(z, np.eye(4)[drawn]) == pytest.approx(0.4, abs=0.05)
    assert fit_temperature(np.empty((0, 4)), np.empty((0, 4))) == pytest.approx(1.0)


@pytest.fixture(scope="module")
def validation() -> tuple[list[Row], list[RowOutput]]:
    """Overconfident logits, every fifth row unknown in one of the tasks, one rare label."""
    random = np.random.default_rng(2)
    rows, outputs = [], []
    for index in range(600):
        logits = random.normal(size=TASKS.size)
        chance = sigmoid(logits[:3] - 0.5)
        chance[2] *= 0.02
        moves = tuple(np.array(TASKS[0].names)[random.random(3) < chance])
        powers = np.exp(logits[3:])
        mood = random.choice(TASKS[1].names, p=powers / powers.sum())
        labels: dict[str, Any] = {"moves": moves, "mood": str(mood)}
        if index % 5 == 0:
            labels["moves" if index % 2 else "mood"] = None
        rows.append(row(index, labels))
        outputs.append(output(5 * logits))
    return rows, outputs


def test_scores_become_probabilities(validation: tuple[list[Row], list[RowOutput]]) -> None:
    rows, outputs = validation
    heads = calibrate(rows, outputs, TASKS, limits=LIMITS, min_positives=20, evidence_tasks=set())
    scores = calibrated_scores(np.stack([each.logits for each in outputs]), heads)
    said_sorry = np.array(["sorry" in (r.labels["moves"] or ()) for r in rows])
    known = np.array([r.labels["moves"] is not None for r in rows])
    for low, high in ((0.1, 0.3), (0.3, 0.5), (0.5, 0.8)):
        some = known & (scores[:, 0] >= low) & (scores[:, 0] < high)
        assert said_sorry[some].mean() == pytest.approx(scores[some, 0].mean(), abs=0.1)
    moves, mood = heads.heads
    assert moves.slope == pytest.approx(0.2, abs=0.06)
    assert mood.slope == pytest.approx(0.2, abs=0.06)
    assert mood.thresholds is None
    assert moves.evidence_thresholds is mood.evidence_thresholds is None
    assert decide(scores, heads)[:, 3:].sum(axis=1).tolist() == [1] * len(rows)


def test_a_rare_label_shares_the_pooled_line(
    validation: tuple[list[Row], list[RowOutput]],
) -> None:
    rows, outputs = validation
    options: dict[str, Any] = {"limits": LIMITS, "evidence_tasks": set()}
    heads = calibrate(rows, outputs, TASKS, min_positives=20, **options).heads[0]
    pooled = calibrate(rows, outputs, TASKS, min_positives=10_000, **options).heads[0]
    assert len(set(pooled.slope)) == len(set(pooled.intercept)) == len(set(pooled.thresholds)) == 1
    assert heads.slope[2] == pooled.slope[2]
    assert heads.intercept[2] == pooled.intercept[2]
    assert heads.intercept[0] != pooled.intercept[0]


def test_the_scale_of_the_logits_does_not_matter(
    validation: tuple[list[Row], list[RowOutput]],
) -> None:
    rows, outputs = validation
    options: dict[str, Any] = {"limits": LIMITS, "min_positives": 20, "evidence_tasks": set()}
    small = [output(each.logits / 100) for each in outputs]
    large = calibrated_scores(
        np.stack([each.logits for each in outputs]), calibrate(rows, outputs, TASKS, **options)
    )
    again = calibrated_scores(
        np.stack([each.logits for each in small]), calibrate(rows, small, TASKS, **options)
    )
    np.testing.assert_allclose(large, again, atol=1e-4)


def test_a_task_that_is_unknown_everywhere_keeps_its_logits() -> None:
    rows = [row(index, {"moves": None, "mood": None}) for index in range(4)]
    outputs = [output(np.arange(6.0)) for _ in rows]
    heads = calibrate(
        rows, outputs, TASKS, limits=LIMITS, min_positives=5, evidence_tasks={"moves"}
    )
    for head in heads.heads:
        assert head.slope.tolist() == [1] * 3
        assert head.intercept.tolist() == [0] * 3
    assert heads.heads[0].thresholds.tolist() == [0.5] * 3
    assert heads.heads[0].evidence_thresholds.tolist() == [0.5] * 3


def test_evidence_thresholds_separate_marked_words() -> None:
    rows, outputs = [], []
    for index in range(40):
        moves = ("sorry",) if index % 2 else ("thanks",)
        span = EvidenceSpan("moves", moves[0], *OFFSETS[index % 4].tolist())
        token_scores = np.full((4, TASKS.size), -2.0, np.float32)  # a probability of 0.12
        token_scores[index % 4, :2] = [-1.0, 3.0]  # 0.27 and 0.95
        logits = np.array([9.0, -9, -9, 1, 0, 0] if index % 2 else [-9.0, 9, -9, 1, 0, 0])
        rows.append(row(index, {"moves": moves, "mood": "happy"}, (span,)))
        outputs.append(output(logits, token_scores))
    heads = calibrate(
        rows, outputs, TASKS, limits=LIMITS, min_positives=20, evidence_tasks={"moves"}
    )
    sorry, thanks, rare = heads.heads[0].evidence_thresholds
    assert 0.12 < sorry <= 0.27
    assert 0.12 < thanks <= 0.95
    assert 0.12 < rare <= 0.95
    assert heads.heads[1].evidence_thresholds is None
