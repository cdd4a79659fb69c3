"""Several processes on one listener: started, kept alive, told to reload and to end."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from prometheus_client import multiprocess

from tactful.errors import TactfulError
from tactful.server import logs
from tactful.server.lifecycle import serve
from tactful.server.metrics import SHARED_FOLDER
from tactful.server.serve_command import Settings
from tactful.storage import write_file

_log = logging.getLogger(logs.LOGGER)
_ADDRESS = "address"  # of the bundle that was loaded over HTTP, for the other workers
_RESTART_SECONDS = 1.0
_SPAWN = multiprocessing.get_context("spawn")  # a fork would share onnxruntime's locks


def supervise(settings: Settings, listener: socket.socket) -> int:
    """Run ``settings.workers`` processes until a signal comes.

    Returns:
        0; or the exit code of a worker that could not even start.
    """
    folder = Path(tempfile.mkdtemp(prefix="tactful-serve-"))
    os.environ[SHARED_FOLDER] = str(folder)
    try:
        return _Supervisor(settings, listener, folder).run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Supervisor:
    def __init__(self, settings: Settings, listener: socket.socket, folder: Path) -> None:
        self._settings, self._listener, self._folder = settings, listener, folder
        self._processes: list[BaseProcess] = []
        self._stopping = False

    def run(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop())
        signal.signal(signal.SIGHUP, lambda *_: self._tell(signal.SIGHUP))
        self._processes = [self._start() for _ in range(self._settings.workers)]
        first = set(self._processes)
        exit_code = 0
        while self._processes:
            # With a bound: a signal that comes just before must not be waited out.
            wait([process.sentinel for process in self._processes], timeout=0.5)
            for process in [process for process in self._processes if not process.is_alive()]:
                self._processes.remove(process)
                multiprocess.mark_process_dead(process.pid)  # type: ignore[no-untyped-call]
                if self._stopping:
                    continue
                code = process.exitcode
                if process in first and code == TactfulError.exit_code:
                    exit_code = code
                    self._stop()
                    continue
                _log.error("a worker ended, another one takes its place", extra={"code": code})
                time.sleep(_RESTART_SECONDS)
                if not self._stopping:
                    self._processes.append(self._start())
        return exit_code

    def _start(self) -> BaseProcess:
        process = _SPAWN.Process(
            target=_work, args=(self._settings, self._listener, self._folder), daemon=False
        )
        process.start()
        return process

    def _stop(self) -> None:
        if not self._stopping:
            self._stopping = True
            # The workers hold the listener too; the last one of them closes it.
            self._listener.close()
        self._tell(signal.SIGTERM)

    def _tell(self, number: signal.Signals) -> None:
        for process in self._processes:
            if process.pid is not None and process.is_alive():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, number)


def _work(settings: Settings, listener: socket.socket, folder: Path) -> None:
    # Ctrl+C reaches the whole group of processes; the parent passes it on, once.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logs.configure(settings.log_format)
    try:
        asyncio.run(
            serve(
                settings,
                listener,
                address=functools.partial(_address, folder),
                reloaded=functools.partial(_spread, folder),
            )
        )
    except TactfulError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def _address(folder: Path) -> str | None:
    try:
        return (folder / _ADDRESS).read_text("utf-8")
    except FileNotFoundError:
        return None


def _spread(folder: Path, address: str | None) -> None:
    """After one worker has reloaded: let all others follow, and those that start later."""
    if address is not None:
        write_file(folder / _ADDRESS, address.encode())
    os.kill(os.getppid(), signal.SIGHUP)
