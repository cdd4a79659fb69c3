from __future__ import annotations

import numpy as np
import pytest

from tactful.reading.batches import run_rows
from tactful.reading.decisions import Floats, Heads
from tactful.reading.encoding import Batch, EncodingLimits, ReplyEncoding
from tactful.reading.session import Session
from tactful.reading.tasks import Tasks

PAIRS = [
    ("sorry", None),
    ("Thank you for your order. " * 12, None),
    ("we will call you", "my parcel is late"),
    ("\u200b", "a context"),
    ("I am so sorry, friend. " * 30, "x"),
    ("ok", "the parcel " * 30),
]


@pytest.fixture(scope="module")
def heads(bundle_parts: dict[str, bytes]) -> Heads:
    from tactful.strict_json import strict_json

    return Heads.from_json(strict_json(bundle_parts["labels.json"]))


@pytest.fixture(scope="module")
def encoding(bundle_parts: dict[str, bytes]) -> ReplyEncoding:
    tokenizer = bundle_parts["tokenizer.json"]
    return ReplyEncoding(tokenizer, EncodingLimits(max_tokens=48, max_windows=3, window_overlap=8))


class Recorder:
    """A forward that remembers the shapes it was given."""

    def __init__(self, forward: Session) -> None:
        self.forward = forward
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, batch: Batch) -> tuple[Floats, Floats]:
        self.shapes.append(batch.input_ids.shape)
        return self.forward(batch)


@pytest.fixture
def forward(bundle_parts: dict[str, bytes]) -> Recorder:
    return Recorder(Session(bundle_parts["model.onnx"], threads=1))


def test_batching_does_not_change_results(
    encoding: ReplyEncoding, forward: Recorder, heads: Heads
) -> None:
    encoded = encoding.encode(PAIRS)
    one_by_one = [
        run_rows([row], encoding, forward, heads.tasks, token_budget=1) for row in encoded
    ]
    for budget in (1, 100, 2048):
        together = run_rows(encoded, encoding, forward, heads.tasks, token_budget=budget)
        for [alone], row in zip(one_by_one, together, strict=True):
            assert row.encoded is alone.encoded
            assert row.logits == pytest.approx(alone.logits, abs=1e-5)
            assert row.token_scores == pytest.approx(alone.token_scores, abs=1e-5)
            assert row.token_scores.shape == (len(row.encoded.offsets), heads.tasks.size)


def test_batches_keep_the_budget_and_waste_little(
    encoding: ReplyEncoding, forward: Recorder, heads: Heads
) -> None:
    encoded = encoding.encode(PAIRS)
    run_rows(encoded, encoding, forward, heads.tasks, token_budget=100)
    assert all(rows * length <= 100 for rows, length in forward.shapes)
    lengths = [length for _, length in forward.shapes]
    assert lengths == sorted(lengths, reverse=True)
    assert sum(rows for rows, _ in forward.shapes) == sum(len(row.windows) for row in encoded)


def test_a_window_larger_than_the_budget_runs_alone(
    encoding: ReplyEncoding, forward: Recorder, heads: Heads
) -> None:
    run_rows(encoding.encode(PAIRS[4:5]), encoding, forward, heads.tasks, token_budget=10)
    assert forward.shapes == [(1, 48)] * 3


def test_nothing_in_nothing_out(encoding: ReplyEncoding, forward: Recorder, heads: Heads) -> None:
    assert run_rows([], encoding, forward, heads.tasks) == []
    assert forward.shapes == []


def test_windows_are_averaged_where_they_overlap(encoding: ReplyEncoding, heads: Heads) -> None:
    [row] = encoding.encode([("a " * 85, None)])
    assert [window.first for window in row.windows] == [0, 37, 40]
    tasks: Tasks = heads.tasks
    seen = iter((1.0, 2.0, 6.0))

    def forward(batch: Batch) -> tuple[Floats, Floats]:
        value = next(seen)
        logits = np.full((1, tasks.size), value, dtype=np.float32)
        return logits, np.full((1, batch.input_ids.shape[1], tasks.size), value, dtype=np.float32)

    [output] = run_rows([row], encoding, forward, tasks, token_budget=1)
    assert output.logits.tolist() == [6, 6, 6, 3, 3]  # largest; mean of equal windows
    scores = output.token_scores[:, 0]
    assert scores[:37].tolist() == [1] * 37
    assert scores[37:40].tolist() == [1.5] * 3
    assert scores[40:45].tolist() == [3] * 5
    assert scores[45:82].tolist() == [4] * 37
    assert scores[82:].tolist() == [6] * 3
