from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tactful import Classifier
from tactful.bundle.goldens import Golden, check_goldens, goldens_to_jsonl
from tactful.reading.engine import Engine
from tactful_training.bundling.golden_choice import TOLERANCES, choose_goldens
from tactful_training.data.labelled_row import Row
from tactful_training.run_summary import choose_samples

TOLERANCE = TOLERANCES["fp32"]
REPLIES = [
    "the order is late",
    "I am so sorry, my friend",
    "thank you for your call",
    "we will call you next",
    "apologies and thanks",
    "glad you are my friend",
]


@pytest.fixture
def engine(classifier: Classifier) -> Engine:
    return classifier.bundle.engine


@pytest.fixture
def rows() -> list[Row]:
    return [
        Row(str(index), reply, "my parcel is late", str(index), {}, (), {})
        for index, reply in enumerate(REPLIES * 3)
    ]


def choose(engine: Engine, rows: list[Row], count: int, tolerance: float) -> list[Golden]:
    read = [engine.read([(row.reply, row.context)])[0] for row in rows]
    return choose_goldens(engine, rows, read, count, tolerance)


def test_goldens_cover_labels_windows_and_missing_contexts(engine: Engine, rows: list[Row]) -> None:
    goldens = choose(engine, rows, 12, TOLERANCE)
    assert 6 <= len(goldens) <= 12
    assert len({(golden.reply, golden.context) for golden in goldens}) == len(goldens)
    decided = {label for golden in goldens for label in golden.decisions["strategies"]}
    assert decided == set(engine.heads.tasks.named("strategies").names)
    assert {golden.context is None for golden in goldens} == {True, False}
    assert max(len(golden.reply.split()) for golden in goldens) > engine.heads.limits.max_tokens
    assert any("😔" in golden.reply for golden in goldens)
    assert check_goldens(engine, goldens, 0.0) == []


def test_no_golden_is_near_a_threshold(engine: Engine, rows: list[Row]) -> None:
    thresholds = engine.heads.heads[0].thresholds
    for golden in choose(engine, rows, 12, TOLERANCE):
        scores = np.array(list(golden.scores["strategies"].values()))
        assert np.abs(scores - thresholds).min() > TOLERANCE
        assert np.ptp(list(golden.scores["tone"].values())) > TOLERANCE


def test_the_number_is_kept_and_never_zero(engine: Engine, rows: list[Row]) -> None:
    assert len(choose(engine, rows, 3, TOLERANCE)) == 3
    assert len(choose(engine, rows[:1], 1, TOLERANCE)) == 1


def test_a_row_that_utf8_cannot_hold_is_never_a_golden(engine: Engine, rows: list[Row]) -> None:
    rows[0] = replace(rows[0], reply="I am so sorry, my friend \ud800")
    rows[1] = replace(rows[1], context="\udfff my parcel is late")
    content = goldens_to_jsonl(choose(engine, rows, 12, TOLERANCE))
    assert content.count(b"\n") >= 6
    assert goldens_to_jsonl(choose(engine, rows[:2], 12, TOLERANCE))  # nothing but the tricky texts
    assert choose_samples(rows[:3]) == rows[2:3]
