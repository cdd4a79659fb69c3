from __future__ import annotations

import json
from pathlib import Path

import pytest

from tactful import Classifier, Reading
from tactful.reading.language_doubt import is_doubtful

SENTENCES = json.loads(Path(__file__).with_name("other_languages.json").read_text("utf-8"))
SHIPPED = Path(__file__).parents[3] / "data_cards" / "support_replies"


@pytest.mark.parametrize("language", SENTENCES)
def test_most_sentences_of_another_language_are_told(language: str) -> None:
    told = [is_doubtful(sentence) for sentence in SENTENCES[language]]
    assert sum(told) >= len(told) - 1


def test_all_together_nearly_all_are_told() -> None:
    told = [is_doubtful(sentence) for group in SENTENCES.values() for sentence in group]
    assert sum(told) >= 0.97 * len(told)


def test_english_is_hardly_ever_doubted() -> None:
    rows = (SHIPPED / "validation.jsonl").read_text("utf-8").splitlines()
    doubted = sum(is_doubtful(json.loads(row)["reply"]) for row in rows)
    assert doubted <= 0.002 * len(rows)


@pytest.mark.parametrize(
    "text",
    [
        "ok", "17", "🙂", "", "...", "Hi José, María de la Cruz signed for it.", "𝐒𝐨 𝐬𝐨𝐫𝐫𝐲, 𝐀𝐧𝐚!",  # noqa: RUF001
        "¡Hola Ana! I'm so sorry about the delay.", "Settings > Privacy", "C:\\users\\me",
        "Thx, done!", "Lumen GmbH, Straße 7", "It's a café in São Paulo.",
    ],
)  # fmt: skip
def test_what_is_english_or_too_little_is_not_doubted(text: str) -> None:
    assert not is_doubtful(text)


def test_a_reading_says_so(classifier: Classifier) -> None:
    german = classifier.classify("Es tut mir leid, Ihr Paket kommt erst morgen an.")
    assert german.language_doubtful
    assert german.to_dict()["language_doubtful"] is True
    english = classifier.classify("I am so sorry, your parcel is late.")
    assert not english.language_doubtful
    assert "language_doubtful" not in english.to_dict()
    for reading in (german, english):
        assert Reading.from_dict(json.loads(json.dumps(reading.to_dict()))) == reading
    # What is quoted does not count, whatever its language.
    mixed = classifier.classify("The parcel is late, sorry.\n> Wo ist mein Paket? Ich warte schon.")
    assert not mixed.language_doubtful
