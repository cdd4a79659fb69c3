"""One request and its answer on their way through: ids, log lines, figures, polite ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Callable, Collection

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tactful.server.connections import CONNECTION, Connection
from tactful.server.live_bundle import LiveBundle
from tactful.server.problem_documents import (
    RequestError,
    new_request_id,
    problem_of,
    problem_response,
)
from tactful.server.telemetry import LOGGER, ServiceMetrics
from tactful.server.tracing import Tracing

REQUEST_ID = "tactful.request_id"  # keys of the scope
CAUSE = "tactful.cause"
CLIENT_GONE = 499  # what is logged and counted where nobody is left to be answered
_log = logging.getLogger(LOGGER)
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# Asked every few seconds by machines.
_QUIET = frozenset({"/healthz", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready"})
# How long what is still being sent is read and thrown away after a refusal. Closed at once, the
# connection would be reset and the sender might never see the answer.
_LINGER_SECONDS = 2.0


class Exchanges:
    """ASGI middleware around the routes.

    Args:
        app: answers what is asked.
        paths: its addresses, which logs and metrics may name; a part in braces stands for any.
        bundle: whether it is draining decides whether connections stay open.
        metrics: count requests and failures.
        tracing: is told of each request but those of probes and scrapers.
        root_path: under which a proxy shows the service.
    """

    def __init__(
        self,
        app: ASGIApp,
        paths: Collection[str],
        bundle: LiveBundle,
        metrics: ServiceMetrics,
        tracing: Tracing,
        root_path: str = "",
    ) -> None:
        self._app = app
        self._paths = [(re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), path) for path in paths]
        self._bundle = bundle
        self._metrics = metrics
        self._tracing = tracing
        self._root_path = root_path
        self.overcrowded: Callable[[], bool] = lambda: False
        self.in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        path = self._enter(scope)
        exchange = _Exchange(scope, receive, send, self._bundle)
        route = self._route(path)
        self.in_flight += 1
        try:
            if route in _QUIET:
                await self._answer(exchange, scope)
                return
            with self._tracing.request(dict(scope["headers"])) as traced:
                await self._answer(exchange, scope)
                self._tracing.answered(
                    traced,
                    route=route,
                    method=_method(scope),
                    status=exchange.status or CLIENT_GONE,
                    cause=scope.get(CAUSE),
                )
        finally:
            exchange.end()
            self.in_flight -= 1
            self._record(exchange, scope, route)

    async def _answer(self, exchange: _Exchange, scope: Scope) -> None:
        try:
            if self.overcrowded():
                await exchange.refuse(
                    RequestError("too_many_connections", "try again", headers={"Retry-After": "1"})
                )
            else:
                await self._app(scope, exchange.receive, exchange.send)
        except Exception as error:
            _log.error("unforeseen error", exc_info=error, extra={"request_id": exchange.id})
            await exchange.refuse(problem_of(error))

    def _enter(self, scope: Scope) -> str:
        """The path as the routes know it, whether or not a proxy has taken the prefix away."""
        root, path = self._root_path, str(scope["path"])
        if not root:
            return path
        inside = path.removeprefix(root) or "/"
        if inside == path or not inside.startswith("/"):
            inside = path
        scope["root_path"], scope["path"] = root, root + inside
        return inside

    def _route(self, path: str) -> str:
        """The address that a path is one of; never the path itself: that is the sender's text."""
        return next((route for form, route in self._paths if form.fullmatch(path)), "unmatched")

    def _record(self, exchange: _Exchange, scope: Scope, route: str) -> None:
        method = _method(scope)
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


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in _METHODS else "other"


class _Exchange:
    """One request and its answer on their way through."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, bundle: LiveBundle) -> None:
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        self.id = given.decode() if _REQUEST_ID.fullmatch(given) else new_request_id()
        self.started = time.monotonic()
        self.status: int | None = None
        self._scope, self._receive, self._send = scope, receive, send
        self._bundle = bundle
        self._connection: Connection = scope["state"][CONNECTION]
        self._connection.asked()
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
            self._connection.answering = True
            headers = [*message.get("headers", ()), (b"x-request-id", self.id.encode())]
            if self._unread or self._bundle.draining or self.status == 503:
                headers.append((b"connection", b"close"))
            await self._send({**message, "headers": headers})
            return
        if self._unread and not message.get("more_body"):
            await self._send({**message, "more_body": True})
            await self._discard()
            message = {"type": "http.response.body"}
        self._connection.answering = bool(message.get("more_body"))
        await self._send(message)

    async def refuse(self, problem: RequestError) -> None:
        if self.status is None:  # otherwise it is too late to say anything
            self._scope[CAUSE] = problem.code
            await problem_response(problem, self._scope, self.id)(
                self._scope, self.receive, self.send
            )

    def end(self) -> None:
        self._connection.answered()

    async def _discard(self) -> None:
        if self._asks_first:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                while self._unread:
                    await self.receive()
