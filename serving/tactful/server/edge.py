"""What stands before the routes: request ids, logs, figures, and connections that end politely."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tactful.server.app import CAUSE, CLIENT_GONE, REQUEST_ID
from tactful.server.metrics import Metrics
from tactful.server.problems import MEDIA_TYPE, PROBLEMS, RequestError, document
from tactful.server.service import Service

_log = logging.getLogger("tactful.server")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# How long what is still being sent is read and thrown away after a refusal. Closed at once, the
# connection would be reset and the sender might never see the answer.
_LINGER_SECONDS = 2.0
_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})  # asked every few seconds by machines


class Edge:
    """ASGI middleware around the routes.

    Args:
        app: the routes.
        service: whether it is draining decides whether connections stay open.
        metrics: counts requests and failures.
        overcrowded: whether there are more connections than allowed.
    """

    def __init__(
        self, app: ASGIApp, service: Service, metrics: Metrics, overcrowded: Callable[[], bool]
    ) -> None:
        self._app = app
        self._service = service
        self._metrics = metrics
        self._overcrowded = overcrowded
        self.in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        exchange = _Exchange(scope, receive, send, self._service)
        self.in_flight += 1
        try:
            if self._overcrowded():
                await exchange.refuse(
                    RequestError("too_many_connections", "try again", headers={"Retry-After": "1"})
                )
            else:
                await self._app(scope, exchange.receive, exchange.send)
        except Exception as error:
            _log.error("unforeseen error", exc_info=error, extra={"request_id": exchange.id})
            await exchange.refuse(
                RequestError(
                    "internal_error", "an error that was not foreseen; its place is in the log"
                )
            )
        finally:
            self.in_flight -= 1
            self._record(scope, exchange)

    def _record(self, scope: Scope, exchange: _Exchange) -> None:
        # The template, never the path: that is the sender's text.
        route = getattr(scope.get("route"), "path", None) or _described(scope["path"])
        method = scope["method"] if scope["method"] in _METHODS else "other"
        status = exchange.status or CLIENT_GONE
        seconds = time.monotonic() - exchange.started
        self._metrics.request(route, method, status, seconds)
        cause = scope.get(CAUSE)
        if cause is not None:
            self._metrics.failure(cause)
        if route in _QUIET and status < 400:
            return
        _log.info(
            "request",
            extra={
                "request_id": exchange.id,
                "method": method,
                "route": route,
                "status": status,
                "ms": round(seconds * 1000, 1),
                "cause": cause,
            },
        )


def _described(path: str) -> str:
    # The framework's own address; its route leaves no trace in the scope.
    return path if path == "/openapi.json" else "unmatched"


class _Exchange:
    """One request and its answer on their way through."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, service: Service) -> None:
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        self.id = given.decode() if _REQUEST_ID.fullmatch(given) else secrets.token_hex(6)
        self.started = time.monotonic()
        self.status: int | None = None
        self._scope, self._receive, self._send = scope, receive, send
        self._service = service
        self._unread = headers.get(b"content-length", b"0") != b"0" or (
            b"transfer-encoding" in headers
        )
        self._asks_first = b"expect" in headers  # sends nothing before it is told to
        scope[REQUEST_ID] = self.id

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            self._unread = False
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", ()), (b"x-request-id", self.id.encode())]
            if self._unread or self._service.draining or self.status == 503:
                headers.append((b"connection", b"close"))
            await self._send({**message, "headers": headers})
        elif self._unread and not message.get("more_body"):
            await self._send({**message, "more_body": True})
            await self._discard()
            await self._send({"type": "http.response.body"})
        else:
            await self._send(message)

    async def refuse(self, problem: RequestError) -> None:
        if self.status is not None:  # too late to say anything
            return
        self._scope[CAUSE] = problem.code
        body = document(problem, self.id)
        headers = {"content-type": MEDIA_TYPE, "content-length": str(len(body)), **problem.headers}
        await self.send(
            {
                "type": "http.response.start",
                "status": PROBLEMS[problem.code].status,
                "headers": [(k.lower().encode(), v.encode()) for k, v in headers.items()],
            }
        )
        await self.send({"type": "http.response.body", "body": body})

    async def _discard(self) -> None:
        if self._asks_first:
            return
        try:
            async with asyncio.timeout(_LINGER_SECONDS):
                while self._unread:
                    await self.receive()
        except TimeoutError:
            pass
