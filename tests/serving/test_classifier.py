from __future__ import annotations

import itertools
import json
import pickle
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tactful import Classifier, InputError, Reading
from tactful.reading.engine import READ_AHEAD

Pair = tuple[str, str | None]
HOSTILE = [
    "\x00",
    "sorry\x00\x01\x7f, friend",
    "\ud800 sorry \udfff",
    "\u200b\u200d\ufeff",
    "\u202eyrros\u202c we are sorry",
    "אנחנו מצטערים sorry",
    "so\u0301rry, thank you\u0301",
    "👩\u200d👩\u200d👧 sorry 🙂",
    "。" * 50,
    "x" * 5000,
    "[SEP] sorry [CLS] [PAD]",
    "\u0301",
]


def flat(reading: Reading) -> dict[str, float]:
    return {
        f"{task}.{label}": score
        for task, scores in reading.scores.items()
        for label, score in scores.items()
    }


def check_reading(reading: Reading, reply: str) -> None:
    for decided in reading.labels.values():
        for label in decided if isinstance(decided, tuple) else (decided,):
            for span in label.evidence:
                assert 0 <= span.start < span.end <= len(reply)
                assert span.text == reply[span.start : span.end]
    assert all(0 <= score <= 1 for score in flat(reading).values())
    assert sum(reading.scores["tone"].values()) == pytest.approx(1, abs=1e-5)


def test_a_reading(classifier: Classifier) -> None:
    reading = classifier.classify("I am so sorry, friend.", context="My parcel is late")
    [apology] = reading.strategies
    assert apology.label == "apology"
    assert apology.score == reading.scores["strategies"]["apology"]
    assert [span.text for span in apology.evidence] == ["sorry"]
    assert reading.tone.label == "warm"
    assert reading.to_dict() == {
        "labels": {
            "strategies": [
                {
                    "label": "apology",
                    "score": apology.score,
                    "evidence": [{"start": 8, "end": 13, "text": "sorry"}],
                }
            ],
            "tone": {"label": "warm", "score": reading.tone.score},
        },
        "scores": {
            "strategies": dict(reading.scores["strategies"]),
            "tone": dict(reading.scores["tone"]),
        },
        "truncated": False,
        "skipped": [],
        "bundle": classifier.bundle.id,
    }
    assert list(reading.scores["strategies"]) == ["apology", "gratitude", "next_step"]
    json.dumps(reading.to_dict())


def test_tasks_are_attributes_and_others_are_not(classifier: Classifier) -> None:
    reading = classifier.classify("ok")
    assert reading.strategies == ()
    with pytest.raises(AttributeError, match=r"no task 'mood'; its tasks: strategies, tone"):
        _ = reading.mood
    assert pickle.loads(pickle.dumps(reading)) == reading


def test_what_was_decided_is_a_tuple_for_tasks_of_both_kinds(classifier: Classifier) -> None:
    reading = classifier.classify("so sorry, thanks")
    assert reading.decided("strategies") is reading.strategies
    assert reading.decided("tone") == (reading.tone,)
    assert classifier.classify("ok").decided("strategies") == ()
    with pytest.raises(KeyError):
        reading.decided("mood")


def test_a_classifier_of_an_engine_alone(classifier: Classifier) -> None:
    alone = Classifier(classifier.engine)
    assert alone.classify("so sorry") == classifier.classify("so sorry")
    with pytest.raises(ValueError, match="made of an engine"):
        _ = alone.bundle


def test_context_is_read(classifier: Classifier) -> None:
    alone = flat(classifier.classify("ok"))
    assert flat(classifier.classify("ok", "sorry sorry sorry")) != alone
    assert flat(classifier.classify("ok", "")) == alone


def test_a_long_reply_is_read_in_windows(classifier: Classifier) -> None:
    reply = "the parcel is late " * 30 + "and we are sorry"
    reading = classifier.classify(reply)
    assert reading.truncated is False
    [apology] = reading.strategies
    assert apology.evidence[0].start == len(reply) - 5

    reading = classifier.classify("sorry " + reply * 5)
    assert reading.truncated is True
    assert reading.strategies[0].evidence[0].start == 0


@pytest.mark.parametrize("reply", HOSTILE, ids=lambda reply: repr(reply[:12]))
def test_hostile_replies(classifier: Classifier, reply: str) -> None:
    for context in (None, reply):
        reading = classifier.classify(reply, context)
        check_reading(reading, reply)
        if "sorry" in reply:
            texts = [span.text for span in reading.strategies[0].evidence]
            assert any("sorry" in text for text in texts)


@settings(deadline=None, max_examples=100)
@given(
    reply=st.text(st.characters(exclude_categories=()), min_size=1).filter(
        lambda reply: not reply.isspace()
    ),
    context=st.none() | st.text(st.characters(exclude_categories=())),
)
def test_any_reply_gives_a_reading(classifier: Classifier, reply: str, context: str | None) -> None:
    check_reading(classifier.classify(reply, context, format="text"), reply)
    [result] = classifier.classify_many([(reply, context)], errors="return")
    if isinstance(result, InputError):  # nothing but quotation, or a talk
        assert result.code in ("reply_only_quotes", "reply_is_transcript")
    else:
        check_reading(result, reply)


