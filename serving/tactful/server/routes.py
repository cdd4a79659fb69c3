"""The addresses: each parses, asks the live bundle and answers; errors go through one table."""

from __future__ import annotations

import asyncio
import base64
import functools
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

import tactful
from tactful.errors import InputError, TactfulError
from tactful.reading.readings import Reading
from tactful.server.exchanges import CAUSE, CLIENT_GONE, REQUEST_ID
from tactful.server.feedback_log import FeedbackLog
from tactful.server.inference_protocol import (
    EXTENSIONS,
    HEADER_LENGTH,
    inference_answer,
    model_metadata,
    parse_inference,
)
from tactful.server.live_bundle import Item, LiveBundle, Outcome, bundle_info
from tactful.server.openapi import OPERATIONS, describe
from tactful.server.problem_documents import (
    RequestError,
    problem_of,
    problem_response,
    refused_bundle,
)
from tactful.server.request_bodies import (
    disconnected,
    parse_explain,
    parse_feedback_request,
    parse_label_request,
    parse_reload_request,
    read_inference,
    read_json,
    read_optional_json,
)
from tactful.server.serve_settings import Settings
from tactful.server.telemetry import CONTENT_TYPE, ServiceMetrics

_INLINE = re.compile(rb"<(script|style)>(.*?)</\1>", re.DOTALL)


