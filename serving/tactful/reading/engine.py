"""One model with its tokenizer and its heads: from texts to readings, one or an endless stream."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from functools import cached_property
from itertools import compress, islice

import numpy as np
import numpy.typing as npt

from tactful.errors import InputError, ModelError
from tactful.own_words.preparation import OwnWords
from tactful.own_words.traced_text import Skipped
from tactful.reading.batches import Pass, RowOutput
from tactful.reading.decisions import Floats, Heads, calibrated_scores, decide, sigmoid
from tactful.reading.encoding import Pair, ReplyEncoding
from tactful.reading.evidence import EvidenceFinder, trimmed
from tactful.reading.language_doubt import is_doubtful
from tactful.reading.neighbours import Neighbours
from tactful.reading.processor import available_cpus
from tactful.reading.readings import Evidence, LabelReading, Reading
from tactful.reading.session import Session, Workers

Readable = Pair | OwnWords
"""A reply that is read as it stands, with its context; or one of which something was left out."""

SCORE_DECIMALS = 6  # finer than fp32 results agree between processors
# Replies in one chunk: enough to sort into batches of like lengths, little to hold in memory.
CHUNK = 256
# Chunks on their way: one is run while the next one is read and tokenised.
_UNDER_WAY = 2
READ_AHEAD = _UNDER_WAY * CHUNK
"""Most replies that are read before the first reading is given."""
_PROBE: list[Pair] = [("a reply", None), ("another reply of more words", "a context")]


class Engine:
    """Labels replies; safe to use from several threads.

    Args:
        heads: the content of ``labels.json``.
        tokenizer: the bytes of ``tokenizer.json``.
        model: the bytes of ``model.onnx``.
        bundle: the id of the bundle that it is of, for readings; empty where there is none.
        threads: threads of one run; by default the processors this process may use.

    Attributes:
        encoding: how texts become inputs.

    Raises:
        ValueError: names the file that cannot be used or that does not fit the others.
    """

    def __init__(
        self,
        heads: Heads,
        tokenizer: bytes,
        model: bytes,
        *,
        bundle: str = "",
        threads: int | None = None,
    ) -> None:
        self.heads = heads
        self.bundle = bundle
        self.threads = available_cpus() if threads is None else threads
        try:
            self.encoding = ReplyEncoding(tokenizer, heads.limits)
        except ValueError as error:
            raise ValueError(f"tokenizer.json: {error}") from error
        try:
            self._session = Session(model, threads=self.threads)
            self._probe()
        except ValueError as error:
            raise ValueError(f"model.onnx: {error}") from error
        self._workers = Workers(model, threads=self.threads)
        self._process = os.getpid()

    def _probe(self) -> None:
        """Run the extremes, so that no graph, tokenizer and limits that disagree go into service:
        several windows, padding and none, the longest one and the largest token id.
        """
        windows = [row.windows[0] for row in self.encoding.encode(_PROBE)]
        longest = self.encoding.collate(windows, length=self.heads.limits.max_tokens)
        longest.input_ids[0, -1] = self.encoding.largest_id
        longest.attention_mask[:] = 1
        for batch in (self.encoding.collate(windows), longest):
            self._session.check(batch, self.heads.tasks.size)

    def read(self, items: Sequence[Readable]) -> list[Reading]:
        """Read some replies, in order: one batch after the other, all threads in each.

        Raises:
            ModelError: the model cannot run them.
        """
        return list(readings_of(self.outputs(items), items, self.heads, self.bundle))

    def outputs(self, items: Sequence[Readable]) -> list[RowOutput]:
        """What the model says of some replies before anything is decided; as `read` runs them.

        Raises:
            ModelError: the model cannot run them.
        """
        rows = self._pass(items)
        rows.run_all(self._session)
        return rows.outputs()

    @cached_property
    def neighbours(self) -> Neighbours | None:
        """The training replies that the model's file keeps; None where it keeps none.

        Raises:
            ModelError: they are damaged.
        """
        return Neighbours.from_metadata(self._session.metadata, self.heads.tasks.size)

    def stream(self, items: Iterable[Readable | InputError]) -> Iterator[Reading | InputError]:
        """Read any number of replies: lazily, in order, in bounded memory.

        Args:
            items: replies, and errors, which are passed on; read at most `READ_AHEAD` ahead. What
                it raises comes after the results of what it gave.

        Raises:
            ModelError: the model cannot run them.
        """
        source = iter(items)
        chunks: deque[Chunk] = deque()
        failure: Exception | None = None
        try:
            while True:
                taken: list[Readable | InputError] = []
                try:
                    taken.extend(islice(source, CHUNK if failure is None else 0))
                except Exception as error:
                    failure = error
                if taken:
                    chunks.append(self.start(taken))
                if not chunks:
                    break
                if len(chunks) == _UNDER_WAY or not taken:
                    yield from chunks.popleft().results()
        finally:
            for chunk in chunks:
                chunk.cancel()
        if failure is not None:
            raise failure

    def start(self, items: Sequence[Readable | InputError]) -> Chunk:
        """Tokenise some items and begin to read them, so that the caller can prepare the next ones.

        Several batches run side by side, each in a thread of its own; a single one waits for
        `Chunk.results`, which runs it with all threads together.

        Raises:
            ModelError: there is no memory for the threads' session.
        """
        # Each distinct one is read once, for canned replies are common.
        distinct = list(dict.fromkeys(item for item in items if not isinstance(item, InputError)))
        rows = self._pass(distinct)
        batches = self._workers.run(rows) if len(rows) > 1 else []

        def readings() -> Iterator[Reading]:
            if not batches:
                rows.run_all(self._session)
            for batch in batches:
                batch.result()
            yield from readings_of(rows.outputs(), distinct, self.heads, self.bundle)

        return Chunk(items, batches, readings())

    def _pass(self, items: Sequence[Readable]) -> Pass:
        if os.getpid() != self._process:
            # The threads of a session are not in a forked child: it would wait for them for ever.
            raise ModelError(
                "a classifier cannot be used in a process forked from the one that loaded it; "
                "load it there, or start processes by 'spawn' or 'forkserver'"
            )
        encoded = self.encoding.encode([text_of(item) for item in items])
        return Pass(encoded, self.encoding, self.heads.tasks)


class Chunk:
    """Some items on their way through an engine; see `Engine.start`.

    Args:
        items: replies and errors.
        batches: those that run.
        readings: one for each distinct reply, in the order of their first appearance; waits for
            the batches.
    """

    def __init__(
        self,
        items: Sequence[Readable | InputError],
        batches: Sequence[Future[None]],
        readings: Iterator[Reading],
    ) -> None:
        self._items = items
        self.batches = batches
        self._readings = readings

    def results(self) -> Iterator[Reading | InputError]:
        """For each item its reading, or the error that it is.

        Raises:
            ModelError: the model cannot run them.
        """
        known: dict[Readable, Reading] = {}
        try:
            for item in self._items:
                if isinstance(item, InputError):
                    yield item
                    continue
                if item not in known:
                    known[item] = next(self._readings)
                yield known[item]
        finally:
            self.cancel()

    def cancel(self) -> None:
        """Give up the batches that have not begun to run."""
        for batch in self.batches:
            batch.cancel()


def readings_of(
    outputs: Sequence[RowOutput], items: Sequence[Readable], heads: Heads, bundle: str
) -> Iterator[Reading]:
    """Calibrate, decide and give names to what a model says; evidence only for what was decided.

    Args:
        outputs: what the model says of each reply.
        items: the replies.
        heads: calibration and thresholds.
        bundle: the id that the readings name.
    """
    if not outputs:
        return
    scores = calibrated_scores(np.stack([output.logits for output in outputs]), heads)
    rows = zip(outputs, items, scores, decide(scores, heads), strict=True)
    for output, item, row_scores, decisions in rows:
        yield _reading(output, item, row_scores, decisions, heads, bundle)


def text_of(item: Readable) -> Pair:
    """What is read of a reply, and its context."""
    return (item.traced.text, item.context) if isinstance(item, OwnWords) else item


def originals(item: Readable, start: int, end: int) -> list[tuple[int, int]]:
    """Where a stretch of what is read stands in the reply: in parts around what was left out."""
    return item.traced.originals(start, end) if isinstance(item, OwnWords) else [(start, end)]


def _reading(
    output: RowOutput,
    item: Readable,
    row_scores: Floats,
    decisions: npt.NDArray[np.bool_],
    heads: Heads,
    bundle: str,
) -> Reading:
    encoded = output.encoded
    text, _ = text_of(item)
    finder = EvidenceFinder(text, encoded)
    scores: dict[str, dict[str, float]] = {}
    labels: dict[str, tuple[LabelReading, ...] | LabelReading] = {}
    for head in heads.heads:
        name, names, at = head.task.name, head.task.names, heads.tasks.slices[head.task.name]
        values = [round(value, SCORE_DECIMALS) for value in row_scores[at].tolist()]
        scores[name] = dict(zip(names, values, strict=True))
        decided = list(compress(range(len(names)), decisions[at].tolist()))
        found: list[list[tuple[int, int]]] = [[] for _ in decided]
        if head.evidence_thresholds is not None:
            columns = output.token_scores[:, at].T[decided]
            thresholds = head.evidence_thresholds[decided].tolist()
            found = list(map(finder.spans, sigmoid(columns), thresholds))
        read = tuple(
            LabelReading(
                names[index],
                values[index],
                tuple(evidence for start, end in spans for evidence in _evidence(item, start, end)),
            )
            for index, spans in zip(decided, found, strict=True)
        )
        labels[name] = read if head.task.kind == "multilabel" else read[0]
    skipped: tuple[Skipped, ...] = item.skipped if isinstance(item, OwnWords) else ()
    return Reading(
        labels, scores, encoded.truncated, bundle, skipped, language_doubtful=is_doubtful(text)
    )


def _evidence(item: Readable, start: int, end: int) -> list[Evidence]:
    if not isinstance(item, OwnWords):
        return [Evidence(start, end, item[0][start:end])]
    parts = (trimmed(item.reply, *place) for place in originals(item, start, end))
    return [Evidence(*part, item.reply[slice(*part)]) for part in parts if part is not None]
