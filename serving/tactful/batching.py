"""Labels a stream of replies in batches: lazily, in order, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from tactful.engine import Engine, Labelled
from tactful.errors import InputError
from tactful.readings import Reading

Pair = tuple[str, str | None]
Result = TypeVar("Result")

# Replies read ahead: enough to sort into batches of similar length, little to hold in memory.
READ_AHEAD = 256


def label_stream(
    engine: Engine,
    items: Iterable[Pair | InputError],
    to_reading: Callable[[str, Labelled], Reading],
) -> Iterator[Reading | InputError]:
    """Label items in their order; an item that is an error already is passed on.

    Args:
        engine: the model.
        items: (reply, context) pairs and errors; read at most `READ_AHEAD` ahead. What it raises
            comes after the results of what it gave.
        to_reading: from a reply and what the engine says of it.
    """
    source = iter(items)
    failure: Exception | None = None
    while failure is None:
        chunk: list[Pair | InputError] = []
        try:
            chunk.extend(islice(source, READ_AHEAD))
        except Exception as error:
            failure = error
        if not chunk:
            break
        yield from _label_chunk(engine, chunk, to_reading)
    if failure is not None:
        raise failure


def _label_chunk(
    engine: Engine,
    chunk: Sequence[Pair | InputError],
    to_reading: Callable[[str, Labelled], Reading],
) -> Iterator[Reading | InputError]:
    # Canned replies are common: each distinct pair is read once.
    distinct = list(dict.fromkeys(item for item in chunk if not isinstance(item, InputError)))
    labelled = dict(zip(distinct, engine.read(distinct), strict=True))
    readings: dict[Pair, Reading] = {}
    for item in chunk:
        if isinstance(item, InputError):
            yield item
            continue
        if item not in readings:
            readings[item] = to_reading(item[0], labelled.pop(item))
        yield readings[item]
