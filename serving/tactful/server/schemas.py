"""The shapes of the service's JSON, for its OpenAPI description.

Requests are checked by `tactful.server.requests`, which tells one item of several from the whole;
tests hold live answers against these.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from tactful.server.problems import MEDIA_TYPE, PROBLEMS

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


def problem_responses(*codes: str) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI responses of some rows of the table of problems, by status."""
    responses: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        kind = PROBLEMS[code]
        example = {
            "type": f"urn:tactful:problem:{code}",
            "title": kind.title,
            "status": kind.status,
            "detail": "what was given, what is allowed and what to do",
            "code": code,
            "request_id": "6f1d2c3b4a59",
        }
        response = responses.setdefault(
            kind.status,
            {
                "description": "",
                "content": {
                    MEDIA_TYPE: {
                        "schema": {"$ref": "#/components/schemas/Problem"},
                        "examples": {},
                    }
                },
            },
        )
        response["description"] += ("; " if response["description"] else "") + kind.title
        response["content"][MEDIA_TYPE]["examples"][code] = {"value": example}
        if kind.status in (429, 503):
            response["headers"] = {"Retry-After": _RETRY_AFTER}
    return responses
