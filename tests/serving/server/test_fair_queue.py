from __future__ import annotations

import asyncio
import contextlib
import threading
import time

import pytest

pytest.importorskip("uvicorn")

from tactful.server.fair_queue import (
    BatchLimits,
    DeadlineExceeded,
    Draining,
    FairQueue,
    QueueFull,
    TooManyTokens,
)


class Model:
    """Echoes items; holds a batch until it is let go, and remembers what it was given."""

    def __init__(self):
        self.batches = []
        self.started = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.held = False

    def __call__(self, items):
        self.batches.append(list(items))
        self.started.release()
        if self.held:
            assert self.go.acquire(timeout=30)
        if "broken" in items:
            raise RuntimeError("broken")
        return [item.upper() for item in items]


def limits(**changes):
    values = {
        "batch_tokens": 4,
        "gather_seconds": 0,
        "queue_tokens": 100,
        "deadline_seconds": 30,
        "at_once": 1,
    }
    return BatchLimits(**(values | changes))


def run(scenario, model=None, **changes):
    model = model or Model()

    async def main():
        queue = FairQueue(limits(**changes), lambda: model)
        queue.start()
        try:
            await asyncio.wait_for(scenario(queue, model), 60)
        finally:
            model.held = False
            model.go.release(100)
            await queue.close()

    asyncio.run(main())
    return model


async def busy(queue, model):
    """A batch is running and stays so until `model.go` is released."""
    model.held = True
    task = asyncio.create_task(queue.submit(["first"], [1]))
    await asyncio.to_thread(model.started.acquire)
    return task


def submit(queue, items, cost=1):
    return asyncio.create_task(queue.submit(items, [cost] * len(items)))


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


def test_concurrent_requests_share_a_batch_up_to_the_budget():
    async def scenario(queue, model):
        first = await busy(queue, model)
        others = [submit(queue, [f"r{i}"]) for i in range(6)]
        await settle()
        model.held = False
        model.go.release()
        assert await asyncio.gather(first, *others) == [["FIRST"], *([f"R{i}"] for i in range(6))]

    assert [len(batch) for batch in run(scenario).batches] == [1, 4, 2]


def test_an_idle_service_waits_a_moment_for_company():
    async def scenario(queue, model):
        one = submit(queue, ["a"])
        await settle()
        two = submit(queue, ["b"])
        await asyncio.gather(one, two)

    assert run(scenario, gather_seconds=0.5).batches == [["a", "b"]]


def test_a_full_batch_does_not_wait_for_company():
    async def scenario(queue, model):
        await queue.submit(list("abcd"), [1] * 4)

    assert run(scenario, gather_seconds=1000).batches == [list("abcd")]


def test_a_big_request_does_not_starve_single_ones():
    async def scenario(queue, model):
        first = await busy(queue, model)
        big = submit(queue, [f"big{i}" for i in range(40)])
        await settle()
        single = submit(queue, ["single"])
        await settle()
        model.held = False
        model.go.release()
        await asyncio.gather(first, big, single)

    batches = run(scenario).batches
    assert "single" in batches[1]
    assert [item for batch in batches for item in batch if item.startswith("big")] == [
        f"big{i}" for i in range(40)
    ]


def test_a_cancelled_request_is_dropped_before_it_costs_anything():
    async def scenario(queue, model):
        first = await busy(queue, model)
        gone, kept = submit(queue, ["gone", "gone"]), submit(queue, ["kept"])
        await settle()
        assert queue.waiting == 3
        gone.cancel()
        await settle()
        assert queue.waiting == 1
        model.go.release()
        model.held = False
        await asyncio.gather(first, kept)
        with pytest.raises(asyncio.CancelledError):
            await gone

    assert run(scenario).batches == [["first"], ["kept"]]


def test_what_waits_too_long_is_given_up_and_not_read():
    async def scenario(queue, model):
        first = await busy(queue, model)
        late = submit(queue, ["late"])
        await settle()
        with pytest.raises(DeadlineExceeded) as caught:
            await late
        assert caught.value.retry_after >= 1
        model.held = False
        model.go.release()
        with pytest.raises(DeadlineExceeded):
            await first
        answers = []
        for _ in range(100):  # on a machine that is busy even this one may come too late
            with contextlib.suppress(DeadlineExceeded):
                answers = await queue.submit(["next"], [1])
                break
        assert answers == ["NEXT"]

    batches = run(scenario, deadline_seconds=0.2).batches
    assert batches[0] == ["first"]
    assert ["late"] not in batches


def test_a_full_queue_refuses_at_once_and_keeps_a_quarter_for_single_replies():
    async def scenario(queue, model):
        first = await busy(queue, model)
        big = submit(queue, ["a", "b"], cost=30)
        await settle()
        with pytest.raises(QueueFull) as caught:
            await queue.submit(["c", "d"], [10, 10])
        assert caught.value.retry_after >= 1
        single = submit(queue, ["single"], cost=40)
        await settle()
        with pytest.raises(QueueFull):
            await queue.submit(["one more"], [1])
        model.held = False
        model.go.release()
        await asyncio.gather(first, big, single)
        assert queue.waiting == 0

    run(scenario)


class Slow(Model):
    def __call__(self, items):
        if "slow" in items:
            time.sleep(0.1)
        return super().__call__(items)