@pytest.mark.parametrize("unit", ["sorry ", "a", "!", "🙂", "e\u0301", "\n", "\u200b"])
def test_a_reply_of_a_megabyte(classifier: Classifier, unit: str) -> None:
    reply = unit * (1_000_000 // len(unit.encode())) + " sorry"
    reading = classifier.classify(reply, context=reply)
    check_reading(reading, reply)


@pytest.mark.parametrize(
    ("reply", "context", "code"),
    [
        (None, None, "reply_missing"),
        (b"bytes", None, "reply_not_text"),
        (3, None, "reply_not_text"),
        (["a"], None, "reply_not_text"),
        ("", None, "reply_empty"),
        (" \n\t\u00a0\u2003", None, "reply_empty"),
        ("ok", 5, "context_not_text"),
        ("ok", ["secret"], "context_not_text"),
    ],
)
def test_what_cannot_be_read(classifier: Classifier, reply: Any, context: Any, code: str) -> None:
    with pytest.raises(InputError) as caught:
        classifier.classify(reply, context)
    assert caught.value.code == code
    assert "secret" not in str(caught.value)

    results = list(classifier.classify_many(["ok", (reply, context), "ok"], errors="return"))
    assert isinstance(results[1], InputError)
    assert results[1].code == code
    assert caught.value.index is None
    assert results[1].index == 1
    assert str(results[1]) == f"item 1: {results[1].message}" == f"item 1: {caught.value}"
    assert results[0] == results[2]


@pytest.mark.parametrize("item", [(), ("a",), ("a", "b", "c"), [], {"reply": "a"}, None])
def test_items_that_are_none(classifier: Classifier, item: Any) -> None:
    [result] = classifier.classify_many([item], errors="return")
    assert isinstance(result, InputError)
    with pytest.raises(InputError, match="item 2: "):
        list(classifier.classify_many(["ok", "ok", item]))


def test_what_is_known_to_be_wrong_keeps_its_place(classifier: Classifier) -> None:
    known = InputError("not_utf8", "the line is not UTF-8")
    results = list(classifier.classify_many(["ok", known, "sorry"], errors="return"))
    assert results[1] is known
    assert [type(result) for result in results] == [Reading, InputError, Reading]
    with pytest.raises(InputError) as caught:
        list(classifier.classify_many(["ok", known]))
    assert caught.value is known


def test_readings_before_a_bad_item_are_given(classifier: Classifier) -> None:
    readings = classifier.classify_many(["ok", "sorry", ""])
    assert next(readings).tone.label == "neutral"
    assert next(readings).strategies[0].label == "apology"
    with pytest.raises(InputError, match="item 2"):
        next(readings)


def test_a_wrong_call_fails_at_once(classifier: Classifier) -> None:
    with pytest.raises(ValueError, match="'raise', 'return'"):
        classifier.classify_many([], errors="ignore")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="not one text"):
        classifier.classify_many("one reply")


def test_many_in_order_and_as_one_by_one(classifier: Classifier) -> None:
    parts = ["sorry", "thanks", "we will call", "the parcel", "🙂"]
    items: list[str | Pair] = [
        (" ".join(itertools.islice(itertools.cycle(parts), i, i + 1 + i % 37)), "late" * (i % 3))
        for i in range(300)
    ]
    items[7] = "ok"
    items[299] = items[0]  # the same pair in another chunk
    readings = list(classifier.classify_many(items))
    assert len(readings) == len(items)
    for item, reading in zip(items, readings, strict=True):
        alone = classifier.classify(*((item,) if isinstance(item, str) else item))
        assert flat(reading) == pytest.approx(flat(alone), abs=1e-4)
        assert [label.label for label in reading.strategies] == [
            label.label for label in alone.strategies
        ]
    assert readings[0] == readings[299]


@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(items=st.lists(st.sampled_from(["sorry", "ok", "", None, "thanks a lot"]), max_size=12))
def test_results_stand_in_the_items_places(classifier: Classifier, items: list[str | None]) -> None:
    results = list(classifier.classify_many(items, errors="return"))  # type: ignore[call-overload]
    for item, result in zip(items, results, strict=True):
        if item:
            assert flat(result) == pytest.approx(flat(classifier.classify(item)), abs=1e-4)
        else:
            assert isinstance(result, InputError)


def test_an_endless_stream_is_read_only_a_little_ahead(classifier: Classifier) -> None:
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        while True:
            taken += 1
            yield f"reply {taken % 7}"

    readings = classifier.classify_many(endless())
    assert taken == 0
    next(readings)
    assert taken == READ_AHEAD
    for _ in range(READ_AHEAD):
        next(readings)
    assert taken == 2 * READ_AHEAD


def test_an_error_of_the_source_comes_after_the_readings(classifier: Classifier) -> None:
    def source() -> Iterator[str]:
        yield "ok"
        raise OSError("the disk is gone")

    readings = classifier.classify_many(source())
    assert next(readings).tone.label == "neutral"
    with pytest.raises(OSError, match="the disk is gone"):
        next(readings)


def test_evidence_ends_where_reading_ended(classifier: Classifier) -> None:
    reply = "so" + "#sorry," * 4000
    reading = classifier.classify(reply)
    assert reading.truncated
    assert all(span.end < 1000 for label in reading.strategies for span in label.evidence)


def test_threads_share_a_classifier(classifier: Classifier) -> None:
    replies = [f"I am sorry, friend {number}." for number in range(8)]
    expected = [classifier.classify(reply) for reply in replies]
    found: dict[int, list[Reading]] = {}

    def work(number: int) -> None:
        found[number] = [classifier.classify(reply) for reply in replies]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(found[number] == expected for number in range(4))
