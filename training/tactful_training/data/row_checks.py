"""What may be wrong with a row by itself: its words, its length, its offsets."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import quantiles
from typing import NamedTuple

from tactful.errors import InputError
from tactful.own_words.preparation import OwnWords, prepare
from tactful.reading.language_doubt import is_doubtful
from tactful_training.data.label_counts import decided
from tactful_training.data.labelled_row import EvidenceSpan, Row
from tactful_training.data.personal_data import find_personal_data, masked

RowKey = tuple[str, str]
"""Split and id."""

# Tukey (1977, Exploratory Data Analysis): beyond the quartiles by three times their distance is
# far out. Of logarithms, since lengths are many times larger, not many words.
_FAR_OUT = 3
# Fewer rows than this have no usual length.
_LEAST_ROWS = 30
# From here on scripts do not part words by spaces.
_WITHOUT_SPACES = "\u2e80"


class Found(NamedTuple):
    """One thing that was found.

    Attributes:
        check: stable name of what was looked for.
        text: what it is, for people.
        rows: the rows that it concerns.
    """

    check: str
    text: str
    rows: tuple[RowKey, ...] = ()


def check_rows(splits: Mapping[str, Sequence[Row]]) -> Iterator[Found]:
    """Everything that is to be looked at in the rows, one by one.

    Args:
        splits: split to its usable rows.
    """
    fewest, most = usual_lengths([row for rows in splits.values() for row in rows])
    marked = {span.task for rows in splits.values() for row in rows for span in row.evidence}
    for split, rows in splits.items():
        for row in rows:
            here, key = f"{split} {row.id!r}", ((split, row.id),)
            words = len(row.reply.split())
            if not fewest <= words <= most:
                usual = f"usual are {math.ceil(fewest)} to {math.floor(most)}"
                yield Found("lengths", f"{here}: {words} words ({usual})", key)
            if is_doubtful(row.reply):
                yield Found("languages", f"{here}: {_shown(row.reply)}", key)
            for why, text in _foreign_parts(row.reply):
                yield Found("foreign_parts", f"{here}: {why} {_shown(text)}", key)
            for field, text in (("reply", row.reply), ("context", row.context or "")):
                for each in find_personal_data(text):
                    what = masked(text[each.start : each.end])
                    yield Found("personal_data", f"{here}: {each.kind} in its {field}: {what}", key)
            for span in row.evidence:
                if is_cut(row.reply, span):
                    said = _shown(row.reply[span.start : span.end])
                    yield Found("evidence_cuts", f"{here}: {span.label}: {said}", key)
            said_of = set(decided(row))
            shown = {(span.task, span.label) for span in row.evidence}
            for _, label in sorted(shown - said_of):
                yield Found("evidence_undecided", f"{here}: {label}", key)
            for task, label in sorted(said_of - shown):
                if task in marked:
                    yield Found("evidence_missing", f"{here}: {label}", key)


def usual_lengths(rows: Sequence[Row]) -> tuple[float, float]:
    """Fewest and most words of replies that are not far out."""
    if len(rows) < _LEAST_ROWS:
        return 0, math.inf
    lengths = [math.log(max(len(row.reply.split()), 1)) for row in rows]
    low, _, high = quantiles(lengths, n=4)
    reach = _FAR_OUT * (high - low)
    return math.exp(low - reach), math.exp(high + reach)


def is_cut(reply: str, span: EvidenceSpan) -> bool:
    """Whether a span begins or ends within a word, or at white space."""
    text = reply[span.start : span.end]
    return (
        text != text.strip()
        or _within_word(reply[span.start - 1 : span.start + 1])
        or _within_word(reply[span.end - 1 : span.end + 1])
    )


def _within_word(pair: str) -> bool:
    return len(pair) == 2 and pair.isalnum() and all(each < _WITHOUT_SPACES for each in pair)


def _foreign_parts(reply: str) -> Iterator[tuple[str, str]]:
    """Why and what, for the stretches that are not the agent's words; addresses are."""
    try:
        words = prepare(reply, None)
    except InputError as error:
        yield error.code, reply
    else:
        for part in words.skipped if isinstance(words, OwnWords) else ():
            if part.why != "url":
                yield part.why, reply[part.start : part.end]


def _shown(text: str, longest: int = 60) -> str:
    return repr(text if len(text) <= longest else f"{text[:longest]} …")
