"""Which replies become the goldens of a bundle: such as another processor decides alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from typing import TYPE_CHECKING

import numpy as np

from tactful.bundle.goldens import Golden, make_goldens
from tactful.reading.encoding import Pair
from tactful.reading.engine import Engine
from tactful.reading.readings import Reading
from tactful_training.data.labelled_row import Row

if TYPE_CHECKING:
    from tactful_training.bundling.candidates import Precision

TOLERANCES: dict[Precision, float] = {"fp32": 1e-3, "int8": 0.05}
"""Largest difference of a score between processors."""
# Texts that a reader of tokens gets wrong first: emoji with modifiers, combining marks, several
# scripts, characters without width, no letter at all.
_TRICKY: tuple[Pair, ...] = (
    ("I'm so sorry, Ana 😔🙏🏽 we'll make it right today! 💪", "my parcel never came 😡😡"),
    ("Cafe\u0301 vouchers are on their way, Zoe\u0308. شكرا \u200fand thank you!", None),
    ("OK\u200b.\u00a0Refund\u00aded:\t£12.50\r\nAnything else?", "Refund??"),
    ("👍", "Thanks, all good now"),
)
_LONG_ATTEMPTS = 20
_SAFETY = 2  # least distance between a score and its threshold, in tolerances


def choose_goldens(
    engine: Engine,
    rows: Sequence[Row],
    readings: Sequence[Reading],
    count: int,
    tolerance: float,
) -> list[Golden]:
    """Choose replies and record what the shipped model says of each, one at a time.

    A few tricky texts, one reply of several windows, and rows that between them show as many
    labels as possible, with and without context. Only replies all of whose scores keep a distance
    from the thresholds: otherwise a rounding error of another processor would be a wrong decision.
    Rows that no UTF-8 file can hold (half a surrogate pair) are passed over.

    Args:
        engine: the shipped model.
        rows: the validation split.
        readings: what the model says of each row.
        count: how many, if so many are to be had.
        tolerance: largest difference of a score between processors.
    """
    known = [(row, each) for row, each in zip(rows, readings, strict=True) if row.is_encodable]
    safe = _SAFETY * tolerance
    chosen = _safe(engine, _TRICKY, safe)
    chosen += islice(_safe_long(engine, [row for row, _ in known], safe), 1)
    pairs = _diverse(engine, known, safe)[:count]
    # Every other one without its context, as a reply may come in service.
    bare = set(_safe(engine, [(reply, None) for reply, _ in pairs[::2]], safe))
    chosen += [(pair[0], None) if (pair[0], None) in bare else pair for pair in pairs]
    if not chosen:
        chosen = safe_pairs(engine, [(row.reply, row.context) for row, _ in known] or _TRICKY, 0)
    return make_goldens(engine, list(dict.fromkeys(chosen))[:count])


def safe_pairs(engine: Engine, pairs: Sequence[Pair], tolerance: float) -> list[Pair]:
    """Those all of whose scores keep a distance from other decisions; at least one, the safest."""
    safe = _safe(engine, pairs, _SAFETY * tolerance)
    if safe:
        return safe
    distances = [_distance(engine, reading) for reading in engine.read(pairs)]
    return [pairs[int(np.argmax(distances))]]


def _safe(engine: Engine, pairs: Sequence[Pair], safe: float) -> list[Pair]:
    return [
        pair
        for pair, reading in zip(pairs, engine.read(pairs), strict=True)
        if _distance(engine, reading) > safe
    ]


def _distance(engine: Engine, reading: Reading) -> float:
    """How far the scores are from other decisions."""
    distances = []
    for head in engine.heads.heads:
        scores = np.array(list(reading.scores[head.task.name].values()))
        if head.thresholds is None:
            second, first = np.sort(scores)[-2:]
            distances.append(first - second)
        else:
            distances.append(np.abs(scores - head.thresholds).min())
    return float(min(distances))


def _safe_long(engine: Engine, rows: Sequence[Row], safe: float) -> Iterator[Pair]:
    """Replies of more than one window, joined from rows."""
    words = 2 * engine.heads.limits.max_tokens  # a word is at least a token
    for start in range(min(_LONG_ATTEMPTS, len(rows))):
        text = ""
        for row in islice(cycle(rows), start, None):
            text += f"{row.reply}\n"
            if len(text.split()) >= words:
                break
        yield from _safe(engine, [(text, rows[start].context)], safe)


def _diverse(engine: Engine, known: Sequence[tuple[Row, Reading]], safe: float) -> list[Pair]:
    """The safe ones, those with labels not seen before first."""
    seen: set[tuple[str, str]] = set()
    new: list[Pair] = []
    rest: list[Pair] = []
    for row, reading in known:
        if _distance(engine, reading) > safe:
            shown = {
                (task, each.label) for task in reading.labels for each in reading.decided(task)
            }
            (rest if shown <= seen else new).append((row.reply, row.context))
            seen |= shown
    return new + rest
