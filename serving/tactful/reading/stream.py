"""Labels a stream of replies in batches: lazily, in order, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from tactful.errors import InputError
from tactful.reading.engine import Engine, Labelled
from tactful.reading.readings import Reading

Pair = tuple[str, str | None]

# Replies in one chunk: enough to sort into batches of like lengths, little to hold in memory.
CHUNK = 256
# Chunks on their way: one is run while the next one is read and tokenised.
_UNDER_WAY = 2
READ_AHEAD = _UNDER_WAY * CHUNK
"""Most replies that are read before the first reading is given."""


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
    chunks: deque[_Chunk] = deque()
    failure: Exception | None = None
    try:
        while True:
            taken: list[Pair | InputError] = []
            try:
                taken.extend(islice(source, CHUNK if failure is None else 0))
            except Exception as error:
                failure = error
            if taken:
                chunks.append(_Chunk(engine, taken))
            if not chunks:
                break
            if len(chunks) == _UNDER_WAY or not taken:
                yield from chunks.popleft().readings(to_reading)
    finally:
        for chunk in chunks:
            chunk.cancel()
    if failure is not None:
        raise failure


class _Chunk:
    """Some items on their way; each distinct pair is read once, for canned replies are common."""

    def __init__(self, engine: Engine, items: Sequence[Pair | InputError]) -> None:
        self._items = items
        self._distinct = list(
            dict.fromkeys(item for item in items if not isinstance(item, InputError))
        )
        self._job = engine.start(self._distinct)

    def readings(
        self, to_reading: Callable[[str, Labelled], Reading]
    ) -> Iterator[Reading | InputError]:
        labelled = dict(zip(self._distinct, self._job.result(), strict=True))
        readings: dict[Pair, Reading] = {}
        for item in self._items:
            if isinstance(item, InputError):
                yield item
                continue
            if item not in readings:
                readings[item] = to_reading(item[0], labelled.pop(item))
            yield readings[item]

    def cancel(self) -> None:
        self._job.cancel()
