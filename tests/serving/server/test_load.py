"""Many clients at once: nobody gets anything but a reading or a 429, and memory stays flat.

A moment on a tiny model here; `make test-load` takes a minute on a real bundle and prints how
the throughput compares with `classify_many`.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import time
from collections import Counter
from pathlib import Path

import pytest

from tactful import Classifier

httpx = pytest.importorskip("httpx")

SECONDS = float(os.environ.get("LOAD_SECONDS", "1.5"))
BUNDLE = os.environ.get("LOAD_BUNDLE")
THREADS = int(os.environ.get("LOAD_THREADS", "1"))
CLIENTS, OVERLOAD = 64, 4
MOST_GROWTH = 96 * 2**20
ROOT = Path(__file__).resolve().parents[3]


def replies():
    lines = (ROOT / "data_cards/support_replies/validation.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line)["reply"] for line in lines[:512]]


def memory(running):
    with open(f"/proc/{running.process.pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def client(url, texts, end, seen):
    """One keep-alive connection that asks, reads the answer and asks again."""
    host, port = url.removeprefix("http://").split(":")
    writer = None
    while time.monotonic() < end:
        if writer is None:
            reader, writer = await asyncio.open_connection(host, int(port))
        body = json.dumps({"reply": next(texts)}).encode()
        head = b"POST /v1/label HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        started = time.monotonic()
        writer.write(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        answer = (await reader.readuntil(b"\r\n\r\n")).lower()
        status = int(answer.split()[1])
        length = int(answer.partition(b"content-length: ")[2].split(b"\r\n")[0])
        await reader.readexactly(length)
        seen.append((status, time.monotonic() - started))
        if status == 429:
            assert b"retry-after: " in answer
            await asyncio.sleep(0.02)  # sooner than it was told
        if b"connection: close" in answer:
            writer.close()
            writer = None
    if writer is not None:
        writer.close()


def load(running, clients, seconds):
    texts = replies()
    seen = []

    async def main():
        end = time.monotonic() + seconds
        shared = itertools.cycle(texts)
        await asyncio.gather(*(client(running.url, shared, end, seen) for _ in range(clients)))

    started = time.monotonic()
    asyncio.run(main())
    took = time.monotonic() - started
    statuses = Counter(status for status, _ in seen)
    times = sorted(t for status, t in seen if status == 200)
    refusals = sorted(t for status, t in seen if status == 429) or [0.0]
    figures = {
        "clients": clients,
        "statuses": dict(statuses),
        "readings a second": round(statuses[200] / took, 1),
        "p50 ms": round(times[len(times) // 2] * 1000),
        "p99 ms": round(times[int(len(times) * 0.99)] * 1000),
        "p50 ms of a 429": round(refusals[len(refusals) // 2] * 1000, 1),
    }
    return figures, set(statuses)


def test_load_and_overload(serve, sound_bundle):
    bundle = BUNDLE or sound_bundle
    alone = Classifier.load(bundle, threads=THREADS)
    started, count = time.monotonic(), 0
    for _ in alone.classify_many(itertools.cycle(replies())):
        count += 1
        if time.monotonic() - started > SECONDS:
            break
    rate = count / (time.monotonic() - started)
    print(f"\nclassify_many: {rate:.1f} readings a second")

    # A queue that 64 clients with replies of this length do not fill, and four times as many do.
    running = serve(bundle, "--max-queue-tokens", "6000", "--threads", str(THREADS))
    figures, statuses = load(running, CLIENTS, SECONDS)
    print(figures, f"{memory(running) / 2**20:.0f} MiB")
    assert 200 in statuses
    assert statuses <= {200, 429}
    before = memory(running)
    figures, statuses = load(running, CLIENTS * OVERLOAD, SECONDS)
    print(figures, f"{memory(running) / 2**20:.0f} MiB")
    assert 200 in statuses
    assert statuses <= {200, 429}
    assert memory(running) - before < MOST_GROWTH
    answer = httpx.post(f"{running.url}/v1/label", json={"reply": "sorry"}, timeout=60)
    assert answer.status_code == 200
    assert httpx.get(f"{running.url}/readyz").status_code == 200
    assert running.stop() == 0
