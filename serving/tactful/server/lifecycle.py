"""The service's processes, one or several: start, reload, drain, exit."""

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
from collections.abc import Callable, Coroutine
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from prometheus_client import multiprocess

from tactful.classifier import Classifier
from tactful.errors import TactfulError
from tactful.reading.processor import available_cpus
from tactful.server.connections import Connections, listen, reached
from tactful.server.exchanges import Exchanges
from tactful.server.live_bundle import LiveBundle
from tactful.server.routes import Routes
from tactful.server.serve_settings import TOKEN_VARIABLE, Settings
from tactful.server.telemetry import LOGGER, SHARED_FOLDER, ServiceMetrics, configure_logs
from tactful.server.tracing import Tracing, is_wanted
from tactful.storage import write_file

_log = logging.getLogger(LOGGER)
# After the listener was closed, how long connections that say nothing may stay: what was sent just
# before is still answered.
_GRACE_SECONDS = 0.5
# The inference thread is partly Python: with the usual 5 ms, each answer of the event loop would
# wait that long for its turn.
_SWITCH_SECONDS = 0.0005
_ADDRESS = "address"  # of the bundle that was loaded over HTTP, for the other workers
_RESTART_SECONDS = 1.0
_SPAWN = multiprocessing.get_context("spawn")  # a fork would share onnxruntime's locks


