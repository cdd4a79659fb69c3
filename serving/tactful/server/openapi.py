"""The OpenAPI description: the operations, and the shapes of their JSON.

Requests are checked by `tactful.server.request_bodies`, which tells one item of several from the
whole; tests hold live answers against these shapes.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema

import tactful
from tactful.server.problem_documents import MEDIA_TYPE, PROBLEMS

REPLY = "Hi Ana! I'm so sorry your parcel never came. I've sent a new one, it arrives tomorrow."
CONTEXT = "My parcel never came"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Reply(_Strict):
    """One reply to read."""

    reply: str = Field(description="What the agent wrote; not blank.", pattern=r"\S")
    context: str | None = Field(None, description="What the customer said before, if known.")


class Replies(_Strict):
    """Several replies to read; what is wrong with one is told in its place."""

    items: list[Any] = Field(
        description="Objects like a single request: reply and, optional, context."
    )


class Evidence(_Strict):
    """A stretch of the reply that carries a label, in code points, end exclusive."""

    start: int
    end: int
    text: str


class Label(_Strict):
    """A label that was decided."""

    label: str
    score: float = Field(ge=0, le=1, description="Calibrated probability.")
    evidence: list[Evidence] | None = Field(None, json_schema_extra={"default": []})


class Reading(_Strict):
    """What the model says of one reply; the same JSON in Python, command line and HTTP."""

    labels: dict[str, list[Label] | Label] = Field(
        description="Task to what was decided: several labels, or one."
    )
    scores: dict[str, dict[str, float]] = Field(
        description="Task to label to calibrated probability, all labels."
    )
    truncated: bool = Field(description="Whether the end of the reply was too long to be read.")
    bundle: str = Field(description="Name and digest of the model that read it.")


class ItemError(_Strict):
    """Why one item of several has no reading."""

    code: str
    message: str


class FailedItem(_Strict):
    """In the place of the reading that could not be given."""

    error: ItemError


class Readings(_Strict):
    """One reading or error for each item, in order."""

    items: list[Reading | FailedItem]


class BundleLimits(_Strict):
    """How much of a reply the model reads."""

    max_tokens: int
    max_windows: int
    use_context: bool


class BundleInfo(_Strict):
    """The bundle that reads now."""

    bundle: str
    manifest: dict[str, Any]
    kinds: dict[str, Literal["multilabel", "single"]] = Field(description="Task to its kind.")
    labels: dict[str, dict[str, str]] = Field(description="Task to label to description.")
    thresholds: dict[str, dict[str, float]] = Field(
        description="Multilabel task to label to the least score that is decided."
    )
    limits: BundleLimits


class ReloadRequest(_Strict):
    """Which bundle to load; without one, the same address again."""

    bundle: str | None = Field(None, min_length=1)


class Reloaded(_Strict):
    """The bundle that serves now, and the one before."""

    bundle: str
    previous: str | None


class State(_Strict):
    """Health or readiness."""

    status: Literal["alive", "ready"]
    bundle: str | None = None


class FieldError(_Strict):
    """What is wrong with one field."""

    pointer: str = Field(description="JSON pointer into the request.")
    code: str
    message: str


class Problem(_Strict):
    """RFC 9457; never quotes what was sent."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[FieldError] = Field([], description="Where fields are wrong.")


READING_EXAMPLE = {
    "labels": {
        "strategies": [
            {
                "label": "apology",
                "score": 0.98,
                "evidence": [{"start": 8, "end": 20, "text": "I'm so sorry"}],
            }
        ],
        "tone": {"label": "sympathetic", "score": 0.91},
    },
    "scores": {"strategies": {"apology": 0.98}, "tone": {"sympathetic": 0.91}},
    "truncated": False,
    "bundle": "tactful@4f1c0a9b2d7e",
}
REQUEST_EXAMPLES = {
    "one reply": {"value": {"reply": REPLY, "context": CONTEXT}},
    "several": {"value": {"items": [{"reply": REPLY, "context": CONTEXT}, {"reply": "Closed."}]}},
}
ANSWER_EXAMPLES = {
    "one reply": {"value": READING_EXAMPLE},
    "several": {
        "value": {
            "items": [
                READING_EXAMPLE,
                {"error": {"code": "reply_empty", "message": "the reply is empty or blank"}},
            ]
        }
    },
}
_RETRY_AFTER = {
    "description": "Seconds after which another try makes sense.",
    "schema": {"type": "integer", "minimum": 1},
}


_EVERYWHERE = ("http_malformed", "sender_too_slow", "internal_error", "too_many_connections")
_WITH_BODY = (
    *("json_malformed", "token_missing", "body_too_large", "not_json", "body_compressed"),
    *("field_wrong", "not_ready", "draining"),
)


