"""Gathers what concurrent requests ask into batches, fairly and in bounded memory.

Knows no HTTP and no model: a `Read` is any function from items to results. It runs in threads of
its own, a few batches at a time, so that the event loop is never blocked and the processors find
work while one batch ends and the next one begins; while they run, the next batch gathers.

Fairness is start-time fair queueing: every request has a turn, a virtual time that moves on by the
cost of each item that is taken from it, and the earliest turn is served next. A new one starts at
the present turn: a single reply waits for what runs and one item of a big request at most.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import logging
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from tactful.errors import TactfulError
from tactful.server.tracing import BatchTime, Timeline

_log = logging.getLogger("tactful.server")
Item = TypeVar("Item")
Result = TypeVar("Result")
Read = Callable[[Sequence[Item]], Sequence[Result]]

# A quarter of the queue is kept for requests of one item, so that big ones cannot keep them out.
SHARE_OF_BIG_ONES = 0.75
_FADING = 0.9  # what one more batch leaves of the weight of those before it
# Nobody is refused by the speed of fewer batches: the first ones may be many times as slow
# as those that follow.
_BATCHES_TO_JUDGE_BY = 8
_LONGEST_RETRY = 60


class Failure(TactfulError):  # noqa: N818 - outcomes, named as the documentation names them
    """A request that gets no reading; the message never quotes what was sent.

    Attributes:
        retry_after: seconds after which another try makes sense; None where none does.
    """

    def __init__(self, message: str, *, retry_after: int | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class QueueFull(Failure):
    """More is waiting than can be read within the deadline."""


class TooManyTokens(Failure):
    """One request is larger than what may wait at all: it could never be admitted."""


class DeadlineExceeded(Failure):
    """The request was not read in time."""


class Draining(Failure):
    """The service is about to end."""


@dataclass(frozen=True)
class BatchLimits:
    """How much is gathered and how much may wait.

    Attributes:
        batch_tokens: a batch is closed when its items cost this much; one item may exceed it.
        gather_seconds: how long the first item waits for company.
        queue_tokens: most that may wait, in tokens.
        deadline_seconds: after this a request is given up.
        at_once: how many batches run at the same time.
    """

    batch_tokens: int
    gather_seconds: float
    queue_tokens: int
    deadline_seconds: float
    at_once: int


@dataclass(eq=False)
class _Request(Generic[Item, Result]):
    items: Sequence[Item]
    costs: Sequence[int]
    future: asyncio.Future[None]
    turn: float
    waiting: int  # tokens of the items that are not taken yet
    timeline: Timeline
    taken: int = 0
    read: Read[Item, Result] | None = None  # fixed with the first item: one request, one model
    results: dict[int, Result] = field(default_factory=dict)  # by the index of the item


@dataclass(frozen=True)
class BatchReport:
    """One finished batch, for the metrics: its size in items and tokens, and its seconds."""

    items: int
    tokens: int
    seconds: float


class FairQueue(Generic[Item, Result]):
    """The queue before the model.

    Args:
        limits: how much is gathered and how much may wait.
        reader: gives what the next batch is read with.
        report: called after every batch, in the event loop.
    """

    def __init__(
        self,
        limits: BatchLimits,
        reader: Callable[[], Read[Item, Result]],
        report: Callable[[BatchReport], None] = lambda report: None,
    ) -> None:
        self._limits = limits
        self._reader = reader
        self._report = report
        self._turns: list[tuple[float, int, _Request[Item, Result]]] = []
        self._all: set[_Request[Item, Result]] = set()
        self._order = itertools.count()
        self._now = 0.0  # the virtual time
        self._since = 0.0  # when the oldest request that has not been looked at came
        self._running = 0  # tokens
        self._batches: set[asyncio.Task[None]] = set()
        self._free = asyncio.Semaphore(limits.at_once)
        self._counted = 0.0  # when the seconds of running batches were counted last
        self._tokens_run = self._seconds_run = 0.0  # sums in which older batches fade
        self._batches_run = 0
        self._some = asyncio.Event()
        self._enough = asyncio.Event()
        self._threads = ThreadPoolExecutor(limits.at_once, thread_name_prefix="tactful-inference")
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self.waiting = 0

    def start(self) -> None:
        """Begin to serve; needs a running event loop."""
        self._task = asyncio.create_task(self._serve())

    async def close(self) -> None:
        """Give up all that wait, finish the batches that run."""
        self._closed = True
        for request in list(self._all):
            self._fail(request, _ending())
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, *self._batches, return_exceptions=True)
        await asyncio.to_thread(self._threads.shutdown)

    async def submit(
        self, items: Sequence[Item], costs: Sequence[int], timeline: Timeline | None = None
    ) -> list[Result]:
        """Have some items read.

        A caller that is cancelled takes its items out of the queue before they cost anything.

        Args:
            items: what to read, in order.
            costs: tokens of each item.
            timeline: filled in on the way.

        Returns:
            One result for each item.

        Raises:
            TooManyTokens: they could never be admitted together.
            QueueFull: at once, where they would wait too long.
            DeadlineExceeded: they were admitted and not read in time.
            Draining: the queue was closed.
        """
        if self._closed:
            raise _ending()
        if not items:
            return []
        self._admit(len(items), sum(costs))
        loop = asyncio.get_running_loop()
        timeline = timeline or Timeline()
        timeline.queued = time.time_ns()
        request = _Request[Item, Result](
            items, costs, loop.create_future(), self._now, sum(costs), timeline
        )
        if not self.waiting:
            self._since = time.monotonic()
        self._all.add(request)
        heapq.heappush(self._turns, (request.turn, next(self._order), request))
        self._count(request.waiting)
        try:
            async with asyncio.timeout(self._limits.deadline_seconds):
                await request.future
        except TimeoutError:
            raise DeadlineExceeded(
                f"not read within {self._limits.deadline_seconds:g} s, the deadline of this "
                "service; try again later or with fewer items",
                retry_after=self._retry_after(),
            ) from None
        finally:
            self._drop(request)
        return [request.results[index] for index in range(len(items))]

    def _admit(self, items: int, tokens: int) -> None:
        limit = self._limits.queue_tokens
        if items > 1:
            limit = int(limit * SHARE_OF_BIG_ONES)
        if tokens > limit:
            raise TooManyTokens(
                f"this request has about {tokens} tokens, allowed in one of {items} items: "
                f"{limit}; send it in several parts"
            )
        if not self.waiting:
            return
        if self.waiting + tokens > limit:
            raise QueueFull(
                f"about {self.waiting} tokens are waiting already, allowed with this request: "
                f"{limit}; try again later",
                retry_after=self._retry_after(),
            )
        # Each other request is served no more than this one before this one is done.
        ahead = self._running + sum(min(request.waiting, tokens) for request in self._all)
        seconds = self._seconds(ahead + tokens)
        known = self._batches_run >= _BATCHES_TO_JUDGE_BY
        if known and seconds > self._limits.deadline_seconds:
            raise QueueFull(
                f"it would take about {seconds:.0f} s until this request is read, longer than "
                f"the deadline of {self._limits.deadline_seconds:g} s; try again later",
                retry_after=self._retry_after(),
            )

    def _seconds(self, tokens: int) -> float:
        """How long this machine will run some tokens, as fast as it was lately; 0 if unknown."""
        return tokens * self._seconds_run / self._tokens_run if self._tokens_run else 0.0

    def _retry_after(self) -> int:
        seconds = math.ceil(self._seconds(self.waiting + self._running))
        return min(max(1, seconds), _LONGEST_RETRY)

    def _count(self, tokens: int) -> None:
        self.waiting += tokens
        for event, least in ((self._some, 1), (self._enough, self._limits.batch_tokens)):
            if self.waiting >= least:
                event.set()
            else:
                event.clear()

    def _drop(self, request: _Request[Item, Result]) -> None:
        self._all.discard(request)
        self._count(-request.waiting)
        request.waiting = 0
        request.taken = len(request.items)  # what the heap still holds of it is skipped

    def _fail(self, request: _Request[Item, Result], error: BaseException) -> None:
        if not request.future.done():
            request.future.set_exception(error)
        self._drop(request)

    async def _serve(self) -> None:
        while True:
            await self._free.acquire()
            await self._some.wait()
            if not self._batches:
                with contextlib.suppress(TimeoutError):
                    left = self._since + self._limits.gather_seconds - time.monotonic()
                    async with asyncio.timeout(left):
                        await self._enough.wait()
            batch = self._take()
            self._since = 0.0  # what is left has waited: it does not wait for company again
            if batch:
                if not self._batches:
                    self._counted = time.monotonic()
                run = asyncio.create_task(self._run(batch))
                self._batches.add(run)
                run.add_done_callback(self._ended)
            else:
                self._free.release()

    def _ended(self, run: asyncio.Task[None]) -> None:
        self._batches.discard(run)
        self._free.release()
        if not run.cancelled() and (error := run.exception()) is not None:
            _log.error("unforeseen error", exc_info=error)

    def _take(self) -> list[tuple[_Request[Item, Result], int]]:
        """The next batch: requests in the order of their turns, with the indices of their items."""
        batch: list[tuple[_Request[Item, Result], int]] = []
        tokens = 0
        read = self._reader()
        while self._turns:
            self._now, _, request = self._turns[0]
            if request.taken == len(request.items):  # dropped while it waited
                heapq.heappop(self._turns)
                continue
            cost = request.costs[request.taken]
            if batch and tokens + cost > self._limits.batch_tokens:
                break
            request.read = request.read or read
            request.timeline.taken = request.timeline.taken or time.time_ns()
            batch.append((request, request.taken))
            tokens += cost
            request.taken += 1
            request.turn += cost
            request.waiting -= cost
            if request.taken < len(request.items):
                heapq.heapreplace(self._turns, (request.turn, next(self._order), request))
            else:
                heapq.heappop(self._turns)
        self._running += tokens
        self._count(-tokens)
        return batch

    async def _run(self, batch: Sequence[tuple[_Request[Item, Result], int]]) -> None:
        by_reader: dict[int, list[tuple[_Request[Item, Result], int]]] = {}
        for request, index in batch:
            by_reader.setdefault(id(request.read), []).append((request, index))
        loop = asyncio.get_running_loop()
        started, tokens = time.monotonic(), sum(request.costs[index] for request, index in batch)
        began = time.time_ns()
        try:
            for entries in by_reader.values():
                read = entries[0][0].read
                assert read is not None  # set when the item was taken
                items = [request.items[index] for request, index in entries]
                try:
                    results = await loop.run_in_executor(self._threads, read, items)
                    took = BatchTime(began, time.time_ns(), len(batch), tokens)
                    for request in {request for request, _ in entries}:
                        request.timeline.batches.append(took)
                    for (request, index), result in zip(entries, results, strict=True):
                        request.results[index] = result
                except Exception as error:  # whatever it is, those who wait must learn of it
                    for request, _ in entries:
                        self._fail(request, error)
                    continue
                for request, _ in entries:
                    if len(request.results) == len(request.items) and not request.future.done():
                        request.future.set_result(None)
        finally:
            self._running -= tokens
        ended = time.monotonic()
        # Of batches side by side each second counts once, in the one that ends next.
        own, self._counted = ended - self._counted, ended
        self._tokens_run = self._tokens_run * _FADING + tokens
        self._seconds_run = self._seconds_run * _FADING + own
        self._batches_run += 1
        self._report(BatchReport(len(batch), tokens, ended - started))


def _ending() -> Draining:
    return Draining("the service is ending", retry_after=1)