def run(settings: Settings) -> int:
    """Serve until a signal comes; the exit code.

    Raises:
        TactfulError: the address cannot be listened on, or the bundle cannot be used.
    """
    configure_logs(settings.log_format)
    if settings.is_exposed:
        _log.warning(
            f"{settings.host} can be reached from other machines and no token is set: whoever "
            f"reaches the port may use it; set ${TOKEN_VARIABLE} or --token-file, or listen on "
            "127.0.0.1"
        )
    listener = listen(settings.host, settings.port)
    if settings.workers == 1:
        asyncio.run(serve(settings, listener))
        return 0
    folder = Path(tempfile.mkdtemp(prefix="tactful-serve-"))
    os.environ[SHARED_FOLDER] = str(folder)
    try:
        return _Supervisor(settings, listener, folder).run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def serve(
    settings: Settings,
    listener: socket.socket,
    *,
    address: Callable[[], str | None] = lambda: None,
    reloaded: Callable[[str | None], None] = lambda address: None,
    telemetry: tuple[Tracing, ServiceMetrics] | None = None,
) -> None:
    """Serve on a listener until SIGTERM or SIGINT.

    Args:
        settings: everything that can be set.
        listener: a bound socket; closed at the end.
        address: on SIGHUP, the bundle to load; None for the same address again.
        reloaded: told after a reload over HTTP.
        telemetry: told of requests and figures; by default what ``OTEL_*`` asks for.

    Raises:
        TactfulError: the bundle cannot be used.
    """
    threads = settings.threads or max(1, available_cpus() // settings.workers)
    tracing, metrics = telemetry or _telemetry()
    bundle = LiveBundle(
        lambda path: Classifier.load(path, threads=threads),
        settings.batch_limits,
        max_chars=settings.max_chars,
        metrics=metrics,
        tracing=tracing,
    )
    stopping, hurrying = _handle_signals(lambda: _reload(bundle, address()))
    sys.setswitchinterval(_SWITCH_SECONDS)
    app, paths = Routes(bundle, settings, metrics, reloaded).app()
    exchanges = Exchanges(app, paths, bundle, metrics, tracing, settings.root_path)
    connections = Connections(exchanges, settings)
    exchanges.overcrowded = lambda: connections.too_many
    await connections.start(listener)
    loop = asyncio.get_running_loop()
    watching = loop.create_task(_watch(bundle, connections, metrics))
    stopped = loop.create_task(stopping.wait())
    try:
        loading = loop.create_task(bundle.start(address() or settings.bundle))
        await asyncio.wait({loading, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if loading.done():
            await loading
            await stopped
        bundle.draining = True
        metrics.state(ready=False, waiting_tokens=bundle.waiting_tokens)
        _log.info("draining", extra={"in_flight": exchanges.in_flight})
        await _drain(exchanges, bundle, settings, hurrying)
        await connections.stop_listening(listener)
        await reached(lambda: not len(connections) or hurrying.is_set(), _GRACE_SECONDS)
    finally:
        await connections.close()
        watching.cancel()
        stopped.cancel()
        await bundle.close()
        for each in (tracing, metrics):  # what was not sent yet, for as long as that takes
            await asyncio.to_thread(each.close)
    _log.info("ended")


def _telemetry() -> tuple[Tracing, ServiceMetrics]:
    """Who is told of requests and figures, as the variables ask for it."""
    if not is_wanted():
        return Tracing(), ServiceMetrics()
    try:
        from tactful.server.open_telemetry import ExportedMetrics, ExportedTraces, exporters

        spans, reader = exporters()
    except ModuleNotFoundError as error:
        # No reason not to serve: platforms set these variables for everything they run.
        _log.warning(
            f"OTEL_* asks for traces or metrics, and {error.name} is not installed; run: pip "
            "install 'tactful[otel]', or set OTEL_SDK_DISABLED=true"
        )
        return Tracing(), ServiceMetrics()
    tracing = Tracing() if spans is None else ExportedTraces(spans)
    return tracing, ServiceMetrics() if reader is None else ExportedMetrics(reader)


def _handle_signals(
    reload: Callable[[], Coroutine[Any, Any, None]],
) -> tuple[asyncio.Event, asyncio.Event]:
    """From now on SIGHUP reloads; the first signal to stop sets one event, a second one another."""
    loop = asyncio.get_running_loop()
    stopping, hurrying = asyncio.Event(), asyncio.Event()
    tasks: set[asyncio.Task[None]] = set()

    def stop() -> None:
        (hurrying if stopping.is_set() else stopping).set()

    def begin_reload() -> None:
        task = loop.create_task(reload())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    loop.add_signal_handler(signal.SIGTERM, stop)
    loop.add_signal_handler(signal.SIGINT, stop)
    loop.add_signal_handler(signal.SIGHUP, begin_reload)
    _release_hangups()
    return stopping, hurrying


async def _drain(
    exchanges: Exchanges, bundle: LiveBundle, settings: Settings, hurrying: asyncio.Event
) -> None:
    """Until what is in flight was answered; what is left after the bound is answered with 503."""
    bound = settings.drain_ms / 1000
    await reached(lambda: not exchanges.in_flight or hurrying.is_set(), bound)
    if exchanges.in_flight:
        _log.warning("not finished in time", extra={"in_flight": exchanges.in_flight})
        await bundle.close()
        await reached(lambda: not exchanges.in_flight, _GRACE_SECONDS)


async def _reload(bundle: LiveBundle, address: str | None) -> None:
    try:
        await bundle.reload(address)
    except (TactfulError, OSError) as error:
        # Of bundles and files, not of requests: the whole message may be told.
        _log.error(f"reload refused, the old bundle goes on serving: {error}")


async def _watch(bundle: LiveBundle, connections: Connections, metrics: ServiceMetrics) -> None:
    """Keep the gauges fresh for the other workers, whoever of them is asked, and the date."""
    while True:
        metrics.state(ready=bundle.ready, waiting_tokens=bundle.waiting_tokens)
        connections.tick()
        await asyncio.sleep(1)


class _Supervisor:
    """Several processes on one listener: started, kept alive, told to reload and to end."""

    def __init__(self, settings: Settings, listener: socket.socket, folder: Path) -> None:
        self._settings, self._listener, self._folder = settings, listener, folder
        self._processes: list[BaseProcess] = []
        self._stopping = False

    def run(self) -> int:
        """0; or the exit code of a worker that could not even start."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop())
        signal.signal(signal.SIGHUP, lambda *_: self._tell(signal.SIGHUP))
        _release_hangups()
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
        # For the worker, which inherits it, until it has its handler.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
        try:
            process.start()
        finally:
            _release_hangups()
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
    configure_logs(settings.log_format)
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


def _release_hangups() -> None:
    """From now on SIGHUP arrives, and what came while it was held."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
