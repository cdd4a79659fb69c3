"""The core of the service: one bundle at a time, its queue, and whether it is ready.

Knows no HTTP. What is refused is a `Failure`, what cannot be read an `InputError` in its place.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tactful.classifier import Classifier, pair_or_error
from tactful.errors import InputError
from tactful.reading.readings import Reading
from tactful.reading.stream import Pair
from tactful.server.batcher import Batcher, BatchLimits, BatchReport
from tactful.server.failures import Draining, NotReady
from tactful.server.tokens import estimate_tokens

Result = Reading | InputError
Load = Callable[[str], Classifier]
_log = logging.getLogger("tactful.server")


class Watcher(Protocol):
    """Who is told what happens; the metrics are one."""

    def read(self, reading: Reading) -> None:
        """A reply was read."""

    def ran(self, report: BatchReport) -> None:
        """A batch was run."""

    def loaded(self, bundle: str, tasks: Mapping[str, Sequence[str]]) -> None:
        """A bundle serves from now on; task name to labels."""

    def reload_failed(self) -> None:
        """A bundle was refused, the old one stays."""


@dataclass(frozen=True, eq=False)
class _Loaded:
    address: str
    classifier: Classifier

    def __call__(self, pairs: Sequence[Pair]) -> list[Result]:
        return list(self.classifier.classify_many(pairs, errors="return"))


class Service:
    """Reads replies with one bundle, which can be exchanged while it serves.

    Args:
        load: from a bundle's address to a verified classifier; called in a thread.
        limits: of the queue.
        max_chars: longest reply and longest context, in code points.
        watcher: is told what happens, in the event loop.
    """

    def __init__(
        self, load: Load, limits: BatchLimits, *, max_chars: int, watcher: Watcher
    ) -> None:
        self._load = load
        self._max_chars = max_chars
        self._watcher = watcher
        self._loaded: _Loaded | None = None
        self._loading = asyncio.Lock()
        self._batcher: Batcher[Pair, Result] = Batcher(limits, self._model, watcher.ran)
        self.draining = False

    @property
    def classifier(self) -> Classifier:
        """What reads now.

        Raises:
            NotReady: nothing has been loaded yet.
        """
        return self._model().classifier

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
        self._model()

    @property
    def waiting_tokens(self) -> int:
        """The depth of the queue."""
        return self._batcher.waiting

    async def start(self, address: str) -> None:
        """Load the first bundle and begin to serve.

        Raises:
            TactfulError: it cannot be used.
        """
        await self.reload(address)
        self._batcher.start()

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
                address = self._model().address
            try:
                classifier = await asyncio.to_thread(self._load, address)
            except Exception:
                self._watcher.reload_failed()
                raise
            self._loaded = _Loaded(address, classifier)
            bundle = classifier.bundle
            tasks = {task.name: task.names for task in bundle.heads.tasks}
            self._watcher.loaded(bundle.id, tasks)
            before = old.classifier.bundle.id if old else None
            _log.info("bundle loaded", extra={"bundle": bundle.id, "previous": before})
            return before, bundle.id

    async def label(self, items: Sequence[tuple[object, object] | InputError]) -> list[Result]:
        """Read some replies.

        Args:
            items: reply and context of each; an error stays in its place.

        Returns:
            For each a reading, or the `InputError` that says why there is none.

        Raises:
            Failure: the request as a whole gets no answer now.
        """
        self.check_ready()
        limits = self.classifier.bundle.heads.limits
        checked = [item if isinstance(item, InputError) else self._checked(*item) for item in items]
        pairs = [item for item in checked if not isinstance(item, InputError)]
        costs = [estimate_tokens(*pair, limits) for pair in pairs]
        results = iter(await self._batcher.submit(pairs, costs))
        answers = [item if isinstance(item, InputError) else next(results) for item in checked]
        for answer in answers:
            if isinstance(answer, Reading):
                self._watcher.read(answer)
        return answers

    async def close(self) -> None:
        """End; whoever still waits gets `Draining`."""
        self.draining = True
        await self._batcher.close()

    def _model(self) -> _Loaded:
        if self._loaded is None:
            raise NotReady("the bundle is being loaded and verified", retry_after=1)
        return self._loaded

    def _checked(self, reply: object, context: object) -> Pair | InputError:
        # Characters are counted before anything grows with them.
        for name, text in (("reply", reply), ("context", context)):
            if isinstance(text, str) and len(text) > self._max_chars:
                return InputError(
                    f"{name}_too_long",
                    f"the {name} has {len(text)} characters, allowed: {self._max_chars}",
                )
        return pair_or_error((reply, context))


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
