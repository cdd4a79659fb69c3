"""uvicorn's HTTP/1.1 connection, with bounds on what a slow or wrong sender can hold."""

from __future__ import annotations

import asyncio
import secrets
import socket
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tactful.server.problems import raw_response

_HARD_LIMIT = 1.5  # of the allowed connections: beyond it not even a refusal is written
# Bytes of one request that are not its body: head, trailers, the sizes of chunks. The parser itself
# would take any number.
_LARGEST_HEAD = 2**16


def bounded_protocol(max_connections: int, receive_seconds: float) -> type[asyncio.Protocol]:
    """A protocol class for ``uvicorn.Config(http=…)``.

    Args:
        max_connections: see ``--max-connections``.
        receive_seconds: how long the head of a request may take, and a receiver may block.
    """

    class BoundedProtocol(HttpToolsProtocol):
        _timer: asyncio.TimerHandle | None = None
        _reader_timer: asyncio.TimerHandle | None = None
        _beside_body = 0  # bytes of the present request

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            # Head and body of an answer are written one after the other. asyncio switches Nagle's
            # algorithm off only where a socket names its protocol, which accepted ones do not: the
            # body would wait until the client's kernel acknowledges the head, 40 ms later.
            connection = transport.get_extra_info("socket")
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if len(self.connections) > max_connections * _HARD_LIMIT:
                transport.abort()
            else:
                self._watch_head()

        def data_received(self, data: bytes) -> None:
            self._beside_body += len(data)
            super().data_received(data)
            if self._beside_body > _LARGEST_HEAD and not self.transport.is_closing():
                self.send_400_response(f"more than {_LARGEST_HEAD} bytes are not its body")
            self._watch_head()

        def on_body(self, body: bytes) -> None:
            self._beside_body -= len(body)
            super().on_body(body)

        def on_message_complete(self) -> None:
            self._beside_body = 0
            super().on_message_complete()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._watch_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop(self._timer, self._reader_timer)
            super().connection_lost(exc)

        def _watch_head(self) -> None:
            # Between requests of one connection uvicorn's keep-alive timer watches.
            answered = self.cycle is None or self.cycle.response_complete
            if not answered or self.timeout_keep_alive_task is not None:
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

        def pause_writing(self) -> None:
            super().pause_writing()
            self._reader_timer = self.loop.call_later(receive_seconds, self.transport.abort)

        def resume_writing(self) -> None:
            self._stop(self._reader_timer)
            super().resume_writing()

        def _stop(self, *timers: asyncio.TimerHandle | None) -> None:
            for timer in timers:
                if timer is not None:
                    timer.cancel()

    return BoundedProtocol
