from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tactful.reading.decisions import (
    Floats,
    Heads,
    TaskHead,
    calibrated_scores,
    combine_windows,
    decide,
    sigmoid,
)
from tactful.reading.encoding import EncodingLimits
from tactful.reading.tasks import Task
from tactful.strict_json import canonical_json, strict_json

MANY = Task("many", "multilabel", {"a": "", "b": ""})
ONE = Task("one", "single", {"x": "", "y": "", "z": ""})
LIMITS = EncodingLimits(max_tokens=20, max_windows=2, window_overlap=4)


def heads() -> Heads:
    return Heads(
        (
            TaskHead(MANY, np.array([2, 1]), np.array([-1, 0.5]), np.array([0.5, 0.7])),
            TaskHead(ONE, np.full(3, 0.5), np.array([0.1, 0, 0]), None, np.full(3, 0.3)),
        ),
        LIMITS,
    )


any_logits = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.just(5)),
    elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
)


@settings(deadline=None)
@given(logits=any_logits)
def test_scores_are_probabilities_and_decisions_follow(logits: Floats) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = calibrated_scores(logits, heads())
    assert scores.dtype == np.float32
    assert ((scores >= 0) & (scores <= 1)).all()
    assert scores[:, 2:].sum(axis=1) == pytest.approx(np.ones(len(scores)), abs=1e-5)
    decisions = decide(scores, heads())
    assert (decisions[:, 2:].sum(axis=1) == 1).all()
    assert (decisions[:, :2] == (scores[:, :2] >= np.float32([0.5, 0.7]))).all()


def test_calibration_by_hand() -> None:
    [scores] = calibrated_scores(np.float32([[1, -1, 2, 0, 1]]), heads())
    assert scores[:2] == pytest.approx([1 / (1 + np.exp(-1)), 1 / (1 + np.exp(0.5))])
    powers = np.exp([1.1, 0, 0.5])
    assert scores[2:] == pytest.approx(powers / powers.sum())


def test_a_score_at_the_threshold_is_decided_and_the_first_of_equals_wins() -> None:
    [decisions] = decide(np.float32([[0.5, 0.69, 0.4, 0.4, 0.2]]), heads())
    assert decisions.tolist() == [True, False, True, False, False]
    [decisions] = decide(np.float32([[0, 0, 0.2, 1, 1]]), heads())
    assert decisions.tolist() == [False, False, False, True, False]


def test_tasks_in_any_order_are_calibrated_and_decided_as_alone() -> None:
    many, one = heads().heads
    other = replace(one, task=replace(ONE, name="other"), slope=np.float32([2, 0.1, 1]))
    random = np.random.default_rng(0)
    for order in ((one, other, many), (other, many, one)):
        together = Heads(order, LIMITS)
        logits = random.normal(0, 4, (50, together.tasks.size)).astype(np.float32)
        scores = calibrated_scores(logits, together)
        decisions = decide(scores, together)
        for head in order:
            at, alone = together.tasks.slices[head.task.name], Heads((head,), LIMITS)
            assert (scores[:, at] == calibrated_scores(logits[:, at], alone)).all()
            assert (decisions[:, at] == decide(scores[:, at], alone)).all()


def test_numbers_of_a_head_cannot_be_changed_behind_what_was_computed_of_them() -> None:
    given = np.float32([0.5, 0.7])
    head = TaskHead(MANY, np.float32([2, 1]), np.float32([-1, 0.5]), given)
    given[0] = 0.9
    together = Heads((head,), LIMITS)
    assert together.thresholds.tolist() == np.float32([0.5, 0.7]).tolist()
    for values in (head.thresholds, together.thresholds, together.slopes, together.intercepts):
        with pytest.raises(ValueError, match="read-only"):
            values[0] = 0.9


def test_sigmoid_at_the_extremes() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sigmoid(np.float32([-3e38, 0, 3e38])).tolist() == [0, 0.5, 1]


def test_windows_combine_by_kind() -> None:
    logits = np.float32([[1, -3, 0, 6, 0], [-1, -2, 3, 0, 0]])
    combined = combine_windows(logits, np.array([30, 10]), heads().tasks)
    assert combined.tolist() == [1, -2, 0.75, 4.5, 0]
    assert logits[0, 2] == 0  # the inputs stay as they were
    assert combine_windows(logits[:1], np.array([0]), heads().tasks).tolist() == logits[0].tolist()


@settings(deadline=None)
@given(values=hnp.arrays(np.float32, 2, elements=st.floats(0.0, 1.0, width=32)))
def test_labels_json_gives_the_same_numbers_back(values: Floats) -> None:
    first = TaskHead(MANY, values + np.float32(0.1), -values, values, values)
    written = Heads((first, heads().heads[1]), LIMITS)
    read = Heads.from_json(strict_json(canonical_json(written.to_json())))
    assert read.tasks == written.tasks
    assert read.limits == LIMITS
    for before, after in zip(written.heads, read.heads, strict=True):
        for field in ("slope", "intercept", "thresholds", "evidence_thresholds"):
            one, other = getattr(before, field), getattr(after, field)
            assert (one is None) == (other is None)
            assert one is None or (one == other).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"slope": np.array([1, -1])}, "label 'b': slope is -1.0"),
        ({"slope": np.ones(3)}, "slope must be one number for each of the 2 labels"),
        ({"intercept": np.array([np.nan, 0])}, "label 'a': intercept is nan"),
        ({"thresholds": None}, "thresholds belong to multilabel"),
        ({"thresholds": np.array([0.5, np.nan])}, "thresholds is nan"),
        ({"evidence_thresholds": np.array([0.5, 2])}, "evidence_thresholds is 2.0"),
    ],
)
def test_a_head_is_checked_where_it_is_made(changes: dict[str, Floats], message: str) -> None:
    fields = {"slope": np.ones(2), "intercept": np.zeros(2), "thresholds": np.full(2, 0.5)}
    with pytest.raises(ValueError, match=message):
        TaskHead(MANY, **{**fields, **changes})


def test_a_single_task_has_no_thresholds() -> None:
    with pytest.raises(ValueError, match="'one': thresholds belong to multilabel"):
        TaskHead(ONE, np.ones(3), np.zeros(3), np.full(3, 0.5))


def test_the_limits_are_flat_keys_of_labels_json() -> None:
    assert list(heads().to_json().items())[:4] == [
        ("max_tokens", 20),
        ("max_windows", 2),
        ("window_overlap", 4),
        ("use_context", True),
    ]
