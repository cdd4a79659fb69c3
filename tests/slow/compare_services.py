"""`make compare-services`: the service beside `mlflow models serve` and a transformers pipeline.

python tests/slow/compare_services.py MODEL_URI [SECONDS]

All of them stay up and take turns; many clients send the same replies, one at a time each. The
pipeline is served as FastAPI calls it, from many threads at once, and behind a lock, one call
after the other, each with all threads.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CLIENTS, ROUNDS = 64, 3
BIN = Path(sys.executable).absolute().parent
# What a team would write around a pipeline of the same encoder: FastAPI calls it in its threads.
PIPELINE = """
import contextlib, os, sys, threading, torch, transformers, uvicorn
from fastapi import FastAPI
from tactful_training.config.config_file import load_config
from tactful_training.fitting.encoder import find_encoder

folder = find_encoder(load_config().encoder).folder
torch.set_num_threads(int(sys.argv[2]))
pipe = transformers.pipeline(
    "text-classification",
    model=transformers.AutoModelForSequenceClassification.from_pretrained(folder, num_labels=24),
    tokenizer=transformers.AutoTokenizer.from_pretrained(folder),
    device="cpu", top_k=None, function_to_apply="sigmoid", truncation=True, max_length=256,
)
turn = threading.Lock() if sys.argv[3] == "locked" else contextlib.nullcontext()
app = FastAPI()

@app.get("/ping")
def ping() -> str:
    return "here"

@app.post("/label")
def label(body: dict) -> list:
    with turn:
        return pipe(body["reply"])

uvicorn.run(app, port=int(sys.argv[1]), log_level="warning")
"""


def replies() -> list[str]:
    lines = (ROOT / "data_cards/support_replies/validation.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line)["reply"] for line in lines[:512]]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 180
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"{url} does not answer: {process.args!r}") from None
            time.sleep(0.2)


async def client(port: int, path: str, bodies: Iterator[bytes], end: float, seen: list) -> None:
    """One keep-alive connection that asks, reads the answer and asks again."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n".encode()
    while time.monotonic() < end:
        body, started = next(bodies), time.monotonic()
        writer.write(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        answer = (await reader.readuntil(b"\r\n\r\n")).lower()
        await reader.readexactly(int(answer.partition(b"content-length: ")[2].split(b"\r\n")[0]))
        seen.append((int(answer.split()[1]), time.monotonic() - started))
    writer.close()


def load(port: int, path: str, bodies: list[bytes], seconds: float) -> tuple[float, float, Counter]:
    """Readings per second, median seconds of one, and statuses."""
    seen: list[tuple[int, float]] = []

    async def main() -> None:
        end, shared = time.monotonic() + seconds, itertools.cycle(bodies)
        await asyncio.gather(*(client(port, path, shared, end, seen) for _ in range(CLIENTS)))

    started = time.monotonic()
    asyncio.run(main())
    took = time.monotonic() - started
    good = [each for status, each in seen if status == 200]
    return len(good) / took, statistics.median(good), Counter(status for status, _ in seen)


def main(model: str, seconds: float) -> None:
    ports = [free_port() for _ in range(4)]
    path = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}  # MLflow calls uvicorn by its name
    threads = str(len(os.sched_getaffinity(0)))
    texts = replies()
    services = {
        "tactful serve": (
            [BIN / "tactful", "serve", "--bundle", model, "--port", str(ports[0])],
            "/readyz", "/v1/label", [{"reply": text} for text in texts],
        ),
        "mlflow models serve, the same model": (
            [BIN / "mlflow", "models", "serve", "-m", model, "-p", str(ports[1]),
             "--env-manager", "local"],
            "/ping", "/invocations", [{"dataframe_records": [{"reply": text}]} for text in texts],
        ),
        "FastAPI and a transformers pipeline, fp32": (
            [sys.executable, "-c", PIPELINE, str(ports[2]), threads, "threaded"],
            "/ping", "/label", [{"reply": text} for text in texts],
        ),
        "FastAPI and a pipeline, one call at a time": (
            [sys.executable, "-c", PIPELINE, str(ports[3]), threads, "locked"],
            "/ping", "/label", [{"reply": text} for text in texts],
        ),
    }  # fmt: skip
    running = []
    try:
        for port, (command, ready, _, _) in zip(ports, services.values(), strict=True):
            running.append(
                subprocess.Popen(
                    command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                    start_new_session=True, env=os.environ | path,
                )
            )  # fmt: skip
            wait_for(f"http://127.0.0.1:{port}{ready}", running[-1])
        results: dict[str, list] = {name: [] for name in services}
        for turn in range(ROUNDS + 1):
            for port, (name, (_, _, address, bodies)) in zip(ports, services.items(), strict=True):
                encoded = [json.dumps(body).encode() for body in bodies]
                result = load(port, address, encoded, seconds if turn else 2)
                if turn:  # the first one warms up
                    results[name].append(result)
    finally:
        for process in running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait()
    print(f"{CLIENTS} clients, {threads} processors, medians of {ROUNDS} rounds of {seconds:g} s")
    for name, rounds in results.items():
        rate = statistics.median(rate for rate, _, _ in rounds)
        middle = statistics.median(middle for _, middle, _ in rounds)
        statuses = sum((statuses for _, _, statuses in rounds), Counter())
        print(f"{name:45} {rate:6.1f} readings/s, p50 {middle:.2f} s, {dict(statuses)}")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 15.0)
