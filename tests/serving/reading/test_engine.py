from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tactful import Classifier, Reading
from tactful.errors import InputError, ModelError
from tactful.reading.batches import LEAST_FILLED, Pass
from tactful.reading.decisions import Floats
from tactful.reading.encoding import Batch, EncodingLimits, Pair, ReplyEncoding
from tactful.reading.engine import CHUNK, Chunk, Engine
from tactful.reading.session import Workers
from tactful.reading.tasks import Task, Tasks

WORDS = ["sorry", "thanks", "the", "parcel", "friend", "will", "call", "late", "🙂", "order"]


def replies(count: int) -> list[Pair]:
    return [(" ".join(WORDS[(n + i) % 10] for i in range(1 + n % 60)), None) for n in range(count)]


def scores(reading: Reading) -> list[float]:
    return [score for task in reading.scores.values() for score in task.values()]


@settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    lengths=st.lists(st.integers(1, 200), min_size=1, max_size=40),
    contexts=st.lists(st.integers(0, 80), min_size=40, max_size=40),
)
def test_any_mix_of_lengths_reads_as_one_by_one(
    classifier: Classifier, lengths: list[int], contexts: list[int]
) -> None:
    items = [
        (" ".join(WORDS[(n * 3 + i) % 10] for i in range(length)), "late " * context or None)
        for n, (length, context) in enumerate(zip(lengths, contexts, strict=False))
    ]
    for item, reading in zip(items, classifier.classify_many(items), strict=True):
        alone = classifier.classify(*item)
        assert scores(reading) == pytest.approx(scores(alone), abs=1e-4)
        assert [label.label for label in reading.strategies] == [
            label.label for label in alone.strategies
        ]
        assert reading.tone.label == alone.tone.label


def test_the_same_items_give_the_same_readings_to_the_bit(sound_bundle: object) -> None:
    items = replies(3 * CHUNK // 2)
    runs = [
        list(Classifier.load(str(sound_bundle), threads=threads).classify_many(items))
        for threads in (1, 2, 2)
    ]
    assert runs[0] == runs[1] == runs[2]


class Recorder(Engine):
    """Remembers what was started and what was waited for."""

    def __init__(self, engine: Engine) -> None:
        self.__dict__.update(engine.__dict__)
        self.events: list[str] = []
        self.fail_at = -1

    def start(self, items: Sequence[Pair | InputError]) -> Chunk:
        if len(self.events) == self.fail_at:
            raise ModelError("cannot run")
        self.events.append("start")
        return super().start(items)


def test_the_next_chunk_is_under_way_before_a_reading_is_given(classifier: Classifier) -> None:
    engine = Recorder(classifier.bundle.engine)
    assert engine.events == []
    next(engine.stream(replies(3 * CHUNK)))
    assert engine.events == ["start", "start"]


def test_a_stream_that_is_left_gives_up_what_has_not_begun(classifier: Classifier) -> None:
    engine = classifier.bundle.engine
    assert len(list(engine.start(replies(CHUNK)).results())) == CHUNK  # the threads are there now
    release = threading.Event()
    busy = engine._workers._executor.submit(release.wait)  # one thread: see the fixture
    chunk = engine.start(replies(CHUNK))
    chunk.cancel()
    release.set()
    busy.result()
    assert len(chunk.batches) > 4
    assert all(batch.cancelled() for batch in chunk.batches)
    stream = classifier.classify_many(replies(3 * CHUNK))
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert len(list(classifier.classify_many(replies(3)))) == 3


def test_an_error_of_the_model_is_raised_and_leaves_the_classifier_usable(
    classifier: Classifier,
) -> None:
    engine = Recorder(classifier.bundle.engine)
    engine.fail_at = 1
    with pytest.raises(ModelError):
        list(engine.stream(replies(3 * CHUNK)))
    assert len(list(classifier.classify_many(replies(3 * CHUNK)))) == 3 * CHUNK


def test_batches_hold_little_padding(bundle_parts: dict[str, bytes]) -> None:
    tasks = Tasks((Task("t", "single", {"a": "", "b": ""}),))
    encoding = ReplyEncoding(
        bundle_parts["tokenizer.json"],
        EncodingLimits(max_tokens=48, max_windows=2, window_overlap=4),
    )
    encoded = encoding.encode([("late " * (n % 60 + 1), None) for n in range(150)])
    rows = Pass(encoded, encoding, tasks, token_budget=96)
    masks: list[npt.NDArray[np.int64]] = []

    def forward(batch: Batch) -> tuple[Floats, Floats]:
        masks.append(batch.attention_mask)
        windows, length = batch.input_ids.shape
        return np.zeros((windows, 2), np.float32), np.zeros((windows, length, 2), np.float32)

    rows.run_all(forward)
    assert len(masks) == len(rows)
    assert all(mask.size <= 96 for mask in masks)
    assert all(mask.sum(axis=1).min() >= LEAST_FILLED * mask.shape[1] for mask in masks)
    assert all(mask[0].all() for mask in masks)  # nothing beyond the longest
    assert sum(len(mask) for mask in masks) == sum(len(row.windows) for row in encoded)


def test_workers_run_every_batch_in_threads_of_their_own(
    bundle_parts: dict[str, bytes], classifier: Classifier
) -> None:
    heads = classifier.bundle.heads
    encoding = ReplyEncoding(
        bundle_parts["tokenizer.json"],
        EncodingLimits(max_tokens=48, max_windows=2, window_overlap=4),
    )
    seen: set[str] = set()

    class Watched(Pass):
        def run(self, index: int, forward: object) -> None:
            seen.add(threading.current_thread().name)
            super().run(index, forward)  # type: ignore[arg-type]

    rows = Watched(encoding.encode(replies(200)), encoding, heads.tasks)
    batches = Workers(bundle_parts["model.onnx"], threads=2).run(rows)
    for batch in batches:
        batch.result()
    assert len(batches) == len(rows)
    assert all(output.logits.shape == (heads.tasks.size,) for output in rows.outputs())
    assert threading.current_thread().name not in seen
    assert all(name.startswith("tactful") for name in seen)


def test_one_session_serves_single_replies_however_long(sound_bundle: Path) -> None:
    classifier = Classifier.load(sound_bundle, threads=1)
    classifier.classify("the parcel is late " * 60)
    assert not hasattr(classifier.bundle.engine._workers, "_session")
    list(classifier.classify_many(replies(CHUNK)))
    assert hasattr(classifier.bundle.engine._workers, "_session")


@pytest.mark.parametrize("threads", [0, -2])
def test_a_number_of_threads_that_is_none_is_the_callers_mistake(
    sound_bundle: Path, threads: int
) -> None:
    with pytest.raises(ValueError, match=rf"threads is {threads}; allowed: 1 or more"):
        Classifier.load(sound_bundle, threads=threads)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_is_told_that_it_needs_its_own(sound_bundle: Path) -> None:
    code = """
import os, sys
from tactful import Classifier
classifier = Classifier.load(sys.argv[1], threads=2)
list(classifier.classify_many(["sorry " * n for n in range(1, 60)]))
if os.fork() == 0:
    try:
        classifier.classify("ok")
    except Exception as error:
        print(type(error).__name__, error, flush=True)
    os._exit(0)
os.wait()
print(len(list(classifier.classify_many(["ok"]))))
"""
    finished = subprocess.run(
        [sys.executable, "-c", code, str(sound_bundle)], capture_output=True, text=True, timeout=60
    )
    said, after = finished.stdout.splitlines()
    assert said.startswith("ModelError a classifier cannot be used in a process forked")
    assert after == "1"
