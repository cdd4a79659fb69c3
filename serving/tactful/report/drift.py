"""Whether these replies are still like those that the bundle learned from.

Scores, lengths and rates by the population stability index (PSI; Siddiqi 2006, *Credit Risk
Scorecards*), words by Jensen-Shannon divergence in bits (Lin 1991, IEEE Trans. Inf. Theory 37).
Each is held against what chance alone gives in so many replies: n m / (n + m) PSI, and eight times
that of the divergence in nats, are about chi-squared (Yurdakul 2018).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from tactful.errors import ReportError
from tactful.report.intervals import Floats
from tactful.report.scored_table import ScoredTable, labels_of

SCORE_BINS = 10
_WORDS_KEPT = 300
_LENGTHS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)

Verdict = Literal["stable", "look", "act"]
# From these on, by convention; of the divergence, our own.
_LIMITS: Mapping[str, tuple[float, float]] = {"PSI": (0.1, 0.25), "JS": (0.05, 0.15)}
ADVICE: Mapping[Verdict, str] = {
    "stable": "Nothing to do.",
    "look": "Read some dozens of these replies with their labels; if they look wrong, do as for "
    "“act”.",
    "act": "Label some 200 of these replies by hand, run `tactful evaluate` on them, and train "
    "anew with replies like these where it has become worse. Until then trust these figures less.",
}


@dataclass(frozen=True)
class Reference:
    """What replies were like elsewhere: of the training split, or of an earlier report.

    Attributes:
        replies: how many.
        labels: task to label to how many of them have it, as the bundle decides.
        scores: task to label to counts of its scores in ten equal bins from 0 to 1.
        lengths: ``replies`` and ``contexts`` to ``edges`` (in words; the last bin is open) and
            ``counts``, one more.
        words: ``replies`` and ``contexts`` to the uses of the most frequent words, those with
            capitals left out.
        all_words: ``replies`` and ``contexts`` to the uses of all words.
    """

    replies: int
    labels: Mapping[str, Mapping[str, int]]
    scores: Mapping[str, Mapping[str, Sequence[int]]]
    lengths: Mapping[str, Mapping[str, Sequence[int]]]
    words: Mapping[str, Mapping[str, int]]
    all_words: Mapping[str, int]

    def to_dict(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class DriftFigure:
    """How far one thing has moved.

    Attributes:
        what: the thing.
        measure: ``PSI`` or ``JS``.
        value: 0 is like the reference.
        chance: what chance alone exceeds once in twenty.
        verdict: what to do, see `ADVICE`.
        before: the rate in the reference, where it is one.
        now: the rate now.
    """

    what: str
    measure: Literal["PSI", "JS"]
    value: float
    chance: float
    verdict: Verdict
    before: float | None = None
    now: float | None = None


def reference_of(table: ScoredTable) -> Reference:
    """What the replies of a table are like, to hold later ones against."""
    labels: dict[str, dict[str, int]] = {}
    scores: dict[str, dict[str, list[int]]] = {}
    for task, names, hits in labels_of(table):
        labels[task] = dict(zip(names, hits.sum(axis=0).tolist(), strict=True))
        scores[task] = {
            name: _binned(table.scores[task][:, column])
            for column, name in enumerate(names)
            if not np.isnan(table.scores[task][:, column]).any()
        }
    lengths, words, totals = {}, {}, {}
    for name, counts, vocabulary in (
        ("replies", table.words, table.reply_vocabulary),
        ("contexts", table.context_words, table.context_vocabulary),
    ):
        edges = np.unique(np.quantile(counts, _LENGTHS, method="higher")).astype(int).tolist()
        lengths[name] = {"edges": edges, "counts": _in_bins(counts, edges)}
        words[name] = dict(sorted(vocabulary.items(), key=lambda w: (-w[1], w[0]))[:_WORDS_KEPT])
        totals[name] = vocabulary.total()
    return Reference(len(table), labels, scores, lengths, words, totals)


def _binned(scores: NDArray[np.float32]) -> list[int]:
    place = np.clip((scores * SCORE_BINS).astype(int), 0, SCORE_BINS - 1)
    return [int(count) for count in np.bincount(place, minlength=SCORE_BINS)]


def _in_bins(values: NDArray[np.int64], edges: Sequence[int]) -> list[int]:
    """Counts of values below each edge and from the last on."""
    place = np.searchsorted(edges, values, side="right")
    return [int(count) for count in np.bincount(place, minlength=len(edges) + 1)]


def read_reference(content: object, source: str) -> Reference:
    """A reference from JSON: alone, or the figures of a report, which hold one.

    Raises:
        ReportError: it has another shape.
    """
    if isinstance(content, Mapping) and "reference" in content:
        content = content["reference"]
    try:
        reference = Reference(**content)  # type: ignore[arg-type]  # what is no mapping raises
        int(reference.replies)
        for mapping in (reference.labels, reference.scores, reference.lengths, reference.words):
            for inner in mapping.values():
                _ = inner.keys()
        for name in ("replies", "contexts"):
            edges, counts = reference.lengths[name]["edges"], reference.lengths[name]["counts"]
            if len(counts) != len(edges) + 1 or reference.all_words[name] < 0:
                raise ValueError(f"counts and edges of the length of {name} do not go together")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ReportError(
            f"{source} holds no reference to measure drift against; name the figures (.json) of an "
            "earlier report"
        ) from error
    return reference


def drift(now: Reference, before: Reference, lengths: Mapping[str, Floats]) -> list[DriftFigure]:
    """How far replies have moved from a reference.

    Args:
        now: what they are like.
        before: what they were like.
        lengths: ``replies`` and ``contexts`` to the words of each.
    """
    found = []
    for task, labels in now.labels.items():
        for label, count in labels.items():
            if (then := before.labels.get(task, {}).get(label)) is not None:
                figure = _psi(
                    f"rate of {label}",
                    [count, now.replies - count],
                    [then, before.replies - then],
                    (then / max(before.replies, 1), count / now.replies),
                )
                found.append(figure)
    for task, scores in now.scores.items():
        for label, bins in scores.items():
            if then_bins := before.scores.get(task, {}).get(label):
                found.append(_psi(f"scores of {label}", bins, then_bins))
    for name in ("replies", "contexts"):
        edges = before.lengths[name]["edges"]
        counts = _in_bins(lengths[name].astype(np.int64), edges)
        found.append(_psi(f"length of {name}", counts, before.lengths[name]["counts"]))
    known = [name for name in now.words if now.all_words[name] and before.all_words[name]]
    return found + [_divergence(name, now, before) for name in known]


def _psi(
    what: str,
    now: Sequence[int],
    before: Sequence[int],
    rates: tuple[float, float] | tuple[None, None] = (None, None),
) -> DriftFigure:
    # Half a count more in each bin: an empty one would be infinitely far.
    p, q = (np.asarray(counts, float) + 0.5 for counts in (before, now))
    n, m = float(sum(now)), float(sum(before))
    p, q = p / p.sum(), q / q.sum()
    value = float(((q - p) * np.log(q / p)).sum())
    used = int(((np.asarray(now) + np.asarray(before)) > 0).sum())
    chance = _chance(used - 1, n, m)
    return DriftFigure(what, "PSI", value, chance, _verdict("PSI", value, chance), *rates)


def _divergence(name: str, now: Reference, before: Reference) -> DriftFigure:
    words = sorted({*now.words[name], *before.words[name]})
    both = []
    for reference in (now, before):
        counts = Counter(reference.words[name])
        known = np.array([counts[word] for word in words], float)
        rest = max(reference.all_words[name] - known.sum(), 0)
        both.append(np.append(known, rest))
    n, m = (counts.sum() for counts in both)
    p, q = (counts / counts.sum() for counts in both)
    middle = (p + q) / 2
    value = (_entropy(middle) - (_entropy(p) + _entropy(q)) / 2) / math.log(2)
    chance = _chance(len(words), float(n), float(m)) / 8 / math.log(2)
    return DriftFigure(f"words of {name}", "JS", value, chance, _verdict("JS", value, chance))


def _entropy(p: Floats) -> float:
    p = p[p > 0]
    return float(-(p * np.log(p)).sum())


def _chance(freedom: int, n: float, m: float) -> float:
    if freedom < 1 or not n or not m:
        return 0.0
    return 2 * float(special.gammaincinv(freedom / 2, 0.95)) * (1 / n + 1 / m)


def _verdict(measure: str, value: float, chance: float) -> Verdict:
    look, act = _LIMITS[measure]
    if value < look or value <= chance:
        return "stable"
    return "look" if value < act else "act"