@pytest.mark.parametrize(("batches", "refused"), [(7, False), (8, True)])
def test_what_is_certain_to_be_late_is_refused_by_the_speed_of_several_batches(batches, refused):
    async def scenario(queue, model):
        for _ in range(batches):
            await queue.submit(["slow"], [1])
            assert model.started.acquire(timeout=30)
        first = await busy(queue, model)
        waiting = submit(queue, ["a"])
        await settle()
        late = submit(queue, ["late"], cost=90)  # 90 x 0.1 s
        await settle()
        model.held = False
        model.go.release()
        if refused:
            with pytest.raises(QueueFull, match=r"would take about .* s until .* deadline of 5 s"):
                await late
        else:
            assert await late == ["LATE"]
        assert await asyncio.gather(first, waiting) == [["FIRST"], ["A"]]

    # A first batch that is slow by itself says nothing of the next ones.
    run(scenario, Slow(), deadline_seconds=5)


def test_what_could_never_be_admitted_is_told_so():
    async def scenario(queue, model):
        with pytest.raises(TooManyTokens, match=r"about 76 tokens.* 75"):
            await queue.submit(["a", "b"], [38, 38])
        assert await queue.submit(["a"], [100]) == ["A"]

    run(scenario)


def test_a_failing_model_fails_those_who_asked_and_nobody_else():
    async def scenario(queue, model):
        with pytest.raises(RuntimeError):
            await queue.submit(["broken"], [1])
        assert await queue.submit(["fine"], [1]) == ["FINE"]

    run(scenario)


def test_closing_answers_everyone_who_waits():
    async def scenario(queue, model):
        first = await busy(queue, model)
        waiting = submit(queue, ["waiting"])
        await settle()
        closing = asyncio.create_task(queue.close())
        with pytest.raises(Draining):
            await waiting
        with pytest.raises(Draining):
            await first
        model.go.release()
        await closing
        with pytest.raises(Draining):
            await queue.submit(["late"], [1])

    run(scenario)


def test_one_request_is_read_by_one_model():
    old, new = Model(), Model()
    current = [old]

    async def main():
        queue = FairQueue(limits(), lambda: current[0])
        queue.start()
        first = await busy(queue, old)
        big = submit(queue, [f"b{i}" for i in range(6)])
        await settle()
        old.go.release()
        await asyncio.to_thread(old.started.acquire)  # its first part is being read
        current[0] = new
        later = submit(queue, ["later"])
        await settle()
        old.held = False
        old.go.release(5)
        await asyncio.gather(first, big, later)
        await queue.close()

    asyncio.run(main())
    assert [item for batch in old.batches for item in batch] == [
        "first",
        *(f"b{i}" for i in range(6)),
    ]
    assert new.batches == [["later"]]


def test_a_second_batch_runs_beside_the_first_and_keeps_the_order_of_a_request():
    async def scenario(queue, model):
        model.held = True
        big = submit(queue, [f"b{i}" for i in range(10)])
        for _ in range(2):
            await asyncio.to_thread(model.started.acquire)
        assert sorted(model.batches) == [["b0", "b1", "b2", "b3"], ["b4", "b5", "b6", "b7"]]
        await settle()
        assert len(model.batches) == 2  # no third one
        model.held = False
        model.go.release(2)
        assert await big == [f"B{i}" for i in range(10)]

    run(scenario, at_once=2)


def test_seconds_of_batches_side_by_side_count_once(monkeypatch):
    monkeypatch.setattr("tactful.server.fair_queue._FADING", 1.0)
    short = threading.Event()

    class Nested(Model):
        def __call__(self, items):
            if "long" in items:
                time.sleep(0.2)
                assert short.wait(30)  # the other batch ends inside of this one
                time.sleep(0.2)
            return list(items)

    async def scenario(queue, model):
        started = time.monotonic()
        long = submit(queue, ["long"] * 4)
        await asyncio.sleep(0.2)
        await submit(queue, ["short"] * 4)
        short.set()
        await long
        await settle()
        assert 0.4 <= queue._seconds_run <= time.monotonic() - started

    run(scenario, Nested(), at_once=2)


def test_nobody_gathers_while_a_batch_runs():
    async def scenario(queue, model):
        model.held = True
        first = submit(queue, ["a", "b", "c", "d"])  # a full batch
        await asyncio.to_thread(model.started.acquire)
        second = submit(queue, ["second"])
        await asyncio.to_thread(model.started.acquire)
        model.held = False
        model.go.release(2)
        assert await asyncio.gather(first, second) == [["A", "B", "C", "D"], ["SECOND"]]

    run(scenario, at_once=2, gather_seconds=3600)


def test_a_model_that_answers_too_little_fails_its_requests_at_once():
    class Short(Model):
        def __call__(self, items):
            return []

    async def scenario(queue, model):
        with pytest.raises(ValueError, match="zip"):
            await submit(queue, ["one", "two"])

    run(scenario, Short())


def test_closing_waits_for_every_batch_that_runs():
    async def scenario(queue, model):
        model.held = True
        jobs = [submit(queue, ["one"] * 4), submit(queue, ["two"] * 4)]
        for _ in range(2):
            await asyncio.to_thread(model.started.acquire)
        closing = asyncio.create_task(queue.close())
        await settle()
        assert not closing.done()
        model.go.release(2)
        await closing
        assert [type(job.exception()) for job in jobs] == [Draining, Draining]

    run(scenario, at_once=2)


def test_nothing_to_read_is_nothing():
    async def scenario(queue, model):
        assert await queue.submit([], []) == []

    assert run(scenario).batches == []
