"""Bodies that nobody should send: never a 5xx, and the memory stays as it was.

Two hundred of them here; `make test-service` sends 5,000.
"""

from __future__ import annotations

import json
import os
import random
import socket
from collections import Counter

import pytest

httpx = pytest.importorskip("httpx")

INFER = "/v2/models/tiny/infer"
BODIES = int(os.environ.get("HOSTILE_BODIES", "200"))
MOST_GROWTH = 64 * 2**20  # far below what a leak of a few of these bodies would take
ALLOWED = {200, 400, 404, 405, 408, 413, 415, 422, 429}


def memory(running):
    with open(f"/proc/{running.process.pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def value(rng, depth=0):
    kinds = ["text", "number", "null", "bool", "surrogate", "controls", "huge number"]
    kind = rng.choice(kinds if depth > 3 else [*kinds, "list", "object"])
    if kind == "list":
        return [value(rng, depth + 1) for _ in range(rng.randrange(4))]
    if kind == "object":
        return {key(rng): value(rng, depth + 1) for _ in range(rng.randrange(4))}
    return {
        "text": "sorry " * rng.choice([0, 1, 50, 4000]),
        "number": rng.choice([0, -1, 1e308, 5e-324, 2**63]),
        "null": None,
        "bool": rng.random() < 0.5,
        "surrogate": "\ud800sorry\udfff" * rng.randrange(1, 20),
        "controls": "".join(map(chr, range(32))) + "\u202e\u2066\ufeff\u0000" * 5,
        "huge number": 10 ** rng.choice([400, 4000]),
    }[kind]


KEYS = ["reply", "context", "items", "", "__proto__", "\ud800", "reply\u0000"]
OF_TENSORS = ["inputs", "outputs", "parameters", "name", "datatype", "shape", "data", "id"]


def key(rng):
    return rng.choice([*KEYS, *OF_TENSORS])


def tensors(rng):
    """A request for inference in which one thing or the other is wrong, and bytes behind it."""
    sizes = rng.choice([[1], [2, 1], [10**30], [-1], [[]], [0], [1, 1, 1]])
    one = {"name": "reply", "datatype": "BYTES", "shape": sizes, "data": ["sorry"]}
    one |= rng.choice([{}, {"parameters": {"binary_data_size": rng.choice([0, 5, 2**63, -1])}}])
    one |= {} if rng.random() < 0.3 else {key(rng): value(rng)}
    if "parameters" in one and rng.random() < 0.8:
        one.pop("data", None)
    outputs = [{"name": rng.choice(["tone", "scores.tone", value(rng)])}]
    document = {"inputs": [one] * rng.choice([1, 1, 2, 900]), "outputs": outputs}
    binary = rng.choice([b"", b"\x01\0\0\0a", b"\xff" * 9, os.urandom(rng.randrange(900))])
    return json.dumps(document).encode(), binary


def body(rng):
    kind = rng.randrange(9)
    if kind == 0:
        return os.urandom(rng.randrange(1, 3000))
    if kind == 1:
        return rng.choice([b"[", b'{"reply":', b'{"items":[', b"[[],"]) * rng.randrange(1, 1500)
    if kind == 2:
        return b'{"reply": "' + rng.choice([b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\x00"]) + b'"}'
    if kind == 3:
        return b'{"reply": "' + b"a" * rng.choice([100, 30_000, 300_000]) + b'"}'
    if kind == 4:
        return b'{"reply": ' + rng.choice([b"NaN", b"1e999", b"-", b"9" * 6000, b"'a'"]) + b"}"
    if kind == 5:
        return json.dumps({"items": [value(rng) for _ in range(rng.randrange(30))]}).encode()
    if kind == 6:
        valid = json.dumps({"reply": "sorry", "context": "a"}).encode()
        return valid[: rng.randrange(len(valid))]
    return json.dumps(
        {key(rng): value(rng) for _ in range(rng.randrange(4))} if kind == 7 else value(rng)
    ).encode()


def raw(running, rng):
    """One connection that does not keep to HTTP, or not to what it announced."""
    host, port = running.url.removeprefix("http://").split(":")
    head = b"POST /v1/label HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    sent = rng.choice(
        [
            head + b"Content-Length: 99999999999999999999\r\n\r\n{}",
            head + b"Content-Length: -1\r\n\r\n{}",
            head + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            head + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFF\r\n{",
            head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
            head + b"Expect: 100-continue\r\nContent-Length: 30000000\r\n\r\n",
            head + b"X: " + b"a" * 100_000 + b"\r\n\r\n",
            head + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: a\r\n" * 100_000,
            head + b"Transfer-Encoding: chunked\r\n\r\n" + b"1;" + b"a" * 100_000,
            b"\x16\x03\x01\x02\x00\x01\x00" + os.urandom(200),
            b"GET /\xff\xfe HTTP/1.1\r\n\r\n",
            b"GET /%ff%00/../.. HTTP/1.1\r\nHost: a\r\n\r\n",
            b"\r\n" * 50,
        ]
    )
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        try:
            connection.sendall(sent)
            answer = connection.recv(100)
        except ConnectionError:
            return None
    return int(answer.split()[1]) if answer.startswith(b"HTTP/1.1 ") else None


def test_hostile_bodies_never_give_a_5xx_and_cost_no_memory(serve, sound_bundle):
    running = serve(
        sound_bundle,
        *("--max-body-bytes", "100000", "--max-chars", "5000"),
        *("--receive-ms", "1000"),
    )
    rng = random.Random(20261122)
    statuses, before = Counter(), 0
    with httpx.Client(base_url=running.url, timeout=60) as client:
        for number in range(BODIES):
            if number == BODIES // 2:  # caches and pools have grown by now
                before = memory(running)
            if number % 50 == 49:
                statuses[raw(running, rng)] += 1
                continue
            kind = rng.choice(["application/json"] * 9 + ["text/plain"])
            path = rng.choice(["/v1/label"] * 6 + [INFER] * 3 + ["/v1/admin/reload"])
            method = rng.choice(["POST"] * 19 + ["PUT"])
            headers = {"content-type": kind}
            content = body(rng)
            if path == INFER and rng.random() < 0.8:
                content, binary = tensors(rng)
                length = rng.choice([len(content)] * 5 + [0, len(content) + 10**6, "x"])
                headers["inference-header-content-length"] = str(length)
                content += binary
            answer = client.request(method, path, content=content, headers=headers)
            statuses[answer.status_code] += 1
            assert answer.status_code in ALLOWED | {401}, answer.text
        growth = memory(running) - before
        assert client.post("/v1/label", json={"reply": "sorry"}).status_code == 200
    print(f"\n{dict(statuses)}, memory grew by {growth / 2**20:.1f} MiB")
    assert not [status for status in statuses if status is not None and status >= 500]
    assert {200, 400, 413, 415, 422} <= set(statuses)
    assert growth < MOST_GROWTH
    assert not [line for line in running.lines() if line["level"] == "error"]
    assert running.stop() == 0