class Routes:
    """The handlers of all addresses.

    Args:
        bundle: what reads; may still be loading.
        settings: limits and token.
        metrics: what ``/metrics`` shows; failures are counted there.
        reloaded: told the address that was asked for after a reload.

    Raises:
        TactfulError: the file for feedback cannot be written.
    """

    def __init__(
        self,
        bundle: LiveBundle,
        settings: Settings,
        metrics: ServiceMetrics,
        reloaded: Callable[[str | None], None] = lambda address: None,
    ) -> None:
        self._bundle = bundle
        self._settings = settings
        self._metrics = metrics
        self._reloaded = reloaded
        self._feedback = None if settings.feedback is None else FeedbackLog(settings.feedback)

    def app(self) -> tuple[Starlette, set[str]]:
        """The ASGI application and its addresses.

        What no handler foresaw is answered with 500 and raised.
        """
        routes = [Route("/", self.page), Route("/openapi.json", self.openapi)]
        routes += [
            Route(one.path, getattr(self, one.name), methods=[one.method]) for one in OPERATIONS
        ]
        refused = (TactfulError, HTTPException, ClientDisconnect, Exception)
        handlers: dict[Any, Any] = dict.fromkeys(refused, _refuse)
        app = Starlette(routes=routes, exception_handlers=handlers)
        app.router.redirect_slashes = False
        return app, {route.path for route in routes}

    async def page(self, request: Request) -> Response:
        """The playground."""
        content, headers = _page()
        return Response(content, headers=headers, media_type="text/html")

    async def openapi(self, request: Request) -> Response:
        """The description of all this."""
        return _json(describe(self._settings.root_path))

    async def healthz(self, request: Request) -> Response:
        """Whether the process is alive."""
        return _json({"status": "alive"})

    async def readyz(self, request: Request) -> Response:
        """Whether requests are taken."""
        self._bundle.check_ready()
        return _json({"status": "ready", "bundle": self._bundle.classifier.bundle.id})

    async def show_metrics(self, request: Request) -> Response:
        """Figures for Prometheus."""
        self._metrics.state(ready=self._bundle.ready, waiting_tokens=self._bundle.waiting_tokens)
        return Response(self._metrics.exposition(), headers={"Content-Type": CONTENT_TYPE})

    async def show_bundle(self, request: Request) -> Response:
        """What reads now."""
        self._authorize(request)
        taken = {"feedback": self._feedback is not None}
        return _json(bundle_info(self._bundle.classifier) | taken)

    async def label(self, request: Request) -> Response:
        """Read one reply, or several."""
        self._authorize(request)
        # Before the body is read: who is refused anyway need not send it. Who was let in here is
        # read, even when the service is told to end meanwhile.
        self._bundle.check_ready()
        explain = parse_explain(request.query_params)
        body = await read_json(request, self._settings)
        wanted = parse_label_request(body, self._settings.max_items)
        outcomes = await self._read(request, wanted.items, explain=explain)
        for outcome in outcomes:
            if isinstance(outcome, InputError):
                if wanted.single:
                    raise outcome
                self._metrics.failure(outcome.code)
        answers = [_answer(outcome) for outcome in outcomes]
        return _json(answers[0] if wanted.single else {"items": answers})

    async def feedback(self, request: Request) -> Response:
        """Store what a person says against a reading."""
        self._authorize(request)
        if self._feedback is None:
            raise RequestError(
                "feedback_off",
                "this service stores no texts; it takes feedback when it is started with "
                "--feedback FILE",
            )
        self._bundle.check_ready()
        body = await read_json(request, self._settings)
        bundle = self._bundle.classifier.bundle
        said = parse_feedback_request(body, bundle.heads.tasks)
        texts = (said.get("reply"), said.get("context"), said.get("format", "auto"))
        [outcome] = await self._bundle.label([texts])
        if isinstance(outcome, InputError):
            raise outcome
        assert isinstance(outcome, Reading)  # no receipt was asked for
        try:
            name = await asyncio.to_thread(
                self._feedback.add, said, outcome, str(bundle.manifest["digest"])
            )
        except OSError as error:
            raise RequestError(
                "feedback_not_stored",
                f"the disk refused ({error.strerror}); tell whoever runs this service, and try "
                "again",
            ) from error
        return _json({"id": name, "bundle": outcome.bundle})

    async def reload(self, request: Request) -> Response:
        """Put another bundle in the place of the one that serves."""
        if self._settings.token is None:
            raise RequestError(
                "token_missing",
                "this service was started without a token, so bundles are not exchanged over "
                "HTTP; set one, or send SIGHUP to the process",
            )
        self._authorize(request)
        self._bundle.check_ready()
        address = parse_reload_request(await read_optional_json(request, self._settings))
        try:
            previous, now = await self._bundle.reload(address)
        except (TactfulError, OSError) as error:
            raise refused_bundle(error, address) from error
        self._reloaded(address)
        return _json({"bundle": now, "previous": previous})

    async def inference_server(self, request: Request) -> Response:
        """The service and what it knows beyond the inference protocol."""
        return _json(
            {"name": "tactful", "version": tactful.__version__, "extensions": list(EXTENSIONS)}
        )

    async def inference_live(self, request: Request) -> Response:
        """Whether the process is alive."""
        return _json({"live": True})

    async def inference_ready(self, request: Request) -> Response:
        """Whether requests are taken."""
        self._bundle.check_ready()
        return _json({"ready": True})

    async def inference_model(self, request: Request) -> Response:
        """The model and its tensors."""
        self._authorize(request)
        return _json(model_metadata(self._bundle.classifier, self._model(request)))

    async def inference_model_ready(self, request: Request) -> Response:
        """Whether the model takes requests."""
        self._bundle.check_ready()
        return _json({"name": self._model(request), "ready": True})

    async def infer(self, request: Request) -> Response:
        """Read the replies of a tensor."""
        self._authorize(request)
        self._bundle.check_ready()
        name = self._model(request)
        content, binary = await read_inference(request, self._settings)
        classifier = self._bundle.classifier
        tasks = classifier.bundle.heads.tasks
        wanted = parse_inference(content, binary, tasks, self._settings.max_items)
        outcomes = await self._read(request, wanted.items)
        read_by = {each.bundle for each in outcomes if isinstance(each, Reading)}
        if self._bundle.classifier.bundle.id in read_by:  # exchanged meanwhile
            classifier = self._bundle.classifier
        answer, parts = inference_answer(wanted, outcomes, classifier, name)
        response = _json(answer)
        if not parts:
            return response
        return Response(
            b"".join([bytes(response.body), *parts]),
            headers={HEADER_LENGTH: str(len(response.body))},
            media_type="application/octet-stream",
        )

    async def _read(
        self,
        request: Request,
        items: Sequence[Item | InputError],
        *,
        explain: bool = False,
    ) -> list[Outcome]:
        """What the bundle reads, while somebody is there to hear it."""
        reading = asyncio.ensure_future(self._bundle.label(items, explain=explain))
        gone = asyncio.ensure_future(disconnected(request))
        try:
            await asyncio.wait({reading, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                raise ClientDisconnect
            return reading.result()
        finally:
            reading.cancel()
            gone.cancel()

    def _model(self, request: Request) -> str:
        """The name of the model, which must be the one that was asked for."""
        name = self._settings.model_name or self._bundle.classifier.bundle.manifest["name"]
        if request.path_params["name"] != name:
            raise RequestError("not_found", f"there is no such model; this service has {name}")
        return str(name)

    def _authorize(self, request: Request) -> None:
        if not self._settings.allows(request.headers.get("authorization")):
            raise RequestError(
                "token_missing", "send the header Authorization: Bearer <token of this service>"
            )


async def _refuse(request: Request, error: Exception) -> Response:
    if isinstance(error, ClientDisconnect):
        request.scope[CAUSE] = "client_gone"
        return Response(status_code=CLIENT_GONE)
    problem = problem_of(error)
    request.scope[CAUSE] = problem.code
    return problem_response(problem, request.scope, request.scope[REQUEST_ID])


def _json(content: Any) -> Response:
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    try:
        body = text.encode()
    except UnicodeEncodeError:  # a lone surrogate, which JSON can only hold escaped
        body = json.dumps(content, separators=(",", ":")).encode()
    return Response(body, media_type="application/json")


def _answer(outcome: Outcome) -> dict[str, Any]:
    if isinstance(outcome, InputError):
        return {"error": {"code": outcome.code, "message": str(outcome)}}
    return outcome.to_dict()


@functools.cache
def _page() -> tuple[bytes, dict[str, str]]:
    """The page; its policy allows its own script and style by their digests, and nothing else."""
    content = files("tactful.server").joinpath("page.html").read_bytes()
    allowed = {kind.decode(): _digest_source(text) for kind, text in _INLINE.findall(content)}
    policy = (
        f"default-src 'none'; script-src {allowed['script']}; style-src {allowed['style']}; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )
    return content, {
        "Content-Security-Policy": policy,
        "Cache-Control": "no-cache",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    }


def _digest_source(inline: bytes) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(inline).digest()).decode()}'"
