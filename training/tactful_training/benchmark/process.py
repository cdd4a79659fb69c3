"""One system in a process of its own, so that it has its memory and its threads to itself."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tactful.batching import Pair
from tactful_training.benchmark.systems import SYSTEMS, Setting
from tactful_training.errors import RunError


class SystemProcess:
    """A system that works on demand and is silent in between.

    Args:
        name: one of `SYSTEMS`.
        setting: what all systems share.

    Attributes:
        load_seconds: how long it took to load, imports included.
    """

    def __init__(self, name: str, setting: Setting) -> None:
        self.name = name
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, name, setting), daemon=True)
        self._process.start()
        theirs.close()
        self.load_seconds = float(self._answer())

    def many(self, pairs: Sequence[Pair]) -> float:
        """Seconds that all pairs took."""
        self._pipe.send(("many", pairs))
        return float(self._answer())

    def singles(self, pairs: Sequence[Pair]) -> list[float]:
        """Seconds that each pair took on its own."""
        self._pipe.send(("singles", pairs))
        answer: list[float] = self._answer()
        return answer

    def peak_memory(self) -> int:
        """Most bytes that the process has had in memory so far."""
        self._pipe.send(("memory", ()))
        return int(self._answer())

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(timeout=10)
        self._process.kill()

    def _answer(self) -> Any:
        try:
            kind, value = self._pipe.recv()
        except EOFError as error:
            raise RunError(f"{self.name}: its process ended without an answer") from error
        if kind == "error":
            raise RunError(f"{self.name}: {value}")
        return value


def _serve(pipe: Connection, name: str, setting: Setting) -> None:
    try:
        begin = time.perf_counter()
        system = SYSTEMS[name](setting)
        pipe.send(("done", time.perf_counter() - begin))
        while True:
            what, pairs = pipe.recv()
            if what == "memory":
                pipe.send(("done", _peak_memory()))
            elif what == "many":
                begin = time.perf_counter()
                system.many(pairs)
                pipe.send(("done", time.perf_counter() - begin))
            else:
                pipe.send(("done", [_seconds(system.single, pair) for pair in pairs]))
    except EOFError:
        pass  # closed
    except Exception as error:  # of any library: the benchmark names the system
        pipe.send(("error", f"{type(error).__name__}: {error}"))


def _seconds(single: Callable[[Pair], None], pair: Pair) -> float:
    begin = time.perf_counter()
    single(pair)
    return time.perf_counter() - begin


def _peak_memory() -> int:
    # Not getrusage: it remembers the parent's size from before exec.
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RunError("/proc/self/status has no VmHWM; peak memory can be measured on Linux only")
