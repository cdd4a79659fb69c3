"""The sentences that carry labels, and the words by which two of them are compared."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_BOUNDARY = re.compile(r"(?<=[.!?\u2026])[\"')\]\u201d]*\s+|\s*\n\s*")
_TOKEN = re.compile(r"\S+")
_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
_LONGEST = 60  # words of a sentence that are compared


def sentence_around(text: str, start: int, end: int) -> str:
    """The sentence of a text in which a stretch stands, or the sentences over which it goes."""
    first, last = 0, len(text)
    for boundary in _BOUNDARY.finditer(text):
        if boundary.end() <= start:
            first = boundary.end()
        elif boundary.start() >= end:
            last = boundary.start()
            break
    return text[first:last].strip()


def words_of(sentence: str) -> tuple[str, ...]:
    """The words by which sentences are compared: no case, figures as #, names as a dot.

    A capital letter inside a sentence marks a name, except where all of it is in capitals.
    """
    words = []
    shouted = sentence.isupper()
    place = 0
    for token in _TOKEN.findall(sentence):
        if "@" in token or "://" in token:
            words.append("@")
            continue
        for word in _WORD.findall(token):
            if any(character.isdigit() for character in word):
                words.append("#")
            elif place and word[0].isupper() and not shouted and not _is_i(word):
                words.append("\u00b7")
            else:
                words.append(word.casefold().replace("\u2019", "'"))
            place += 1
    return tuple(words[:_LONGEST])


def masked(sentence: str) -> str:
    """A sentence without its figures, names and addresses: they are no part of a phrase."""
    shouted, begun = sentence.isupper(), False

    def mask(token: re.Match[str]) -> str:
        if "@" in token[0] or "://" in token[0]:
            return "@\u2026"
        return _WORD.sub(mask_word, token[0])

    def mask_word(word: re.Match[str]) -> str:
        nonlocal begun
        inside, begun = begun, True
        if any(character.isdigit() for character in word[0]):
            return "#"
        if inside and word[0][0].isupper() and not shouted and not _is_i(word[0]):
            return "\u2026"
        return word[0]

    return _TOKEN.sub(mask, sentence)


def _is_i(word: str) -> bool:
    return word == "I" or word[:2] in ("I'", "I\u2019")


@dataclass(frozen=True, eq=False)
class Wordings:
    """Which sentence carries which strategy in which reply; ``O`` occurrences.

    Attributes:
        rows: of each occurrence its row; ``[O]``.
        labels: of each the column of its strategy; ``[O]``.
        sentences: of each the index of its sentence; ``[O]``.
        texts: the sentences, each of them once.
    """

    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    sentences: NDArray[np.int64]
    texts: tuple[str, ...]

    def taken(self, rows: NDArray[np.int64]) -> Wordings:
        """The occurrences in some rows (ascending), which are numbered anew."""
        kept = np.isin(self.rows, rows)
        places = np.searchsorted(rows, self.rows[kept])
        return Wordings(places, self.labels[kept], self.sentences[kept], self.texts)
