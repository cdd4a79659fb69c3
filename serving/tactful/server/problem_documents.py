"""The one table from what goes wrong to problem documents (RFC 9457).

A document says what was given, what is allowed and what to do, and never quotes a text. Under
``/v2`` the inference protocol has a form of its own: an object with ``error``.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope

from tactful.errors import BundleError, InputError, TactfulError
from tactful.server.fair_queue import (
    DeadlineExceeded,
    Draining,
    Failure,
    QueueFull,
    TooManyTokens,
)
from tactful.server.live_bundle import NotReady

MEDIA_TYPE = "application/problem+json"
_INFERENCE = "/v2"


class RequestError(TactfulError):
    """A request that is refused at the edge of the service.

    Attributes:
        code: a key of `PROBLEMS`.
        errors: for each wrong field a JSON pointer and what is wrong with it.
        headers: to send along.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.code = code
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        super().__init__(detail)


@dataclass(frozen=True)
class ProblemType:
    """One row of the table: a status, and what this kind of problem is called."""

    status: int
    title: str


PROBLEMS: dict[str, ProblemType] = {
    "http_malformed": ProblemType(400, "This is no HTTP request"),
    "json_malformed": ProblemType(400, "The body is no JSON"),
    "tensor_wrong": ProblemType(400, "A tensor is wrong"),
    "token_missing": ProblemType(401, "A bearer token is needed"),
    "not_found": ProblemType(404, "There is nothing at this address"),
    "feedback_off": ProblemType(404, "This service takes no feedback"),
    "method_not_allowed": ProblemType(405, "This address does not take this method"),
    "sender_too_slow": ProblemType(408, "The request did not arrive in time"),
    "body_too_large": ProblemType(413, "The body is too large"),
    "too_many_items": ProblemType(413, "There are too many items in one request"),
    "too_many_tokens": ProblemType(413, "The texts of one request are too long together"),
    "not_json": ProblemType(415, "The body must be declared as JSON"),
    "body_compressed": ProblemType(415, "The body must not be compressed"),
    "field_wrong": ProblemType(422, "A field is wrong"),
    "bundle_refused": ProblemType(422, "The bundle cannot be used"),
    "queue_full": ProblemType(429, "Too much is waiting already"),
    "internal_error": ProblemType(500, "Something went wrong inside the service"),
    "not_ready": ProblemType(503, "The service is not ready yet"),
    "draining": ProblemType(503, "The service is ending"),
    "deadline_exceeded": ProblemType(503, "The request was not read in time"),
    "too_many_connections": ProblemType(503, "There are too many open connections"),
    "feedback_not_stored": ProblemType(507, "The feedback could not be stored"),
}
# What the core raises; the first class that fits counts.
_CODES: tuple[tuple[type[Exception], str], ...] = (
    (QueueFull, "queue_full"),
    (TooManyTokens, "too_many_tokens"),
    (DeadlineExceeded, "deadline_exceeded"),
    (NotReady, "not_ready"),
    (Draining, "draining"),
    (InputError, "field_wrong"),
)
_ROUTER_CODES = {404: "not_found", 405: "method_not_allowed"}
_INTERNAL = "an error that was not foreseen; its place is in the service's log"


def problem_of(error: Exception) -> RequestError:
    """Any error as one that has a row in the table."""
    if isinstance(error, RequestError):
        return error
    if isinstance(error, HTTPException) and error.status_code in _ROUTER_CODES:
        allowed = ", ".join(sorted((error.headers or {}).get("Allow", "").split(", ")))
        code = _ROUTER_CODES[error.status_code]
        if code == "not_found":
            return RequestError(code, "known addresses are in /openapi.json")
        return RequestError(code, f"allowed here: {allowed}", headers={"Allow": allowed})
    code = next((code for kind, code in _CODES if isinstance(error, kind)), "internal_error")
    if code == "internal_error":
        return RequestError(code, _INTERNAL)
    headers = {}
    if isinstance(error, Failure) and error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    errors = []
    if isinstance(error, InputError):
        field = error.code.partition("_")[0]
        pointer = f"/{field}" if field in ("context", "format") else "/reply"
        errors = [{"pointer": pointer, "code": error.code, "message": str(error)}]
    return RequestError(code, str(error), errors=errors, headers=headers)


def refused_bundle(error: Exception, address: str | None) -> RequestError:
    """A bundle that was not put in the place of the one that serves."""
    problems = error.problems if isinstance(error, BundleError) else (str(error),)
    return RequestError(
        "bundle_refused",
        f"the bundle {address or 'at the same address'} cannot be used; the old one goes on "
        "serving",
        errors=[{"pointer": "/bundle", "code": "bundle_refused", "message": p} for p in problems],
    )


def document(problem: RequestError, request_id: str) -> bytes:
    """The problem document of an error that is in the table."""
    row = PROBLEMS[problem.code]
    content: dict[str, Any] = {
        "type": f"urn:tactful:problem:{problem.code}",
        "title": row.title,
        "status": row.status,
        "detail": str(problem),
        "code": problem.code,
        "request_id": request_id,
    }
    if problem.errors:
        content["errors"] = list(problem.errors)
    return json.dumps(content).encode()


def speaks_inference(path: str) -> bool:
    """Whether an address is one of the inference protocol, known or not."""
    return path == _INFERENCE or path.startswith(f"{_INFERENCE}/")


def problem_response(problem: RequestError, scope: Scope, request_id: str) -> Response:
    """The answer to a request that is refused, in the form of the protocol that it speaks."""
    status = PROBLEMS[problem.code].status
    headers = problem.headers | ({"WWW-Authenticate": "Bearer"} if status == 401 else {})
    if speaks_inference(scope["path"].removeprefix(scope.get("root_path", ""))):
        content = json.dumps({"error": str(problem)})
        return Response(content, status, headers, media_type="application/json")
    return Response(document(problem, request_id), status, headers, media_type=MEDIA_TYPE)


def raw_response(code: str, detail: str) -> bytes:
    """A whole HTTP/1.1 answer, for a connection on which no request could be understood."""
    request_id = new_request_id()
    body = document(RequestError(code, detail), request_id)
    status = HTTPStatus(PROBLEMS[code].status)
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: {MEDIA_TYPE}\r\n"
        f"content-length: {len(body)}\r\nx-request-id: {request_id}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body


def new_request_id() -> str:
    """An id for a request that came with none."""
    return secrets.token_hex(6)
