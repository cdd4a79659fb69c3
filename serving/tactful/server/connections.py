"""Connections from accept to close.

uvicorn speaks HTTP/1.1; this bounds how many connections there are and how long each thing that it
would wait for may take.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

from starlette.types import ASGIApp
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from tactful.errors import TactfulError
from tactful.server.problem_documents import raw_response
from tactful.server.serve_settings import Settings
from tactful.server.telemetry import LOGGER

CONNECTION = "connection"  # in the state of a scope: the `Connection` that the request came on
_log = logging.getLogger(LOGGER)
_BACKLOG = 2048
_KEEP_ALIVE_SECONDS = 30
_HARD_LIMIT = 1.5  # of the allowed connections: beyond it not even a refusal is written
_CLOSE_SECONDS = 1.0
_POLL_SECONDS = 0.01


def listen(host: str, port: int) -> socket.socket:
    """A socket that is bound to an address and listens.

    Raises:
        TactfulError: the address cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        bound = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, UnicodeError) as error:
        raise TactfulError(
            f"cannot listen on {host}:{port}: {error}; choose another --host or --port"
        ) from error
    shown = f"[{host}]" if family == socket.AF_INET6 else host
    _log.info("listening", extra={"url": f"http://{shown}:{bound.getsockname()[1]}"})
    # asyncio switches Nagle's algorithm off only where a socket names its protocol, which accepted
    # ones have of their listener: the body of an answer would wait until the client's kernel
    # acknowledges its head, 40 ms later.
    return socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=bound.detach())


async def reached(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether a condition came true within some seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(_POLL_SECONDS)
            return True
    return False


class Connections:
    """All connections of one process.

    Args:
        app: answers what is asked; it tells each `Connection` when a request and its answer begin
            and end.
        settings: their bounds.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._settings = settings
        self._server: asyncio.Server | None = None
        self._state = ServerState()
        self._config = Config(
            app,
            interface="asgi3",
            http=H11Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        )

    def __len__(self) -> int:
        """How many are open."""
        return len(self._state.connections)

    @property
    def too_many(self) -> bool:
        """Whether there are more than allowed."""
        return len(self) > self._settings.max_connections

    async def start(self, listener: socket.socket) -> None:
        """Accept connections."""
        self.tick()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._protocol, sock=listener, backlog=_BACKLOG)

    def tick(self) -> None:
        """Renew the date that answers carry; to be called every second."""
        self._state.default_headers = [(b"date", formatdate(usegmt=True).encode())]

    async def stop_listening(self, listener: socket.socket) -> None:
        """Take everything that waits in the listener, then close it."""
        loop = asyncio.get_running_loop()
        # What asyncio has accepted becomes a `Connection` some turns of the loop later. Closed
        # before, the server would drop it; and nobody would wait for it.
        loop.remove_reader(listener)
        await asyncio.sleep(_POLL_SECONDS)
        late = []
        with contextlib.suppress(OSError):  # BlockingIOError: nobody is left
            while True:
                late.append(listener.accept()[0])
        if self._server is not None:
            self._server.close()
        for connection in late:
            connection.setblocking(False)
            await loop.connect_accepted_socket(self._protocol, connection)

    async def close(self) -> None:
        """Close what is still open, at the latest after a second."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        if not await reached(lambda: not self._state.connections, _CLOSE_SECONDS):
            for connection in list(self._state.connections):
                connection.transport.abort()
        tasks = list(self._state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _protocol(self) -> asyncio.Protocol:
        seconds = self._settings.receive_ms / 1000
        most = int(self._settings.max_connections * _HARD_LIMIT)
        return Connection(self._config, self._state, seconds, most)


class Connection(H11Protocol):
    """uvicorn's HTTP/1.1 connection, with a bound for each thing that it would wait for."""

    def __init__(self, config: Config, state: ServerState, seconds: float, most: int) -> None:
        super().__init__(config, state, {CONNECTION: self})
        self._seconds = seconds
        self._most = most
        self._requests = 0  # that have come and are not answered
        self._head_timer: asyncio.TimerHandle | None = None
        self._reader_timer: asyncio.TimerHandle | None = None
        self.answering = False  # a part of an answer has been sent

    def connection_made(self, transport: Any) -> None:
        """Wait for a head; refuse to when there are far too many."""
        super().connection_made(transport)
        if len(self.connections) > self._most:
            transport.abort()
        else:
            self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Feed uvicorn."""
        self._wait_for_head()
        super().data_received(data)

    def asked(self) -> None:
        """The head of a request has come."""
        self._requests += 1
        self._head_timer = _stop(self._head_timer)

    def answered(self) -> None:
        """An answer was written. Until the next request uvicorn's keep-alive timer watches."""
        self._requests -= 1
        self._wait_for_reader()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers."""
        self._head_timer = _stop(self._head_timer)
        self._reader_timer = _stop(self._reader_timer)
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Say that this is no HTTP; in uvicorn it would be plain text."""
        self._end(raw_response("http_malformed", msg))

    def pause_writing(self) -> None:
        """Wait for a client that takes its answer slowly."""
        super().pause_writing()
        self._wait_for_reader()

    def resume_writing(self) -> None:
        """It takes it."""
        if not self.transport.is_closing():
            self._reader_timer = _stop(self._reader_timer)
        super().resume_writing()

    def _wait_for_head(self) -> None:
        if not self._requests and self._head_timer is None:
            self._head_timer = self.loop.call_later(self._seconds, self._head_too_slow)

    def _head_too_slow(self) -> None:
        if not self.transport.is_closing():
            detail = f"no whole request came within {self._seconds:g} s"
            self._end(raw_response("sender_too_slow", detail))

    def _end(self, answer: bytes) -> None:
        # Neither into an answer that is under way nor behind one that nobody takes.
        if not self.answering and self._reader_timer is None:
            self.transport.write(answer)
        self.transport.close()
        self._wait_for_reader()

    def _wait_for_reader(self) -> None:
        # What was written waits until the client has taken it: for ever, if it takes nothing.
        self._reader_timer = _stop(self._reader_timer)
        if self.transport.is_closing() or self.transport.get_write_buffer_size():
            self._reader_timer = self.loop.call_later(self._seconds, self._reader_too_slow)

    def _reader_too_slow(self) -> None:
        if self.transport.is_closing() or self.transport.get_write_buffer_size():
            self.transport.abort()


def _stop(timer: asyncio.TimerHandle | None) -> asyncio.TimerHandle | None:
    if timer is not None:
        timer.cancel()
    return None
