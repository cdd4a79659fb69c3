from __future__ import annotations

import itertools

import numpy as np
import pytest

from tactful.report.stock_phrases import distinct_in_sample, find_phrases, near_identical
from tactful.report.wording import masked, sentence_around, words_of


@pytest.mark.parametrize(
    ("text", "start", "sentence"),
    [
        ("Hi Ana! I'm so sorry. It ships.", 12, "I'm so sorry."),
        ("Hi Ana! I'm so sorry. It ships.", 0, "Hi Ana!"),
        ("one line\nand another", 9, "and another"),
        ("\U0001f642 sorry \u2026 \"really!\" yes", 2, "\U0001f642 sorry \u2026"),
        ("no end", 3, "no end"),
    ],
)  # fmt: skip
def test_the_sentence_around_a_stretch(text, start, sentence):
    assert sentence_around(text, start, start + 2) == sentence


def test_a_stretch_over_two_sentences_gives_both():
    assert sentence_around("One. Two. Three.", 2, 7) == "One. Two."


def test_names_figures_marks_and_case_are_no_part_of_the_wording():
    forms = ["I'm so sorry, Ana!", "I\u2019M SO SORRY, ANA", "I'm so sorry, Ben."]
    assert len({words_of(form) for form in (forms[0], forms[2])}) == 1
    assert words_of(forms[1]) == ("i'm", "so", "sorry", "ana")
    assert words_of("Order 12 and 7b") == ("order", "#", "and", "#")
    assert words_of("@user Sorry, Camila.") == ("@", "sorry", "\u00b7")
    assert masked("I'm so sorry, Ana Lopez: order 12, see https://a.b/c?d") == (
        "I'm so sorry, \u2026 \u2026: order #, see @\u2026"
    )


def grouped(*sentences):
    keys = [words_of(sentence) for sentence in sentences]
    phrase, count = near_identical(keys, np.arange(len(keys), 0, -1))
    return phrase.tolist(), count


def test_near_identical_sentences_are_one_phrase():
    together = grouped(
        "I completely understand how very frustrating this must be for you right now",
        "I completely understand how very frustrating this must be for you just now",
        "We will send a new one tomorrow",
        "I completely understand how very frustrating this must be for you",
    )
    assert together == ([0, 1, 2, 0], 3) or together == ([0, 0, 1, 0], 2)
    assert grouped("thank you", "thank you so much", "sorry")[1] == 3


def test_no_pair_that_is_near_is_overlooked():
    random = np.random.default_rng(8)
    words = [f"w{index}" for index in range(12)]
    keys = sorted({tuple(random.choice(words, random.integers(1, 7))) for _ in range(120)})
    phrase, _ = near_identical(keys, np.ones(len(keys), int))
    leaders = {}
    for key, number in zip(keys, phrase.tolist(), strict=True):
        leaders.setdefault(number, key)

    def jaccard(one, other):
        one, other = ({*key, *itertools.pairwise(key)} for key in (one, other))
        return len(one & other) / len(one | other)

    for key, number in zip(keys, phrase.tolist(), strict=True):
        assert jaccard(key, leaders[number]) >= 0.8
    for one, other in itertools.combinations(leaders.values(), 2):
        assert jaccard(one, other) < 0.8


def test_wordings_in_a_sample_are_those_that_drawing_gives():
    sizes = np.array([5, 3, 1, 1])
    kinds = np.repeat(np.arange(4), sizes)
    every = [len(set(drawn)) for drawn in itertools.combinations(kinds.tolist(), 4)]
    assert distinct_in_sample(sizes, 4) == pytest.approx(np.mean(every))
    assert distinct_in_sample(sizes, 10) == pytest.approx(4)
    assert distinct_in_sample(sizes, 1) == pytest.approx(1)


def test_what_one_agent_writes_over_and_over_is_a_stock_phrase(table_of, row):
    def said(phrase, agent):
        return row(f"Hello. {phrase}", {"apology": phrase}, agent=agent)

    rows = [said("So sorry about that.", "ana")] * 5
    rows += [said("My apologies, truly.", agent) for agent in ("ben", "cem", "dee", "eli")]
    rows += [row("Sorry.", strategies=["apology"], agent="fay")]  # no words are known
    table = table_of(rows, agent_column="agent")
    phrases = find_phrases(table)
    stock = dict(zip(phrases.texts, phrases.stock.tolist(), strict=True))
    assert stock == {"So sorry about that.": True, "My apologies, truly.": False}
    assert phrases.own[:, table.strategies.index("apology")].tolist() == [False] * 5 + [True] * 5
