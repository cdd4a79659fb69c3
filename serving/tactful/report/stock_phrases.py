"""Stock phrases: near-identical sentences counted as one, so that pasting them games no figure.

Two sentences are near-identical when the Jaccard index of their words and pairs of neighbouring
words is 0.8 or more (figures, names and marks aside: `words_of`). Candidates are found by prefixes
of rare words (Bayardo, Ma and Srikant 2007, *Scaling up all pairs similarity search*); a sentence
joins the most like of the more frequent phrases. What a stock phrase carries is counted, but apart.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from tactful.report.intervals import Bools, Estimate, Floats, rate
from tactful.report.scored_table import ScoredTable
from tactful.report.wording import masked, words_of

NEAR = 0.8
STOCK_FROM = 10
"""A phrase that stands in so many replies is a stock phrase,"""
STOCK_FROM_ONE = 5
"""and so is one that stands in so many of a single agent."""
SAMPLE = 100
"""The number of distinct wordings is given for so many uses, as it grows with their number."""
LISTED = 25
_FEW_AGENTS = 3


@dataclass(frozen=True, slots=True)
class StockPhrase:
    """A sentence that is written over and over.

    Attributes:
        text: its most frequent form, figures and names left out.
        replies: how many replies hold it in one of its forms.
        agents: how many agents write it; None where agents are not known.
        strategies: what it carries, the most frequent first.
        forms: how many forms it has.
    """

    text: str
    replies: int
    agents: int | None
    strategies: tuple[str, ...]
    forms: int


@dataclass(frozen=True, slots=True)
class StrategyWording:
    """How a strategy is worded.

    Attributes:
        uses: sentences that carry it; two in one reply are two uses.
        distinct: how many different phrases they are.
        distinct_in_100: how many to expect in 100 uses; None of fewer uses.
        stock: share of the replies with the strategy that have it by stock phrases only.
    """

    uses: int
    distinct: int
    distinct_in_100: float | None
    stock: Estimate | None


@dataclass(frozen=True, eq=False)
class Phrases:
    """The phrases of a table; ``P`` of them.

    Attributes:
        occurrences: row, strategy and phrase, each combination once; ``[U, 3]``.
        texts: the most frequent form of each phrase.
        forms: how many forms each has; ``[P]``.
        replies: in how many replies each stands; ``[P]``.
        agents: by how many agents each is, or None; ``[P]``.
        stock: whether it is a stock phrase; ``[P]``.
        own: which replies have which strategy in words of their own; ``[R, S]``. A strategy without
            known words counts as such.
    """

    occurrences: NDArray[np.int64]
    texts: tuple[str, ...]
    forms: NDArray[np.int64]
    replies: NDArray[np.int64]
    agents: NDArray[np.int64] | None
    stock: Bools
    own: Bools


def find_phrases(table: ScoredTable) -> Phrases:
    """The phrases of a table."""
    wordings = table.wordings
    uses = np.bincount(wordings.sentences, minlength=len(wordings.texts))
    keys: dict[tuple[str, ...], int] = {}
    key_of = np.full(len(wordings.texts), -1, np.int64)
    for index in np.flatnonzero(uses).tolist():
        key_of[index] = keys.setdefault(words_of(wordings.texts[index]), len(keys))
    key_uses = np.bincount(key_of[wordings.sentences], minlength=len(keys))
    phrase_of_key, phrases = near_identical(list(keys), key_uses)
    phrase_of = np.full(len(key_of), -1, np.int64)
    known = key_of >= 0
    phrase_of[known] = phrase_of_key[key_of[known]]
    phrase = phrase_of[wordings.sentences]

    best: dict[int, int] = {}
    for index in np.flatnonzero(known).tolist():
        leader = best.get(int(phrase_of[index]))
        if leader is None or uses[index] > uses[leader]:
            best[int(phrase_of[index])] = index
    texts = tuple(wordings.texts[best[index]] for index in range(phrases))
    forms = np.bincount(phrase_of[known], minlength=phrases)

    in_rows = np.unique(np.column_stack([wordings.rows, phrase]), axis=0)
    replies = np.bincount(in_rows[:, 1], minlength=phrases)
    stock = replies >= STOCK_FROM
    agents = None
    if (column := table.names.get("agent")) is not None:
        by = np.column_stack([column.codes[in_rows[:, 0]], in_rows[:, 1]])
        by, count = np.unique(by[by[:, 0] >= 0], axis=0, return_counts=True)
        agents = np.bincount(by[:, 1], minlength=phrases)
        stock[by[count >= STOCK_FROM_ONE, 1]] = True

    occurrences = np.unique(np.column_stack([wordings.rows, wordings.labels, phrase]), axis=0)
    carried = np.zeros_like(table.has)
    carried[occurrences[:, 0], occurrences[:, 1]] = True
    by_own = np.zeros_like(table.has)
    unusual = occurrences[~stock[occurrences[:, 2]]]
    by_own[unusual[:, 0], unusual[:, 1]] = True
    own = table.has & (by_own | ~carried)
    return Phrases(occurrences, texts, forms, replies, agents, stock, own)


def near_identical(
    keys: Sequence[tuple[str, ...]], uses: NDArray[np.int64]
) -> tuple[NDArray[np.int64], int]:
    """Put near-identical sentences together.

    Args:
        keys: the words of each, all different; ``[K]``.
        uses: how often each is written; ``[K]``.

    Returns:
        The phrase of each, ``[K]``, numbered from the most frequent on; and how many there are.
    """
    features = [frozenset(key).union(itertools.pairwise(key)) or frozenset([""]) for key in keys]
    spread: Counter[object] = Counter(feature for each in features for feature in each)
    rarity = {
        feature: place
        for place, (feature, _) in enumerate(
            sorted(spread.items(), key=lambda item: (item[1], str(item[0])))
        )
    }
    leaders: list[frozenset[object]] = []
    found: defaultdict[object, list[int]] = defaultdict(list)
    phrase = np.zeros(len(keys), np.int64)
    for index in sorted(range(len(keys)), key=lambda index: (-uses[index], keys[index])):
        mine = features[index]
        # Sets that are near share one of so many of their rarest features.
        prefix = sorted(mine, key=rarity.__getitem__)
        prefix = prefix[: len(mine) - math.ceil(NEAR * len(mine)) + 1]
        near, nearest = -1, NEAR
        for leader in {leader for feature in prefix for leader in found.get(feature, ())}:
            other = leaders[leader]
            if NEAR * len(mine) <= len(other) <= len(mine) / NEAR:
                both = len(mine & other)
                index_of_both = both / (len(mine) + len(other) - both)
                if index_of_both > nearest or (index_of_both == nearest and not 0 <= near < leader):
                    near, nearest = leader, index_of_both
        if near < 0:
            near = len(leaders)
            leaders.append(mine)
            for feature in prefix:
                found[feature].append(near)
        phrase[index] = near
    return phrase, len(leaders)


def strategy_wordings(table: ScoredTable, phrases: Phrases) -> dict[str, StrategyWording]:
    """How each strategy is worded, where its words are known."""
    found = {}
    for column, strategy in enumerate(table.strategies):
        mine = phrases.occurrences[phrases.occurrences[:, 1] == column, 2]
        if not len(mine):
            continue
        sizes = np.unique(mine, return_counts=True)[1]
        rows = np.flatnonzero(table.has[:, column])
        found[strategy] = StrategyWording(
            len(mine),
            len(sizes),
            distinct_in_sample(sizes, SAMPLE) if len(mine) >= SAMPLE else None,
            rate(~phrases.own[rows, column], table.conversations[rows]),
        )
    return found


def distinct_in_sample(sizes: NDArray[np.int64], sample: int) -> float:
    """Kinds to expect in a sample without putting back: rarefaction (Hurlbert 1971, Ecology 52).

    Args:
        sizes: how many there are of each kind.
        sample: size of the sample, at most the sum of all.
    """
    total = int(sizes.sum())

    def log_choices(n: Floats) -> Floats:
        small = n < sample
        n = np.where(small, sample, n)
        chosen = gammaln(n + 1) - gammaln(sample + 1) - gammaln(n - sample + 1)
        return np.where(small, -np.inf, chosen)

    missed = np.exp(log_choices(total - sizes.astype(float)) - log_choices(np.array(float(total))))
    return float((1 - missed).sum())


def stock_phrases(table: ScoredTable, phrases: Phrases, *, alone: bool) -> list[StockPhrase]:
    """The most frequent stock phrases; not those that merely greet, as all greetings are formulas.

    Args:
        table: where they are from.
        phrases: all phrases of it.
        alone: whether those of one or two agents are listed too.
    """
    shown = phrases.stock.copy()
    greeting = phrases.occurrences[:, 1] == _place(table, "warm_greeting")
    only_greets = np.bincount(phrases.occurrences[:, 2], ~greeting, len(shown)) == 0
    shown &= ~only_greets
    if phrases.agents is not None and not alone:
        shown &= phrases.agents >= _FEW_AGENTS
    at = np.flatnonzero(shown)
    at = at[np.argsort(-phrases.replies[at], kind="stable")][:LISTED]
    found = []
    for phrase in at.tolist():
        carried = phrases.occurrences[phrases.occurrences[:, 2] == phrase, 1]
        counts = Counter(table.strategies[label] for label in carried.tolist())
        found.append(
            StockPhrase(
                masked(phrases.texts[phrase]),
                int(phrases.replies[phrase]),
                None if phrases.agents is None else int(phrases.agents[phrase]),
                tuple(label for label, _ in counts.most_common()),
                int(phrases.forms[phrase]),
            )
        )
    return found


def _place(table: ScoredTable, strategy: str) -> int:
    return table.strategies.index(strategy) if strategy in table.strategies else -1
