"""The JSON of requests and answers: its shapes and examples, for the OpenAPI description.

Requests are checked by `tactful.server.request_bodies`, which tells one item of several from the
whole; tests hold live answers against these shapes.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from tactful.own_words.formats import Format
from tactful.own_words.traced_text import Why

REPLY = "Hi Ana! I'm so sorry your parcel never came. I've sent a new one, it arrives tomorrow."
CONTEXT = "My parcel never came"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Reply(_Strict):
    """One reply to read."""

    reply: str = Field(description="What the agent wrote; not blank.", pattern=r"\S")
    context: str | None = Field(None, description="What the customer said before, if known.")
    format: Format = Field(
        "auto",
        description="What the reply is. auto leaves out what bears the marks of mail or HTML and "
        "is not the agent's words; text is read as it stands.",
    )


class Replies(_Strict):
    """Several replies to read; what is wrong with one is told in its place."""

    items: list[Any] = Field(
        description="Objects like a single request: reply and, optional, context and format."
    )


class Evidence(_Strict):
    """A stretch of the reply that carries a label, in code points, end exclusive."""

    start: int
    end: int
    text: str


class Skipped(_Strict):
    """A stretch of the reply that was not read, in code points, end exclusive."""

    start: int
    end: int
    why: Why


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
    skipped: list[Skipped] = Field(
        description="What was not read because it is not the agent's words."
    )
    bundle: str = Field(description="Name and digest of the model that read it.")
    language_doubtful: bool = Field(
        False, description="Whether what was read does not look like English; only where true."
    )


class TokenScore(_Strict):
    """A token of the reply, and how much it speaks for a label; in code points, end exclusive."""

    start: int
    end: int
    text: str
    score: float


class LabelDecision(_Strict):
    """How one label was decided."""

    logit: float = Field(description="What the model said, before calibration.")
    score: float = Field(ge=0, le=1, description="Calibrated probability.")
    threshold: float | None = Field(
        description="The least score that is decided; null of a single task, where the highest is."
    )
    decided: bool
    tokens: list[TokenScore] = Field(description="Those that speak most for it.")


class Unread(_Strict):
    """A stretch of the reply or the context that was not read."""

    part: Literal["reply", "context"]
    start: int
    end: int
    why: str


class Neighbour(_Strict):
    """A training reply that is read alike."""

    id: str
    distance: float


class Receipt(_Strict):
    """What led to a reading; `tactful explain --replay` reads it again and compares."""

    reply: str
    context: str | None
    reading: Reading
    labels: dict[str, dict[str, LabelDecision]] = Field(description="Task to label to decision.")
    tokens: int
    windows: int
    unread: list[Unread]
    nearest: list[Neighbour] | None = Field(description="Null where the bundle keeps none.")
    read_by: dict[str, Any] = Field(description="Digest of the bundle, versions, processor.")


class ItemError(_Strict):
    """Why one item of several has no reading."""

    code: str
    message: str


class FailedItem(_Strict):
    """In the place of the reading that could not be given."""

    error: ItemError


class Readings(_Strict):
    """One reading (or receipt) or error for each item, in order."""

    items: list[Reading | Receipt | FailedItem]


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
    feedback: bool = Field(description="Whether this service takes feedback.")


class ReloadRequest(_Strict):
    """Which bundle to load; without one, the same address again."""

    bundle: str | None = Field(None, min_length=1)


class Reloaded(_Strict):
    """The bundle that serves now, and the one before."""

    bundle: str
    previous: str | None


class Feedback(_Strict):
    """What a person says of a reply, against what was read."""

    reply: str = Field(description="As it was read.", pattern=r"\S")
    context: str | None = Field(None, description="As it was read.")
    format: Format = Field(
        "auto",
        description="What the reply is. auto leaves out what bears the marks of mail or HTML and "
        "is not the agent's words; text is read as it stands.",
    )
    labels: dict[str, list[str] | str] = Field(
        description="Task to what is right: all its labels, or the one. Tasks left out stay open.",
        min_length=1,
    )
    by: str | None = Field(None, max_length=200, description="Who says so.")
    why: str | None = Field(None, max_length=2000, description="The reason.")
    seen: str | None = Field(None, max_length=200, description="The bundle of the reading.")


class FeedbackStored(_Strict):
    """The feedback is on the disk."""

    id: str
    bundle: str


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
    "skipped": [],
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
