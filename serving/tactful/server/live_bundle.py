"""The core of the service: one bundle at a time, its queue, and whether it is ready.

Knows no HTTP. What is refused is a `Failure`, what cannot be read an `InputError` in its place.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from tactful.classifier import Classifier, readable_or_error
from tactful.errors import InputError
from tactful.own_words.formats import FORMATS
from tactful.reading.decision_receipt import Receipt
from tactful.reading.encoding import SPECIAL_TOKENS, EncodingLimits
from tactful.reading.engine import Readable, text_of
from tactful.reading.readings import Reading
from tactful.server.fair_queue import BatchLimits, Draining, Failure, FairQueue
from tactful.server.telemetry import LOGGER, ServiceMetrics
from tactful.server.tracing import Timeline, Tracing

Outcome = Reading | Receipt | InputError
Item = tuple[object, object, object]
"""Reply, context and format as they were sent."""
_Asked = tuple[Readable, bool]  # whether a receipt is wanted
_BYTES_PER_TOKEN = 4
_LARGE = 2**16  # characters; more are looked through in a thread, for it takes milliseconds
_log = logging.getLogger(LOGGER)


class NotReady(Failure):
    """No bundle has been loaded and verified yet."""


@dataclass(frozen=True, eq=False)
class _Loaded:
    address: str  # as it was given: a link may point elsewhere by the next reload
    classifier: Classifier

    def __call__(self, asked: Sequence[_Asked]) -> list[Outcome]:
        # Prepared already: what is still a pair is to be read as it stands.
        plain = [item for item, explained in asked if not explained]
        readings = iter(self.classifier.classify_many(plain, errors="return", format="text"))
        return [
            self.classifier.explain_prepared(item) if explained else next(readings)
            for item, explained in asked
        ]


class LiveBundle:
    """Reads replies with one bundle, which can be exchanged while it serves.

    Args:
        load: from a bundle's address to a verified classifier; called in a thread.
        limits: of the queue.
        max_chars: longest reply and longest context, in code points.
        metrics: are told what happens, in the event loop.
        tracing: is told what became of a request in the queue.
    """

    def __init__(
        self,
        load: Callable[[str], Classifier],
        limits: BatchLimits,
        *,
        max_chars: int,
        metrics: ServiceMetrics,
        tracing: Tracing,
    ) -> None:
        self._load = load
        self._tracing = tracing
        self._max_chars = max_chars
        self._metrics = metrics
        self._loaded: _Loaded | None = None
        self._loading = asyncio.Lock()
        self._queue: FairQueue[_Asked, Outcome] = FairQueue(limits, self._current, metrics.ran)
        self.draining = False

    @property
    def classifier(self) -> Classifier:
        """What reads now.

        Raises:
            NotReady: nothing has been loaded yet.
        """
        return self._current().classifier

    @property
    def ready(self) -> bool:
        """Whether a bundle was verified on this machine and requests are taken."""
        return self._loaded is not None and not self.draining

    def check_ready(self) -> None:
        """Nothing where requests are taken.

        Raises:
            NotReady: no bundle has been loaded yet.
            Draining: the service is about to end.
        """
        if self.draining:
            raise Draining("this service is ending; ask another one", retry_after=1)
        self._current()

    @property
    def waiting_tokens(self) -> int:
        """The depth of the queue."""
        return self._queue.waiting

    async def start(self, address: str) -> None:
        """Load the first bundle and begin to serve.

        Raises:
            TactfulError: it cannot be used.
        """
        await self.reload(address)
        self._queue.start()

    async def reload(self, address: str | None = None) -> tuple[str | None, str]:
        """Load a bundle beside the one that serves, verify it and put it in its place.

        Requests that have begun are finished by the bundle that began them.

        Args:
            address: of the bundle; without it, of the one that serves.

        Returns:
            The ids of the bundle before and of the one now.

        Raises:
            TactfulError: it cannot be used; the old one goes on serving.
        """
        async with self._loading:
            old = self._loaded
            if address is None:
                address = self._current().address
            try:
                classifier = await asyncio.to_thread(self._load, address)
            except Exception:
                self._metrics.reload_failed()
                raise
            self._loaded = _Loaded(address, classifier)
            bundle = classifier.bundle
            tasks = {task.name: task.names for task in bundle.heads.tasks}
            self._metrics.loaded(bundle.id, tasks)
            before = old.classifier.bundle.id if old else None
            _log.info("bundle loaded", extra={"bundle": bundle.id, "previous": before})
            return before, bundle.id

    async def label(
        self, items: Sequence[Item | InputError], *, explain: bool = False
    ) -> list[Outcome]:
        """Read some replies.

        Args:
            items: reply, context and format of each; an error stays in its place.
            explain: whether receipts are wanted in the place of readings; each is read alone.

        Returns:
            For each a reading or its receipt, or the `InputError` that says why there is none.

        Raises:
            Failure: the request as a whole gets no answer now.
        """
        limits = self.classifier.bundle.heads.limits
        if sum(len(item[0]) for item in items if _has_text(item)) > _LARGE:
            checked = await asyncio.to_thread(self._all_checked, items)
        else:
            checked = self._all_checked(items)
        read = [item for item in checked if not isinstance(item, InputError)]
        costs = [estimate_tokens(*text_of(item), limits) for item in read]
        timeline = Timeline()
        try:
            results = iter(
                await self._queue.submit([(item, explain) for item in read], costs, timeline)
            )
        finally:
            self._tracing.queued(timeline)
        answers = [item if isinstance(item, InputError) else next(results) for item in checked]
        for answer in answers:
            if not isinstance(answer, InputError):
                self._metrics.read(answer.reading if isinstance(answer, Receipt) else answer)
        return answers

    async def close(self) -> None:
        """End; whoever still waits gets `Draining`."""
        self.draining = True
        await self._queue.close()

    def _current(self) -> _Loaded:
        if self._loaded is None:
            raise NotReady("the bundle is being loaded and verified", retry_after=1)
        return self._loaded

    def _all_checked(self, items: Sequence[Item | InputError]) -> list[Readable | InputError]:
        return [item if isinstance(item, InputError) else self._checked(*item) for item in items]

    def _checked(self, reply: object, context: object, format: object) -> Readable | InputError:
        # Characters are counted before anything grows with them.
        for name, text in (("reply", reply), ("context", context)):
            if isinstance(text, str) and len(text) > self._max_chars:
                return InputError(
                    f"{name}_too_long",
                    f"the {name} has {len(text)} characters, allowed: {self._max_chars}",
                )
        if format not in FORMATS:
            # Not quoted: it is the sender's text.
            allowed = ", ".join(FORMATS)
            return InputError("format_unknown", f"the format must be one of {allowed}")
        return readable_or_error((reply, context), format=format)


def _has_text(item: object) -> TypeGuard[tuple[str, object, object]]:
    return isinstance(item, tuple) and isinstance(item[0], str)


def bundle_info(classifier: Classifier) -> dict[str, Any]:
    """What a caller may want to know of the bundle that reads: manifest, labels, thresholds."""
    bundle = classifier.bundle
    heads = bundle.heads
    return {
        "bundle": bundle.id,
        "manifest": dict(bundle.manifest),
        "kinds": {task.name: task.kind for task in heads.tasks},
        "labels": {task.name: dict(task.labels) for task in heads.tasks},
        "thresholds": {
            head.task.name: {
                label: float(str(threshold))  # the shortest decimals of the float32
                for label, threshold in zip(head.task.names, head.thresholds, strict=True)
            }
            for head in heads.heads
            if head.thresholds is not None
        },
        "limits": {
            "max_tokens": heads.limits.max_tokens,
            "max_windows": heads.limits.max_windows,
            "use_context": heads.limits.use_context,
        },
    }


def estimate_tokens(reply: str, context: str | None, limits: EncodingLimits) -> int:
    """About how many tokens the model will run for one reply.

    The queue must refuse at once, and tokenising is itself work that grows with the text; so this
    counts bytes. Four of English are about one token of the usual encoders; scripts that take more
    tokens a character take more bytes too. What the model never reads costs nothing: a context is
    cut to the room beside the reply, and a reply to its windows.

    Args:
        reply: the text.
        context: what the customer said before.
        limits: of the bundle's encoding.
    """
    size = _tokens(reply)
    if size <= limits.capacity:
        context_size = _tokens(context) if context and limits.use_context else 0
        return min(size + context_size, limits.capacity) + SPECIAL_TOKENS
    windows = 1 + -(-(size - limits.capacity) // limits.stride)
    return min(limits.max_windows, windows) * limits.max_tokens


def _tokens(text: str) -> int:
    # A lone surrogate has no UTF-8, but is a text that can be read.
    return -(-len(text.encode("utf-8", "surrogatepass")) // _BYTES_PER_TOKEN)
