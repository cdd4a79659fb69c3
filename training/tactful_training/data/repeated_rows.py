"""Rows that say the same, or nearly, in a split or in two, where one leaks into the other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from tactful_training.data.labelled_row import Row
from tactful_training.data.near_duplicates import (
    SHORT_REPLY,
    THRESHOLD,
    Match,
    normalised,
    similar_pairs,
)
from tactful_training.data.row_checks import Found

# From here on replies are alike enough to be looked at.
_ALIKE = 0.6


def check_repeats(splits: Mapping[str, Sequence[Row]]) -> Iterator[Found]:
    """Everything that occurs more than once.

    Args:
        splits: split to its usable rows.
    """
    yield from _shared(splits, "id", "ids")
    yield from _shared(splits, "group", "groups")
    rows = [(split, row) for split, some in splits.items() for row in some]
    replies = [normalised(row.reply) for _, row in rows]
    exchanges: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for at, (_, row) in enumerate(rows):
        exchanges[normalised(row.context or ""), replies[at]].append(at)
    repeated: set[int] = set()
    for places in exchanges.values():
        if len(places) > 1:
            yield from _same_exchange(rows, places, repeated)
    yield from _alike(rows, replies, repeated)


def _same_exchange(
    rows: Sequence[tuple[str, Row]], places: Sequence[int], repeated: set[int]
) -> Iterator[Found]:
    """Rows of the same reply to the same words; those of which another split has one are added."""
    first: dict[str, int] = {}
    for at in places:
        split, row = rows[at]
        for earlier, other in first.items():
            if earlier != split:
                repeated.add(at)
                text = f"{split} {row.id!r} = {earlier} {rows[other][1].id!r}"
                yield Found("duplicates", text, (_key(rows[at]), _key(rows[other])))
        if split in first:
            other = first[split]
            if (row.context, row.reply) == (rows[other][1].context, rows[other][1].reply):
                text = f"{split} {row.id!r} = {rows[other][1].id!r}"
                yield Found("repeats", text, (_key(rows[at]), _key(rows[other])))
        first.setdefault(split, at)
    for one, other in combinations(places, 2):
        if differing := _contradiction(rows[one][1], rows[other][1]):
            text = (
                f"{rows[one][0]} {rows[one][1].id!r} and {rows[other][0]} {rows[other][1].id!r}: "
                f"{differing}"
            )
            yield Found("contradictions", text, (_key(rows[one]), _key(rows[other])))
            break


def _contradiction(one: Row, other: Row) -> str:
    """The tasks of which two rows say different things, with what they say."""
    return "; ".join(
        f"{task} {_said(first)} / {_said(second)}"
        for task, first in one.labels.items()
        if first is not None
        and (second := other.labels[task]) is not None
        and (first != second if isinstance(first, str) else set(first) != set(second))
    )


def _said(decided: tuple[str, ...] | str) -> str:
    return decided if isinstance(decided, str) else "|".join(decided) or "(no label)"


def _alike(
    rows: Sequence[tuple[str, Row]], replies: Sequence[str], repeated: set[int]
) -> Iterator[Found]:
    """Of every reply the most similar one of each split before it, and of its own."""
    best: dict[tuple[int, str], Match] = {}
    for match in similar_pairs(replies, threshold=_ALIKE):
        (split, row), (earlier, other) = rows[match.text], rows[match.other]
        if split == earlier and row.group == other.group:
            continue  # a contrast set, as it should be
        known = best.get((match.text, earlier))
        if known is None or match.similarity > known.similarity:
            best[match.text, earlier] = match
    for (at, earlier), match in best.items():
        (split, row), (_, other) = rows[at], rows[match.other]
        if at in repeated:
            continue
        short = len(replies[at].split()) < SHORT_REPLY
        near = match.similarity >= THRESHOLD
        if split == earlier:
            check = "near_repeats" if near and not short else None
        elif near:
            check = "short_duplicates" if short else "near_duplicates"
        else:
            check = None if short else "similar_replies"
        if check is not None:
            text = f"{split} {row.id!r} ~ {earlier} {other.id!r} ({match.similarity:.2f})"
            yield Found(check, text, (_key(rows[at]), _key(rows[match.other])))


def _shared(splits: Mapping[str, Sequence[Row]], attribute: str, check: str) -> Iterator[Found]:
    """Values of an attribute that rows of several splits have, with those splits."""
    found: dict[str, list[str]] = {}
    for name, rows in splits.items():
        for value in dict.fromkeys(getattr(row, attribute) for row in rows):
            found.setdefault(value, []).append(name)
    for value, names in found.items():
        if len(names) > 1:
            yield Found(check, f"{value!r}: {', '.join(names)}")


def _key(place: tuple[str, Row]) -> tuple[str, str]:
    return place[0], place[1].id
