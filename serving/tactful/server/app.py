"""The routes. Each one parses, asks the core and answers; errors go through one table."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

import pydantic.json_schema
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp

import tactful
from tactful.errors import InputError, TactfulError
from tactful.server import page, schemas
from tactful.server.direct import DirectRoutes
from tactful.server.metrics import CONTENT_TYPE, Metrics
from tactful.server.problems import (
    MEDIA_TYPE,
    PROBLEMS,
    RequestError,
    document,
    problem_of,
    refused_bundle,
    status_problem,
)
from tactful.server.requests import (
    disconnected,
    parse_label_request,
    parse_reload_request,
    read_json,
    read_optional_json,
)
from tactful.server.serve_command import Settings
from tactful.server.service import Result, Service, bundle_info

REQUEST_ID = "tactful.request_id"  # keys of the scope, for the middleware around the routes
CAUSE = "tactful.cause"
CLIENT_GONE = 499  # what is logged and counted where nobody is left to be answered
_EVERYWHERE = ("http_malformed", "sender_too_slow", "internal_error", "too_many_connections")
_TOKEN_NEEDED: dict[str, Any] = {"security": [{"bearer": []}]}


def build_app(
    service: Service,
    settings: Settings,
    metrics: Metrics,
    *,
    reloaded: Callable[[str | None], None] = lambda address: None,
) -> ASGIApp:
    """The service's routes.

    Args:
        service: the core; may still be loading its bundle.
        settings: limits and token.
        metrics: what ``/metrics`` shows; failures are counted there.
        reloaded: told the address that was asked for after a reload.
    """
    app = FastAPI(
        title="tactful",
        version=tactful.__version__,
        description="Which empathy strategies and which tone a support reply uses.",
        docs_url=None,  # both would load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )

    def answer(request: Request, problem: RequestError) -> Response:
        request.scope[CAUSE] = problem.code
        body = document(problem, request.scope.get(REQUEST_ID, ""))
        headers = dict(problem.headers)
        status = PROBLEMS[problem.code].status
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return Response(body, status, headers, media_type=MEDIA_TYPE)

    def refuse(request: Request, error: Exception) -> Response:
        if isinstance(error, ClientDisconnect):
            request.scope[CAUSE] = "client_gone"
            return Response(status_code=CLIENT_GONE)
        return answer(request, problem_of(error))

    @app.exception_handler(Exception)
    async def unforeseen(request: Request, error: Exception) -> Response:
        return refuse(request, error)

    @app.exception_handler(HTTPException)
    async def unrouted(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return answer(request, status_problem(error.status_code, error.headers))

    def authorize(request: Request) -> None:
        if not settings.allows(request.headers.get("authorization")):
            raise RequestError(
                "token_missing", "send the header Authorization: Bearer <token of this service>"
            )

    @app.get("/", response_class=Response, include_in_schema=False)
    async def playground(request: Request) -> Response:
        return page.response()

    @app.get(
        "/healthz",
        summary="Whether the process is alive",
        response_model=schemas.State,
        responses=schemas.problem_responses(*_EVERYWHERE),
    )
    async def healthz(request: Request) -> Response:
        return _json({"status": "alive"})

    @app.get(
        "/readyz",
        summary="Whether a verified bundle serves and requests are taken",
        response_model=schemas.State,
        responses=schemas.problem_responses(*_EVERYWHERE, "not_ready", "draining"),
    )
    async def readyz(request: Request) -> Response:
        service.check_ready()
        return _json({"status": "ready", "bundle": service.classifier.bundle.id})

    @app.get(
        "/metrics",
        summary="Figures for Prometheus",
        response_class=Response,
        responses={
            200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
            **schemas.problem_responses(*_EVERYWHERE),
        },
    )
    async def show_metrics(request: Request) -> Response:
        metrics.state(ready=service.ready, waiting_tokens=service.waiting_tokens)
        return Response(metrics.exposition(), headers={"Content-Type": CONTENT_TYPE})

    @app.get(
        "/v1/bundle",
        summary="The bundle that reads now: manifest, labels, thresholds",
        response_model=schemas.BundleInfo,
        responses=schemas.problem_responses(*_EVERYWHERE, "token_missing", "not_ready"),
        openapi_extra=_TOKEN_NEEDED,
    )
    async def show_bundle(request: Request) -> Response:
        authorize(request)
        return _json(bundle_info(service.classifier))

    @app.post(
        "/v1/label",
        summary="Read one reply, or several",
        response_model=schemas.Reading | schemas.Readings,
        responses={
            200: {"content": {"application/json": {"examples": schemas.ANSWER_EXAMPLES}}},
            **schemas.problem_responses(
                *_EVERYWHERE,
                *("json_malformed", "token_missing", "body_too_large", "too_many_items"),
                *("too_many_tokens", "not_json", "field_wrong", "queue_full", "not_ready"),
                *("draining", "deadline_exceeded"),
            ),
        },
        openapi_extra={
            **_TOKEN_NEEDED,
            **_body(["Reply", "Replies"], required=True, examples=schemas.REQUEST_EXAMPLES),
        },
    )
    async def label(request: Request) -> Response:
        authorize(request)
        service.check_ready()  # before the body is read: who is refused anyway need not send it
        wanted = parse_label_request(await read_json(request, settings), settings.max_items)
        reading = asyncio.ensure_future(service.label(wanted.items))
        gone = asyncio.ensure_future(disconnected(request))
        try:
            await asyncio.wait({reading, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                raise ClientDisconnect
            results = reading.result()
        finally:
            reading.cancel()
            gone.cancel()
        for result in results:
            if isinstance(result, InputError):
                if wanted.single:
                    raise result
                metrics.failure(result.code)
        answers = [_result(result) for result in results]
        return _json(answers[0] if wanted.single else {"items": answers})

    @app.post(
        "/v1/admin/reload",
        summary="Load a bundle and put it in the place of the one that serves",
        response_model=schemas.Reloaded,
        responses=schemas.problem_responses(
            *_EVERYWHERE,
            *("json_malformed", "token_missing", "body_too_large", "not_json", "field_wrong"),
            *("bundle_refused", "not_ready", "draining"),
        ),
        openapi_extra={**_TOKEN_NEEDED, **_body(["ReloadRequest"], required=False)},
    )
    async def reload(request: Request) -> Response:
        if settings.token is None:
            raise RequestError(
                "token_missing",
                "this service was started without a token, so bundles are not exchanged over "
                "HTTP; set one, or send SIGHUP to the process",
            )
        authorize(request)
        service.check_ready()
        address = parse_reload_request(await read_optional_json(request, settings))
        try:
            previous, now = await service.reload(address)
        except (TactfulError, OSError) as error:
            raise refused_bundle(error, address) from error
        reloaded(address)
        return _json({"bundle": now, "previous": previous})

    _describe(app)
    return DirectRoutes(app, refuse)


def _json(content: Any) -> Response:
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    try:
        body = text.encode()
    except UnicodeEncodeError:  # a lone surrogate, which JSON can only hold escaped
        body = json.dumps(content, separators=(",", ":")).encode()
    return Response(body, media_type="application/json")


def _result(result: Result) -> dict[str, Any]:
    if isinstance(result, InputError):
        return {"error": {"code": result.code, "message": str(result)}}
    return result.to_dict()


def _body(
    names: list[str], *, required: bool, examples: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    references = [{"$ref": f"#/components/schemas/{name}"} for name in names]
    schema = references[0] if len(references) == 1 else {"anyOf": references}
    content: dict[str, Any] = {"schema": schema}
    if examples:
        content["examples"] = examples
    return {"requestBody": {"required": required, "content": {"application/json": content}}}


def _describe(app: FastAPI) -> None:
    """Complete the OpenAPI description with what is not declared by a route's types."""
    description = app.openapi()
    models = (schemas.Reply, schemas.Replies, schemas.ReloadRequest, schemas.Problem)
    _, extra = pydantic.json_schema.models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    components = description.setdefault("components", {})
    components.setdefault("schemas", {}).update(extra["$defs"])
    components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
