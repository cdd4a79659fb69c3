"""Makes the receipt of one reading of what the model says of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnxruntime
import tokenizers

from tactful.own_words.preparation import OwnWords
from tactful.reading.batches import RowOutput
from tactful.reading.decision_receipt import LabelDecision, Receipt, TokenScore, Unread
from tactful.reading.decisions import Floats
from tactful.reading.encoding import Pair
from tactful.reading.engine import Engine, Readable, originals, readings_of
from tactful.reading.processor import instructions, processor_name
from tactful.reading.readings import Reading


def make_receipt(
    engine: Engine, item: Readable, model: Mapping[str, Any], *, tokens: int, nearest: int
) -> Receipt:
    """Read one reply alone and keep what led to the reading.

    Args:
        engine: what reads.
        item: the reply and its context.
        model: what else the receipt tells of what read: bundle and package.
        tokens: how many tokens are told of each label.
        nearest: how many training replies are told.

    Raises:
        ModelError: the model cannot run it, or what it keeps of training replies is damaged.
    """
    reply, context = _given(item)
    [output] = engine.outputs([item])
    known = engine.neighbours
    [reading] = readings_of([output], [item], engine.heads, engine.bundle)
    return Receipt(
        reply,
        context,
        reading,
        _labels(engine, output, reading, item, tokens),
        len(output.encoded.offsets),
        len(output.encoded.windows),
        tuple(_unread(engine, output, reading, item)),
        None if known is None else tuple(known.nearest(output.logits, nearest)),
        {**model, **_environment(), "threads": engine.threads},
    )


def _given(item: Readable) -> Pair:
    """Reply and context as they were given."""
    return (item.reply, item.context) if isinstance(item, OwnWords) else item


def _labels(
    engine: Engine, output: RowOutput, reading: Reading, item: Readable, count: int
) -> dict[str, dict[str, LabelDecision]]:
    found: dict[str, dict[str, LabelDecision]] = {}
    for head in engine.heads.heads:
        task, first = head.task, engine.heads.tasks.slices[head.task.name].start
        decided = {label.label for label in reading.decided(task.name)}
        found[task.name] = {
            name: LabelDecision(
                _shortest(output.logits[first + index]),
                reading.scores[task.name][name],
                None if head.thresholds is None else _shortest(head.thresholds[index]),
                name in decided,
                _strongest(output, output.token_scores[:, first + index], item, count),
            )
            for index, name in enumerate(task.names)
        }
    return found


def _strongest(
    output: RowOutput, scores: Floats, item: Readable, count: int
) -> tuple[TokenScore, ...]:
    reply, _ = _given(item)
    offsets = output.encoded.offsets
    seen = np.flatnonzero(offsets[:, 1] > offsets[:, 0])  # a family may have tokens of no character
    order = seen[np.argsort(-scores[seen], kind="stable")][:count]
    found = []
    for index, (first, last) in zip(order, offsets[order].tolist(), strict=True):
        places = originals(item, first, last)
        start, end = places[0][0], places[-1][1]
        found.append(TokenScore(start, end, reply[start:end], _shortest(scores[index])))
    return tuple(found)


def _unread(
    engine: Engine, output: RowOutput, reading: Reading, item: Readable
) -> Iterator[Unread]:
    reply, context = _given(item)
    windows = output.encoded.windows
    if context:
        if not engine.heads.limits.use_context:
            yield Unread("context", 0, len(context), "not_used")
        elif begin := engine.encoding.context_begin(context, windows[0]):
            yield Unread("context", 0, begin, "no_room")
    for stretch in reading.skipped:
        yield Unread("reply", stretch.start, stretch.end, stretch.why)
    if reading.truncated:
        last = int(output.encoded.offsets[-1, 1])
        yield Unread("reply", originals(item, last - 1, last)[-1][1], len(reply), "too_long")


def _environment() -> dict[str, Any]:
    return {
        "onnxruntime": onnxruntime.__version__,
        "tokenizers": tokenizers.__version__,
        "numpy": np.__version__,
        "processor": processor_name(),
        "instructions": list(instructions()),
    }


def _shortest(value: np.float32) -> float:
    """The shortest decimals that give the same float32 back."""
    return float(str(value))
