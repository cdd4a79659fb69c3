"""uvicorn's HTTP/1.1 connection, with bounds on what a slow or wrong sender can hold."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from tactful.server.problems import raw_response

_HARD_LIMIT = 1.5  # of the allowed connections: beyond it not even a refusal is written


def bounded_protocol(max_connections: int, receive_seconds: float) -> type[asyncio.Protocol]:
    """A protocol class for ``uvicorn.Config(http=…)``.

    Args:
        max_connections: see ``--max-connections``.
        receive_seconds: how long the head of a request may take, and a receiver may block.
    """

    class BoundedProtocol(H11Protocol):
        _timer: asyncio.TimerHandle | None = None
        _reader_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            # Head and body of an answer are written one after the other. asyncio switches Nagle's
            # algorithm off only where a socket names its protocol, which accepted ones do not: the
            # body would wait until the client's kernel acknowledges the head, 40 ms later.
            with contextlib.suppress(OSError):  # it may be gone already
                connection = transport.get_extra_info("socket")
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if len(self.connections) > max_connections * _HARD_LIMIT:
                transport.abort()
            else:
                self._watch_head()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch_head()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._watch_head()
            if self.transport.is_closing():
                self._abort_later()

        def timeout_keep_alive_handler(self) -> None:
            super().timeout_keep_alive_handler()
            self._abort_later()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop(self._timer, self._reader_timer)
            super().connection_lost(exc)

        def _watch_head(self) -> None:
            # Between requests of one connection uvicorn's keep-alive timer watches.
            waits = self.conn.their_state is h11.IDLE and self.timeout_keep_alive_task is None
            if not waits:
                self._stop(self._timer)
                self._timer = None
            elif self._timer is None:
                self._timer = self.loop.call_later(receive_seconds, self._head_too_slow)

        def _head_too_slow(self) -> None:
            if not self.transport.is_closing():
                detail = f"no whole request came within {receive_seconds:g} s"
                self._end(raw_response("sender_too_slow", detail, secrets.token_hex(6)))

        def send_400_response(self, msg: str) -> None:
            self._end(raw_response("http_malformed", msg, secrets.token_hex(6)))

        def _end(self, answer: bytes) -> None:
            # While an answer is under way another one would be taken for a part of it.
            if (
                self.cycle is None
                or self.cycle.response_complete
                or not self.cycle.response_started
            ):
                self.transport.write(answer)
            self.transport.close()
            self._abort_later()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._abort_later()

        def _abort_later(self) -> None:
            # A transport that was closed waits until the client has taken what is left: for ever,
            # if it takes nothing.
            self._stop(self._reader_timer)
            self._reader_timer = self.loop.call_later(receive_seconds, self.transport.abort)

        def resume_writing(self) -> None:
            if not self.transport.is_closing():
                self._stop(self._reader_timer)
            super().resume_writing()

        def _stop(self, *timers: asyncio.TimerHandle | None) -> None:
            for timer in timers:
                if timer is not None:
                    timer.cancel()

    return BoundedProtocol
