"""A real service as its users start it: `tactful serve` in a process of its own, on a free port."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

httpx = pytest.importorskip("httpx")
pytest.importorskip("uvicorn")

PROGRAM = (sys.executable, "-m", "tactful.cli")
PATIENCE = 60.0  # seconds until a test gives up on a process; never how long something may take


@dataclass
class Running:
    """A running service: its address, its process and what it logs."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def lines(self) -> list[dict]:
        return [json.loads(line) for line in self.log.read_text("utf-8").splitlines()]

    def wait_until(self, reached: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not reached():
            assert time.monotonic() < end, self.log.read_text("utf-8")
            time.sleep(0.02)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


Serve = Callable[..., Running]


@contextlib.contextmanager
def launcher(folder: Path) -> Iterator[Serve]:
    started: list[Running] = []
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("TACTFUL_", "PROMETHEUS_"))}

    def start(
        bundle: object,
        *options: str,
        ready: bool = True,
        program: Sequence[str] = PROGRAM,
        **variables: str | None,
    ) -> Running:
        log = folder / f"service-{len(started)}.log"
        command = [*program, "serve", "--bundle", str(bundle)]
        command += ["--port", "0", "--log-format", "json", "--threads", "1", *options]
        environment = {k: v for k, v in (kept | variables).items() if v is not None}
        with log.open("wb") as file:
            process = subprocess.Popen(command, stderr=file, env=environment)
        running = Running("", process, log)
        started.append(running)
        running.wait_until(lambda: process.poll() is not None or '"url"' in log.read_text("utf-8"))
        address = re.search(r'"url": "(http://[^"]+)"', log.read_text("utf-8"))
        assert address is not None, log.read_text("utf-8")
        running.url = address[1]
        if ready:
            running.wait_until(
                lambda: httpx.get(f"{running.url}/readyz", timeout=PATIENCE).status_code == 200
            )
        return running

    try:
        yield start
    finally:
        for running in started:
            if running.process.poll() is None:
                running.process.kill()
                running.process.wait()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts services of the test's own."""
    with launcher(tmp_path) as start:
        yield start


@pytest.fixture(scope="session")
def service(sound_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One service with small limits that all tests share; never stop it."""
    with launcher(tmp_path_factory.mktemp("service")) as start:
        yield start(
            sound_bundle,
            *("--max-body-bytes", "20000", "--max-items", "20", "--max-chars", "2000"),
            *("--receive-ms", "1500"),
        )
