"""One process of the service from its first byte to its last: start, reload, drain, exit."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import uvicorn

from tactful.classifier import Classifier
from tactful.errors import TactfulError
from tactful.reading.processor import available_cpus
from tactful.server import logs
from tactful.server.app import build_app
from tactful.server.edge import Edge
from tactful.server.metrics import Metrics
from tactful.server.protocol import bounded_protocol
from tactful.server.serve_command import TOKEN_VARIABLE, Settings
from tactful.server.service import Service

_log = logging.getLogger(logs.LOGGER)
_BACKLOG = 2048
_KEEP_ALIVE_SECONDS = 30
_POLL_SECONDS = 0.01
# After the listener was closed, how long connections that say nothing may stay: what was sent just
# before is still answered.
_GRACE_SECONDS = 0.5
# The inference thread is partly Python: with the usual 5 ms, each answer of the event loop would
# wait that long for its turn.
_SWITCH_SECONDS = 0.0005


def run(settings: Settings) -> int:
    """Serve until a signal comes; the exit code.

    Raises:
        TactfulError: the address cannot be listened on, or the bundle cannot be used.
    """
    logs.configure(settings.log_format)
    if settings.is_exposed:
        _log.warning(
            f"{settings.host} can be reached from other machines and no token is set: whoever "
            f"reaches the port may use it; set ${TOKEN_VARIABLE} or --token-file, or listen on "
            "127.0.0.1"
        )
    listener = _listen(settings.host, settings.port)
    if settings.workers == 1:
        asyncio.run(serve(settings, listener))
        return 0
    from tactful.server.processes import supervise

    return supervise(settings, listener)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, UnicodeError) as error:
        raise TactfulError(
            f"cannot listen on {host}:{port}: {error}; choose another --host or --port"
        ) from error
    shown = f"[{host}]" if family == socket.AF_INET6 else host
    _log.info("listening", extra={"url": f"http://{shown}:{listener.getsockname()[1]}"})
    return listener


class _Server(uvicorn.Server):
    """uvicorn without its own signals (it would end with -15), and with a listener that closes
    only after everything that waited in it was taken.
    """

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def stop_listening(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        late = []
        with contextlib.suppress(OSError):  # BlockingIOError: nobody is left
            while True:
                late.append(listener.accept()[0])
        for server in self.servers:
            server.close()
        for connection in late:
            connection.setblocking(False)
            await loop.connect_accepted_socket(self._protocol, connection)

    def _protocol(self) -> asyncio.Protocol:
        make: Callable[..., asyncio.Protocol] = self.config.http_protocol_class
        return make(config=self.config, server_state=self.server_state, app_state={})


async def serve(
    settings: Settings,
    listener: socket.socket,
    *,
    address: Callable[[], str | None] = lambda: None,
    reloaded: Callable[[str | None], None] = lambda address: None,
) -> None:
    """Serve on a listener until SIGTERM or SIGINT.

    Args:
        settings: everything that can be set.
        listener: a bound socket; closed at the end.
        address: on SIGHUP, the bundle to load; None for the same address again.
        reloaded: told after a reload over HTTP.

    Raises:
        TactfulError: the bundle cannot be used.
    """
    sys.setswitchinterval(_SWITCH_SECONDS)
    threads = settings.threads or max(1, available_cpus() // settings.workers)
    metrics = Metrics()
    service = Service(
        lambda path: Classifier.load(path, threads=threads),
        settings.batch_limits,
        max_chars=settings.max_chars,
        watcher=metrics,
    )
    app = build_app(service, settings, metrics, reloaded=reloaded)
    edge = Edge(
        app,
        service,
        metrics,
        lambda: len(server.server_state.connections) > settings.max_connections,
    )
    server = _Server(_uvicorn_config(edge, settings))
    stopping, hurrying = asyncio.Event(), asyncio.Event()

    def stop() -> None:
        (hurrying if stopping.is_set() else stopping).set()

    tasks: set[asyncio.Task[Any]] = set()

    def reload() -> None:
        task = asyncio.get_running_loop().create_task(_reload(service, address()))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    loop = asyncio.get_running_loop()
    for number, handler in (
        (signal.SIGTERM, stop),
        (signal.SIGINT, stop),
        (signal.SIGHUP, reload),
    ):
        loop.add_signal_handler(number, handler)
    serving = loop.create_task(server.serve(sockets=[listener]))
    watching = loop.create_task(_watch(service, metrics))
    stopped = loop.create_task(stopping.wait())
    try:
        loading = loop.create_task(service.start(address() or settings.bundle))
        await asyncio.wait({loading, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if loading.done():
            await loading
            await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
        service.draining = True
        metrics.state(ready=False, waiting_tokens=service.waiting_tokens)
        _log.info("draining", extra={"in_flight": edge.in_flight})
        await _drain(edge, service, settings, hurrying)
        await server.stop_listening(listener)
        await _until(lambda: not server.server_state.connections, _GRACE_SECONDS)
    finally:
        server.should_exit = True
        await asyncio.gather(serving, return_exceptions=True)
        for task in (watching, stopped, *tasks):
            task.cancel()
        await service.close()
    _log.info("ended")


async def _drain(edge: Edge, service: Service, settings: Settings, hurrying: asyncio.Event) -> None:
    """Until what is in flight was answered; what is left after the bound is answered with 503."""
    bound = settings.drain_ms / 1000
    if await _until(lambda: not edge.in_flight or hurrying.is_set(), bound) and not edge.in_flight:
        return
    _log.warning("not finished in time", extra={"in_flight": edge.in_flight})
    await service.close()
    await _until(lambda: not edge.in_flight, _GRACE_SECONDS)


async def _until(reached: Callable[[], bool], seconds: float) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not reached():
                await asyncio.sleep(_POLL_SECONDS)
            return True
    return False


async def _reload(service: Service, address: str | None) -> None:
    try:
        await service.reload(address)
    except (TactfulError, OSError) as error:
        # Of bundles and files, not of requests: the whole message may be told.
        _log.error(f"reload refused, the old bundle goes on serving: {error}")


async def _watch(service: Service, metrics: Metrics) -> None:
    """Keep the gauges fresh for the other workers, whoever of them is asked."""
    while True:
        metrics.state(ready=service.ready, waiting_tokens=service.waiting_tokens)
        await asyncio.sleep(1)


def _uvicorn_config(edge: Callable[..., Awaitable[None]], settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        edge,
        interface="asgi3",
        http=bounded_protocol(settings.max_connections, settings.receive_ms / 1000),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=1,
    )