@dataclass(frozen=True)
class Operation:
    """One row of the table of operations.

    Attributes:
        path: its address.
        name: of its handler.
        summary: what it is for.
        answers: the shapes of its answer; none where it is text.
        problems: codes of the problems it may answer with, beside those of every operation.
        bodies: the shapes of its request; with them it is a POST, else a GET and a HEAD.
        body_required: whether the body may be left out.
    """

    path: str
    name: str
    summary: str
    answers: tuple[type[BaseModel], ...] = ()
    problems: tuple[str, ...] = ()
    bodies: tuple[type[BaseModel], ...] = ()
    body_required: bool = True

    @property
    def method(self) -> str:
        """In lower case."""
        return "post" if self.bodies else "get"


OPERATIONS = (
    Operation("/healthz", "healthz", "Whether the process is alive", (State,)),
    Operation(
        "/readyz",
        "readyz",
        "Whether a verified bundle serves and requests are taken",
        (State,),
        ("not_ready", "draining"),
    ),
    Operation("/metrics", "show_metrics", "Figures for Prometheus"),
    Operation(
        "/v1/bundle",
        "show_bundle",
        "The bundle that reads now: manifest, labels, thresholds",
        (BundleInfo,),
        ("token_missing", "not_ready"),
    ),
    Operation(
        "/v1/label",
        "label",
        "Read one reply, or several",
        (Reading, Readings),
        (*_WITH_BODY, "too_many_items", "too_many_tokens", "queue_full", "deadline_exceeded"),
        (Reply, Replies),
    ),
    Operation(
        "/v1/admin/reload",
        "reload",
        "Load a bundle and put it in the place of the one that serves",
        (Reloaded,),
        (*_WITH_BODY, "bundle_refused"),
        (ReloadRequest,),
        body_required=False,
    ),
)


@functools.cache
def describe(root_path: str = "") -> dict[str, Any]:
    """The OpenAPI document.

    Args:
        root_path: under which a proxy shows the service.
    """
    used = {model for one in OPERATIONS for model in (*one.answers, *one.bodies)} | {Problem}
    _, shapes = models_json_schema(
        [(model, "validation") for model in sorted(used, key=lambda model: model.__name__)],
        ref_template="#/components/schemas/{model}",
    )
    paths: dict[str, Any] = {}
    for one in OPERATIONS:
        paths.setdefault(one.path, {})[one.method] = _described(one)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "tactful",
            "description": "Which empathy strategies and which tone a support reply uses.",
            "version": tactful.__version__,
        },
        # Relative to where this document was found, under whatever path a proxy shows it.
        "servers": [{"url": root_path or "."}],
        "paths": paths,
        "components": {
            "schemas": shapes["$defs"],
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _described(one: Operation) -> dict[str, Any]:
    content: dict[str, Any] = {"text/plain": {"schema": {"type": "string"}}}
    if one.answers:
        content = {"application/json": {"schema": _any_of(one.answers)}}
    described: dict[str, Any] = {
        "summary": one.summary,
        "operationId": f"{re.sub(r'[^a-z0-9]', '_', one.name + one.path)}_{one.method}",
        "responses": {"200": {"description": "Successful Response", "content": content}},
    }
    described["responses"] |= _problem_responses(*_EVERYWHERE, *one.problems)
    if one.bodies:
        body: dict[str, Any] = {"schema": _any_of(one.bodies)}
        described["requestBody"] = {
            "required": one.body_required,
            "content": {"application/json": body},
        }
    if one.name == "label":
        body["examples"] = REQUEST_EXAMPLES
        content["application/json"]["examples"] = ANSWER_EXAMPLES
    if "token_missing" in one.problems:
        described["security"] = [{"bearer": []}]
    return described


def _any_of(models: tuple[type[BaseModel], ...]) -> dict[str, Any]:
    references = [{"$ref": f"#/components/schemas/{model.__name__}"} for model in models]
    return references[0] if len(references) == 1 else {"anyOf": references}


def _problem_responses(*codes: str) -> dict[str, dict[str, Any]]:
    """The responses of some rows of the table of problems, by status."""
    responses: dict[str, dict[str, Any]] = {}
    for code in codes:
        row = PROBLEMS[code]
        example = {
            "type": f"urn:tactful:problem:{code}",
            "title": row.title,
            "status": row.status,
            "detail": "what was given, what is allowed and what to do",
            "code": code,
            "request_id": "6f1d2c3b4a59",
        }
        schema = {"$ref": "#/components/schemas/Problem"}
        content = {MEDIA_TYPE: {"schema": schema, "examples": {}}}
        response = responses.setdefault(str(row.status), {"description": "", "content": content})
        response["description"] += ("; " if response["description"] else "") + row.title
        response["content"][MEDIA_TYPE]["examples"][code] = {"value": example}
        if row.status in (429, 503):
            response["headers"] = {"Retry-After": _RETRY_AFTER}
    return responses
