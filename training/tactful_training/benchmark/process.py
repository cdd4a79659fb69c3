"""One system in a process of its own, so that it has its memory and its threads to itself."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tactful_training.benchmark.setting import Setting
from tactful_training.benchmark.systems import SYSTEMS
from tactful_training.errors import RunError

if TYPE_CHECKING:
    from tactful.reading.stream import Pair


class SystemProcess:
    """A system that works on demand and is silent in between.

    Args:
        name: one of `SYSTEMS`.
        setting: what all systems share.

    Attributes:
        load_seconds: from the start of its process until it is ready: interpreter, imports, model.
    """

    def __init__(self, name: str, setting: Setting) -> None:
        self.name = name
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, name, setting), daemon=True)
        begin = time.perf_counter()
        self._process.start()
        theirs.close()
        self._answer()
        self.load_seconds = time.perf_counter() - begin

    def many(self, pairs: Sequence[Pair]) -> float:
        """Seconds that all pairs took."""
        return float(self._ask("many", pairs))

    def singles(self, pairs: Sequence[Pair]) -> list[float]:
        """Seconds that each pair took on its own."""
        answer: list[float] = self._ask("singles", pairs)
        return answer

    def peak_memory(self) -> int:
        """Most bytes that the process has had in memory so far."""
        return int(self._ask("memory", ()))

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(timeout=10)
        self._process.kill()

    def _ask(self, what: str, pairs: Sequence[Pair]) -> Any:
        try:
            self._pipe.send((what, pairs))
        except OSError as error:
            raise RunError(f"{self.name}: its process has ended") from error
        return self._answer()

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
        system = SYSTEMS[name](setting)
        pipe.send(("done", None))
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
