"""The OpenAPI description of all operations; `json_shapes` says what their JSON is."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

import tactful
from tactful.server.inference_shapes import (
    INFERENCE_EXAMPLE,
    INFERRED_EXAMPLE,
    Inference,
    InferenceError,
    Inferred,
    Live,
    ModelMetadata,
    ModelReady,
    Ready,
    ServerMetadata,
)
from tactful.server.json_shapes import (
    ANSWER_EXAMPLES,
    REQUEST_EXAMPLES,
    BundleInfo,
    Feedback,
    FeedbackStored,
    Problem,
    Reading,
    Readings,
    Receipt,
    Reloaded,
    ReloadRequest,
    Replies,
    Reply,
    State,
)
from tactful.server.problem_documents import MEDIA_TYPE, PROBLEMS, speaks_inference

_RETRY_AFTER = {
    "description": "Seconds after which another try makes sense.",
    "schema": {"type": "integer", "minimum": 1},
}


_EVERYWHERE = ("http_malformed", "sender_too_slow", "internal_error", "too_many_connections")
_WITH_BODY = (
    *("json_malformed", "token_missing", "body_too_large", "not_json", "body_compressed"),
    *("field_wrong", "not_ready", "draining"),
)
_WITH_TENSORS = (
    *("json_malformed", "tensor_wrong", "token_missing", "not_found", "body_too_large"),
    *("not_json", "body_compressed", "not_ready", "draining"),
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
        switches: parameters of the query that are true or false, and what they are for.
    """

    path: str
    name: str
    summary: str
    answers: tuple[type[BaseModel], ...] = ()
    problems: tuple[str, ...] = ()
    bodies: tuple[type[BaseModel], ...] = ()
    body_required: bool = True
    switches: Mapping[str, str] = field(default_factory=dict)

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
        (Reading, Receipt, Readings),
        (*_WITH_BODY, "too_many_items", "too_many_tokens", "queue_full", "deadline_exceeded"),
        (Reply, Replies),
        switches={"explain": "Receipts in the place of readings: what led to the decisions."},
    ),
    Operation(
        "/v1/feedback",
        "feedback",
        "Say against a reading what is right; stored, where the service was told to",
        (FeedbackStored,),
        (
            *(*_WITH_BODY, "feedback_off", "feedback_not_stored", "too_many_tokens"),
            *("queue_full", "deadline_exceeded"),
        ),
        (Feedback,),
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
    Operation(
        "/v2", "inference_server", "This server, in the inference protocol", (ServerMetadata,)
    ),
    Operation("/v2/health/live", "inference_live", "Whether the process is alive", (Live,)),
    Operation(
        "/v2/health/ready",
        "inference_ready",
        "Whether a verified bundle serves and requests are taken",
        (Ready,),
        ("not_ready", "draining"),
    ),
    Operation(
        "/v2/models/{name}",
        "inference_model",
        "The model and its tensors",
        (ModelMetadata,),
        ("token_missing", "not_found", "not_ready"),
    ),
    Operation(
        "/v2/models/{name}/ready",
        "inference_model_ready",
        "Whether the model takes requests",
        (ModelReady,),
        ("not_found", "not_ready", "draining"),
    ),
    Operation(
        "/v2/models/{name}/infer",
        "infer",
        "Read the replies of a tensor",
        (Inferred,),
        (*_WITH_TENSORS, "too_many_items", "too_many_tokens", "queue_full", "deadline_exceeded"),
        (Inference,),
    ),
)


@functools.cache
def describe(root_path: str = "") -> dict[str, Any]:
    """The OpenAPI document.

    Args:
        root_path: under which a proxy shows the service.
    """
    used = {model for one in OPERATIONS for model in (*one.answers, *one.bodies)}
    used |= {Problem, InferenceError}
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
    refused = _inference_errors if speaks_inference(one.path) else _problem_responses
    described["responses"] |= refused(*_EVERYWHERE, *one.problems)
    parameters = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "minLength": 1},
        }
        for name in re.findall(r"\{(\w+)\}", one.path)
    ]
    parameters += [
        {
            "name": name,
            "in": "query",
            "description": what_for,
            "schema": {"type": "boolean", "default": False},
        }
        for name, what_for in one.switches.items()
    ]
    if parameters:
        described["parameters"] = parameters
    if one.bodies:
        body: dict[str, Any] = {"schema": _any_of(one.bodies)}
        described["requestBody"] = {
            "required": one.body_required,
            "content": {"application/json": body},
        }
    if one.name == "label":
        body["examples"] = REQUEST_EXAMPLES
        content["application/json"]["examples"] = ANSWER_EXAMPLES
    if one.name == "infer":
        body["examples"] = {"two replies": {"value": INFERENCE_EXAMPLE}}
        content["application/json"]["examples"] = {"two replies": {"value": INFERRED_EXAMPLE}}
        # JSON and bytes of tensors behind it, where the request asks for that.
        content["application/octet-stream"] = {}
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


def _inference_errors(*codes: str) -> dict[str, dict[str, Any]]:
    """As `_problem_responses`, in the form of the inference protocol."""
    schema = {"$ref": "#/components/schemas/InferenceError"}
    responses = _problem_responses(*codes)
    for response in responses.values():
        response["content"] = {"application/json": {"schema": schema}}
    return responses
