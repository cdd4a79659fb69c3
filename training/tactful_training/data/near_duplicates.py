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
from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import chain, pairwise
from typing import NamedTuple

THRESHOLD = 0.8
# Texts made from one template share even their rarest shingles with thousands of others. The
# likeliest are compared first, so the rest are left out.
MOST_COMPARED = 500
_WORD = re.compile(r"\w+")
_NUMBER = re.compile(r"\d+")

_Shingle = Hashable


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
    texts: Sequence[str], others: Sequence[str], *, threshold: float = THRESHOLD
) -> Iterator[Match]:
    """For every text that is like one of ``others``, its most similar one.

    Args:
        texts: normalised texts, the ones that are looked up.
        others: normalised texts to look among.
        threshold: least similarity that counts, in (0, 1].
    """
    looked_up = [_shingles(text) for text in texts]
    known = [_shingles(text) for text in others]
    frequency = Counter(shingle for shingles in (*looked_up, *known) for shingle in shingles)
    rank = {
        shingle: place
        for place, (shingle, _) in enumerate(sorted(frequency.items(), key=lambda item: item[1]))
    }
    index: defaultdict[int, list[int]] = defaultdict(list)
    known_ranks = [{rank[shingle] for shingle in shingles} for shingles in known]
    for number, ranks in enumerate(known_ranks):
        for place in _prefix(ranks, threshold):
            index[place].append(number)
    for number, shingles in enumerate(looked_up):
        ranks = {rank[shingle] for shingle in shingles}
        similarity, other = _best(ranks, known_ranks, index, threshold)
        if similarity >= threshold:
            yield Match(number, other, similarity)


def _best(
    ranks: set[int],
    known_ranks: Sequence[set[int]],
    index: Mapping[int, Sequence[int]],
    threshold: float,
) -> tuple[float, int]:
    """The highest similarity and whose it is; (0, -1) where nothing is worth comparing."""
    best = (0.0, -1)
    seen: set[int] = set()
    for other in chain.from_iterable(index.get(place, ()) for place in _prefix(ranks, threshold)):
        if other in seen:
            continue
        seen.add(other)
        best = max(best, (_jaccard(ranks, known_ranks[other]), other))
        if best[0] == 1.0 or len(seen) == MOST_COMPARED:
            break
    return best


def _shingles(text: str) -> set[_Shingle]:
    words = text.split()
    return {*words, *pairwise(words)}


def _prefix(ranks: set[int], threshold: float) -> list[int]:
    return sorted(ranks)[: len(ranks) - math.ceil(threshold * len(ranks)) + 1]


def _jaccard(one: set[int], other: set[int]) -> float:
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared) if shared else 0.0
