"""Replies that say the same in almost the same words, found without comparing all pairs.

The similarity of two replies is the Jaccard index of their shingles: words and pairs of
neighbouring words, lower-cased, with every number made ``0``. Two sets whose Jaccard index is at
least ``t`` share one of the first ``n - ceil(t * n) + 1`` of their ``n`` shingles in any common
order (prefix filtering, Chaudhuri et al. 2006); with the rarest shingles first, few others do.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Sequence
from itertools import chain, islice, pairwise
from typing import NamedTuple

THRESHOLD = 0.8
SHORT_REPLY = 8
"""Words. Customers are answered in formulas: "Thanks for letting us know." twice leaks nothing."""
# Texts made from one template share even their rarest shingles with thousands of others. The
# likeliest are compared first, so the rest are left out.
MOST_COMPARED = 500
_WORD = re.compile(r"\w+")
_NUMBER = re.compile(r"\d+")


class Match(NamedTuple):
    """A text that is like an earlier one.

    Attributes:
        text: its index.
        other: index of the most similar text of the other side.
        similarity: their Jaccard index, from the threshold to 1.
    """

    text: int
    other: int
    similarity: float


def normalised(text: str) -> str:
    """The words of a text alone: lower-case, numbers made ``0``, one space between words.

    A text without any (an emoji) stays as it is.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(_WORD.findall(_NUMBER.sub("0", folded))) or folded.strip()


def near_duplicates(
    texts: Sequence[str], others: Sequence[str] | None = None, *, threshold: float = THRESHOLD
) -> Iterator[Match]:
    """For every text that is like another one, its most similar one.

    Args:
        texts: normalised texts, the ones that are looked up.
        others: normalised texts to look among; None looks among the ``texts`` before each.
        threshold: least similarity that counts, in (0, 1].
    """
    best: Match | None = None
    for match in similar_pairs(texts, others, threshold=threshold):
        if best is not None and match.text != best.text:
            yield best
            best = None
        if best is None or (match.similarity, match.other) > (best.similarity, best.other):
            best = match
    if best is not None:
        yield best


def similar_pairs(
    texts: Sequence[str], others: Sequence[str] | None = None, *, threshold: float = THRESHOLD
) -> Iterator[Match]:
    """All pairs of texts that are alike, those of one text after the other.

    Args:
        texts: as for `near_duplicates`.
        others: likewise.
        threshold: likewise.
    """
    asked = [_shingles(text) for text in texts]
    known = asked if others is None else [_shingles(text) for text in others]
    frequency = Counter(chain.from_iterable(asked if others is None else [*asked, *known]))
    by_rarity = sorted(frequency, key=frequency.__getitem__)
    rank = {shingle: place for place, shingle in enumerate(by_rarity)}
    index: defaultdict[int, list[int]] = defaultdict(list)
    known_ranks = [{rank[shingle] for shingle in shingles} for shingles in known]
    if others is not None:
        for number, ranks in enumerate(known_ranks):
            for place in _prefix(ranks, threshold):
                index[place].append(number)
    for number, shingles in enumerate(asked):
        ranks = {rank[shingle] for shingle in shingles}
        prefix = _prefix(ranks, threshold)
        alike = chain.from_iterable(index.get(place, ()) for place in prefix)
        for other in islice(dict.fromkeys(alike), MOST_COMPARED):
            similarity = _jaccard(ranks, known_ranks[other])
            if similarity >= threshold:
                yield Match(number, other, similarity)
        if others is None:  # from here on it is one of the earlier texts
            for place in prefix:
                index[place].append(number)


def _shingles(text: str) -> set[Hashable]:
    words = text.split()
    return {*words, *pairwise(words)}


def _prefix(ranks: set[int], threshold: float) -> list[int]:
    return sorted(ranks)[: len(ranks) - math.ceil(threshold * len(ranks)) + 1]


def _jaccard(one: set[int], other: set[int]) -> float:
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared) if shared else 0.0
