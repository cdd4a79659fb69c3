"""From bytes on the wire to the items that the core takes; what is wrong is told field by field."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from tactful.errors import InputError
from tactful.reading.tasks import Tasks
from tactful.server.inference_protocol import HEADER_LENGTH, wrong_tensor
from tactful.server.live_bundle import Item
from tactful.server.problem_documents import RequestError
from tactful.server.serve_settings import Settings
from tactful.strict_json import strict_json

_LARGE = 2**16  # bodies above are parsed in a thread: it takes milliseconds
# What feedback may say beside texts and labels, and how many characters of it.
_SAID = {"by": 200, "why": 2000, "seen": 200}


@dataclass(frozen=True)
class LabelRequest:
    """The body of ``POST /v1/label``.

    Attributes:
        items: reply, context and format of each; not checked yet.
        single: whether it was one reply by itself, without ``items``.
    """

    items: list[Item | InputError]
    single: bool


async def read_json(request: Request, settings: Settings) -> Any:
    """The JSON of a request's body, within the limits of size and time.

    Raises:
        RequestError: says what is wrong; nothing of the body is quoted.
    """
    _refuse_compressed(request)
    if not _is_json(request.headers.get("content-type", "")):
        raise RequestError("not_json", "the header Content-Type must be application/json, in UTF-8")
    return await _parsed(await _read_body(request, settings))


async def read_inference(request: Request, settings: Settings) -> tuple[Any, bytes]:
    """A request of the inference protocol: its JSON, and the bytes of tensors behind it.

    Raises:
        RequestError: says what is wrong; nothing of the body is quoted.
    """
    _refuse_compressed(request)
    kind = request.headers.get("content-type", "")  # which clients of Triton leave out
    if kind and kind.lower() != "application/octet-stream" and not _is_json(kind):
        raise RequestError(
            "not_json",
            "the header Content-Type must be application/json, in UTF-8, or, with bytes of "
            "tensors behind it, application/octet-stream",
        )
    length = request.headers.get(HEADER_LENGTH)
    body = await _read_body(request, settings)
    if length is None:
        return await _parsed(body), b""
    if not length.isdecimal() or len(length) > 15 or int(length) > len(body):
        raise wrong_tensor(f"the header {HEADER_LENGTH} must be the bytes of the JSON in the body")
    return await _parsed(body[: int(length)]), body[int(length) :]


def _refuse_compressed(request: Request) -> None:
    encodings = ",".join(request.headers.getlist("content-encoding")).lower().split(",")
    if not {encoding.strip() for encoding in encodings} <= {"", "identity"}:
        # Not quoted: it is the sender's text.
        raise RequestError(
            "body_compressed",
            "the header Content-Encoding names a compression; send the body uncompressed, without "
            "this header",
            headers={"Accept-Encoding": "identity"},
        )


async def _parsed(body: bytes) -> Any:
    try:
        return (
            await asyncio.to_thread(strict_json, body) if len(body) > _LARGE else strict_json(body)
        )
    except ValueError as error:
        raise RequestError("json_malformed", _why_no_json(error)) from None


def _is_json(content_type: str) -> bool:
    """Whether a header names JSON in UTF-8, read as leniently as senders write it."""
    kind, *parameters = content_type.lower().split(";")
    for parameter in parameters:
        name, _, value = (part.strip() for part in parameter.partition("="))
        # `utf8` is no name of it, but meant so; parameters of other names say nothing of JSON.
        if name == "charset" and value.strip("\"'") not in ("", "utf-8", "utf8", "utf_8"):
            return False
    return kind.strip() == "application/json"


async def read_optional_json(request: Request, settings: Settings) -> Any:
    """As `read_json`; an empty body without a declared type is an empty object."""
    if "content-type" not in request.headers and not await _read_body(request, settings):
        return {}
    return await read_json(request, settings)


async def _read_body(request: Request, settings: Settings) -> bytes:
    limit = settings.max_body_bytes
    too_large = RequestError(
        "body_too_large",
        f"the body may have {limit} bytes at most; send fewer or shorter items",
    )
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > 15 or int(declared) > limit):
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(settings.receive_ms / 1000):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise too_large
    except TimeoutError:
        raise RequestError(
            "sender_too_slow", f"the body did not arrive within {settings.receive_ms} ms"
        ) from None
    return bytes(body)


def parse_label_request(content: Any, max_items: int) -> LabelRequest:
    """What ``POST /v1/label`` asks for.

    Raises:
        RequestError: a field of the request as a whole is wrong. What is wrong with one item of
            several is in its place.
    """
    if not isinstance(content, Mapping):
        raise _wrong("", f"must be an object, not {_json_type(content)}")
    if "items" not in content:
        item = _item(content)
        if isinstance(item, InputError):
            raise _wrong("", str(item), item.code)
        return LabelRequest([item], single=True)
    if len(content) > 1:
        raise _wrong(
            "", "give either reply (with context and format), or items, and nothing beside it"
        )
    items = content["items"]
    if not isinstance(items, list):
        raise _wrong("/items", f"must be a list, not {_json_type(items)}")
    if len(items) > max_items:
        raise RequestError(
            "too_many_items",
            f"there are {len(items)} items, allowed in one request: {max_items}; send several",
        )
    return LabelRequest([_item(item) for item in items], single=False)


def parse_explain(parameters: Mapping[str, str]) -> bool:
    """Whether the query asks for receipts: ``explain=true``.

    Raises:
        RequestError: it says something else.
    """
    value = parameters.get("explain", "false")
    if value not in ("true", "false"):  # not quoted: it is the sender's text
        raise RequestError("field_wrong", "the parameter explain must be true or false")
    return value == "true"


def parse_feedback_request(content: Any, tasks: Tasks) -> dict[str, Any]:
    """What ``POST /v1/feedback`` says: reply, context and labels; by, why and the bundle seen.

    Args:
        content: the JSON of the body.
        tasks: those of the bundle that reads.

    Raises:
        RequestError: a field is wrong. Reply and context are for the reading to check.
    """
    if not isinstance(content, Mapping):
        raise _wrong("", f"must be an object, not {_json_type(content)}")
    if not set(content) <= {"reply", "context", "format", "labels", *_SAID}:
        known_fields = ", ".join(("reply", "context", "format", "labels", *_SAID))
        raise _wrong("", f"has fields other than {known_fields}")
    labels = content.get("labels")
    if not isinstance(labels, Mapping) or not labels:
        raise _wrong("/labels", "must be an object of at least one task and its labels")
    known = {task.name: task for task in tasks}
    if not set(labels) <= set(known):  # names that were sent are not quoted
        raise _wrong("/labels", f"names a task that is none; the tasks are {', '.join(known)}")
    for name, said in labels.items():
        task = known[name]
        several = isinstance(said, list) and all(isinstance(each, str) for each in said)
        fits = several if task.kind == "multilabel" else isinstance(said, str)
        names = said if isinstance(said, list) else [said]
        if not fits or not set(names) <= set(task.names) or len(set(names)) < len(names):
            what = "a list of labels, each once" if task.kind == "multilabel" else "one label"
            raise _wrong(f"/labels/{name}", f"must be {what}, of: {', '.join(task.names)}")
    for name, longest in _SAID.items():
        text = content.get(name)
        if text is not None and not (isinstance(text, str) and len(text) <= longest):
            raise _wrong(f"/{name}", f"must be text of at most {longest} characters")
    return {name: value for name, value in content.items() if value is not None}


def parse_reload_request(content: Any) -> str | None:
    """The address of the bundle to load; None for the one that serves.

    Raises:
        RequestError: a field is wrong.
    """
    if not isinstance(content, Mapping) or not set(content) <= {"bundle"}:
        raise _wrong("", 'must be an object with at most one field: {"bundle": "<address>"}')
    address = content.get("bundle")
    if address is not None and (not isinstance(address, str) or not address or "\0" in address):
        raise _wrong(
            "/bundle", f"must be the address of a bundle as text, not {_json_type(address)}"
        )
    return address


def _item(value: object) -> Item | InputError:
    if not isinstance(value, Mapping):
        return InputError(
            "item_malformed",
            f"must be an object with reply, context and format, not {_json_type(value)}",
        )
    if not set(value) <= {"reply", "context", "format"}:
        # Their names are not quoted: they are the sender's text too.
        return InputError("field_unknown", "has fields other than reply, context and format")
    return value.get("reply"), value.get("context"), value.get("format", "auto")


def _wrong(pointer: str, message: str, code: str = "field_wrong") -> RequestError:
    where = pointer.removeprefix("/") or "the body"
    return RequestError(
        "field_wrong",
        f"{where} {message}",
        errors=[{"pointer": pointer, "code": code, "message": message}],
    )


def _json_type(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false"}
    return "null" if value is None else names.get(type(value), "a number")


def _why_no_json(error: ValueError) -> str:
    cause = error.__cause__
    if isinstance(cause, json.JSONDecodeError):
        return f"not JSON: {cause.msg} at line {cause.lineno}, column {cause.colno}"
    if isinstance(cause, UnicodeDecodeError):
        return f"not UTF-8 at byte {cause.start}"
    if isinstance(cause, RecursionError):
        return "nested too deeply"
    return "a key is given twice, or a number is NaN, infinite or too long"


async def disconnected(request: Request) -> None:
    """Returns when the sender has gone; to be awaited after the body was read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
