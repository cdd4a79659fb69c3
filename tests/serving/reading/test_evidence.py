from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tactful.reading.encoding import Encoded
from tactful.reading.evidence import EvidenceFinder


def finder_of(
    reply: str, offsets: npt.NDArray[np.int32], *, truncated: bool = False
) -> EvidenceFinder:
    return EvidenceFinder(reply, Encoded((), offsets, truncated))


def texts(reply: str, marked: dict[str, float], threshold: float = 0.5) -> list[str]:
    """Evidence where every word is a token; words not in ``marked`` have probability 0.1."""
    offsets, probabilities = [], []
    for match in re.finditer(r"\w+(?:['.]\w+)*|[^\w\s]", reply):
        offsets.append(match.span())
        probabilities.append(marked.get(match.group(), 0.1))
    finder = finder_of(reply, np.array(offsets, dtype=np.int32).reshape(-1, 2))
    spans = finder.spans(np.array(probabilities, dtype=np.float32), threshold)
    return [reply[start:end] for start, end in spans]


def sure(words: str) -> dict[str, float]:
    return dict.fromkeys(words.split(), 0.9)


@pytest.mark.parametrize(
    ("reply", "marked", "expected"),
    [
        ("I'm so sorry, Ana.", "I'm so sorry", ["I'm so sorry"]),
        ("I am very sorry today", "am sorry", ["am very sorry"]),  # a gap of one word
        ("I am very very sorry", "am sorry", ["am", "sorry"]),  # a gap of two
        ("So sorry! Truly sorry!", "So sorry Truly", ["So sorry!", "Truly sorry!"]),
        ("Sorry\nabout that", "Sorry about", ["Sorry", "about"]),  # a line ends a sentence
        ("Could you wait?", "Could you wait", ["Could you wait?"]),
        ("Thanks a lot!", "Thanks a lot", ["Thanks a lot!"]),
        ("- Thanks, Ana -", "Thanks", ["Thanks"]),
        ("Thanks\u00a0. Ana", "Thanks .", ["Thanks"]),
        ("I understand, Mr. Fox, fully", "understand Mr Fox fully", ["understand, Mr. Fox, fully"]),
        ("it is J. Fox here", "is J Fox here", ["is J. Fox here"]),
        ("Order No. 7 is late", "Order No 7 is", ["Order No. 7 is"]),
        ("I say No. It stays", "say No It stays", ["say No", "It stays"]),
        ("at 9 a.m. today we call", "at 9 a.m today we", ["at 9 a.m. today we"]),
        ("at 9 a.m. We call", "at 9 a.m We call", ["at 9 a.m", "We call"]),
        ("„Gern.“ Danke", "Gern Danke", ["„Gern.“", "Danke"]),
    ],
)
def test_stretches(reply: str, marked: str, expected: list[str]) -> None:
    assert texts(reply, sure(marked)) == expected


def test_part_of_a_word_marks_the_word() -> None:
    offsets = np.array([[0, 2], [2, 5]], dtype=np.int32)
    assert finder_of("sorry", offsets).spans(np.float32([0.1, 0.9]), 0.5) == [(0, 5)]


def test_weak_stretches_beside_a_strong_one_are_dropped() -> None:
    reply = "so very sorry and then again really sorry and then once more regret"
    marked = {**dict.fromkeys(("so", "very", "sorry", "really"), 0.99), "regret": 0.55}
    assert texts(reply, marked) == ["so very sorry", "really sorry"]


def test_many_words_that_pass_by_little_outweigh_one_that_passes_by_much() -> None:
    reply = "we do see how hard that is and yet again sorry"
    middling = dict.fromkeys(sure("we do see how hard that is"), 0.7)
    assert texts(reply, {**middling, "sorry": 0.95}) == ["we do see how hard that is"]


def test_the_best_word_where_none_passes() -> None:
    assert texts("we are sad, a bit", {"sad": 0.2}) == ["sad"]
    assert texts("sad and sorry", {"sad": 0.2, "sorry": 0.2}) == ["sad"]  # the first of equals
    assert texts("...", {}) == ["..."]


@pytest.mark.parametrize("threshold", [0.7, float(np.float32(0.7)), np.float64(0.7)])
def test_a_probability_at_the_threshold_passes(threshold: float) -> None:
    assert float(np.float32(0.7)) < 0.7
    assert texts("a b c d", {"a": 0.7, "d": 0.7}, threshold=threshold) == ["a", "d"]


def test_no_token_no_evidence() -> None:
    nothing = np.empty((0, 2), dtype=np.int32)
    assert finder_of("\u200b", nothing).spans(np.empty(0, dtype=np.float32), 0.5) == []


def test_tokens_that_begin_with_the_space_before_a_word() -> None:
    offsets = np.array([[0, 2], [2, 8], [8, 9]], dtype=np.int32)
    finder = finder_of("we  sorry x", offsets)
    assert finder.spans(np.float32([0, 0.9, 0]), 0.5) == [(4, 9)]


@pytest.mark.parametrize(("truncated", "end"), [(True, 4), (False, 12)])
def test_a_word_that_was_read_in_part(truncated: bool, end: int) -> None:
    offsets = np.array([[0, 2], [2, 4]], dtype=np.int32)
    finder = finder_of("so#sorry,etc", offsets, truncated=truncated)
    assert finder.spans(np.float32([0.9, 0.9]), 0.5) == [(0, end)]


@settings(deadline=None, max_examples=200)
@given(data=st.data(), reply=st.text(alphabet="aB.,?! \n\u00a0\u2028🙂é-", min_size=1, max_size=60))
def test_spans_are_words_of_the_reply_in_order(data: st.DataObject, reply: str) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(reply)), max_size=20)))
    offsets = np.array(list(pairwise(cuts)), dtype=np.int32).reshape(-1, 2)
    tokens = st.lists(st.floats(0, 1, width=32), min_size=len(offsets), max_size=len(offsets))
    probabilities = np.array(data.draw(tokens), dtype=np.float32)
    truncated = data.draw(st.booleans())
    finder = finder_of(reply, offsets, truncated=truncated)
    spans = finder.spans(probabilities, data.draw(st.floats(0, 1)))
    flat = [edge for span in spans for edge in span]
    assert flat == sorted(flat)
    for start, end in spans:
        assert 0 <= start < end <= len(reply)
        assert reply[start:end] == reply[start:end].strip()
        assert "\n" not in reply[start:end]
        assert not truncated or end <= cuts[-1]
    visible = any(reply[end - 1].strip() for start, end in offsets.tolist() if end > start)
    assert bool(spans) == visible
