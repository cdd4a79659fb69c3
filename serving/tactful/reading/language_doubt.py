"""Whether a text does not look like English.

The shipped labels are learned from English; a text in another language gets scores that look as
sure as others. Three signs are looked at, which need no model: the script of the letters, the
small words that every sentence has, and how few English ones a longer text has. docs/own_words.md
has how often they are right.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from importlib.resources import files

_LONGEST = 20_000  # characters that are looked at
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")  # noqa: RUF001
# Of the letters, the share of another script from which a text is not English.
_OTHER_SCRIPT = 0.4
# From how many words on some must be small English ones, and which share of a longer text's.
_SOME, _LONG, _LEAST_ENGLISH = 5, 8, 0.08
_LEAST_FOREIGN = 0.12  # share of words that are another language's
# In `small_words.txt`: words that say nothing, for English or a name has them too.
_SHARED = "shared"


def is_doubtful(text: str) -> bool:
    """Whether a text does not look like English; False where there is too little to say."""
    text = text[:_LONGEST]
    if not text.isascii() and _other_script(text) >= _OTHER_SCRIPT:
        return True
    words = [word.lower().replace("’", "'") for word in _WORD.findall(text)]  # noqa: RUF001
    if not words:
        return False
    english_words, foreign_words = _small_words()
    english = sum(word in english_words for word in words)
    foreign = sum(word in foreign_words for word in words)
    if foreign > english and foreign >= _LEAST_FOREIGN * len(words):
        return True
    least = _LEAST_ENGLISH * len(words) if len(words) >= _LONG else 1 if len(words) >= _SOME else 0
    return english < least


@cache
def _small_words() -> tuple[frozenset[str], frozenset[str]]:
    """The small words of English, and those of other languages that English does not have."""
    lists: dict[str, set[str]] = {}
    for line in (
        files("tactful.reading").joinpath("small_words.txt").read_text("utf-8").splitlines()
    ):
        language, _, words = line.partition(": ")
        lists.setdefault(language, set()).update(words.split())
    english = lists.pop("English")
    shared = lists.pop(_SHARED)
    return frozenset(english), frozenset(set().union(*lists.values()) - english - shared)


def _other_script(text: str) -> float:
    """The share of its letters that are not Latin."""
    letters = other = 0
    for letter in text:
        if letter.isalpha():
            letters += 1
            # Mathematical and full-width letters are Latin ones in fancy dress.
            other += ord(letter) > 0x24F and not _is_latin(letter)
    return other / letters if letters else 0.0


def _is_latin(letter: str) -> bool:
    return unicodedata.normalize("NFKC", letter)[0].isascii() or "LATIN" in unicodedata.name(
        letter, ""
    )
