"""The Open Inference Protocol, version 2: tensors in and out, as KServe and its clients speak it.

A request is a JSON document, behind which the bytes of its tensors may stand (the extension for
binary data, which clients of Triton use unless told otherwise). Each row is one reply:

- inputs: ``reply`` and, if wanted, ``context`` (empty where there is none), both ``BYTES``, of
  shape [n] or [n, 1];
- outputs for each task: its decisions (``BYTES`` [n]; several labels as ``a|b``) and
  ``scores.<task>`` (``FP32`` [n, labels], whose names, in order, stand in the parameter
  ``labels``); then ``evidence`` (``BYTES`` [n]: JSON, a list of label, start, end, text) and
  ``truncated`` (``BOOL`` [n]).

Tensors have no place for what is wrong with one row: a request with an unreadable one is refused as
a whole, and the row is named. What was sent is never quoted.

Protocol: https://github.com/kserve/open-inference-protocol (read 2026-11).
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tactful.classifier import Classifier
from tactful.errors import InputError
from tactful.output.flat_rows import FlatRows
from tactful.reading.readings import Reading
from tactful.reading.tasks import Tasks
from tactful.server.live_bundle import Item, Outcome
from tactful.server.problem_documents import RequestError

EXTENSIONS = ("binary_tensor_data",)
HEADER_LENGTH = "Inference-Header-Content-Length"  # bytes of the JSON before those of tensors
_INPUTS = ("reply", "context")
_REST = ("evidence", "truncated")
_LENGTH = struct.Struct("<I")  # before each element of a binary BYTES tensor
_MOST_SHOWN = 40  # characters of a wrong datatype or shape
_DATATYPE = re.compile(r"BOOL|BYTES|U?INT(?:8|16|32|64)|BF16|FP(?:16|32|64)")
# The extensions of Triton that would change what a tensor means: refused, never overlooked.
_FOREIGN = ("classification", "shared_memory_region")


@dataclass(frozen=True)
class InferenceRequest:
    """The body of ``POST /v2/models/{name}/infer``.

    Attributes:
        id: what the answer is to be called, if anything.
        items: reply, context and format of each row; not checked yet.
        content: the whole, whose outputs are those of the bundle that will have read it.
    """

    id: str | None
    items: Sequence[Item]
    content: Mapping[str, Any]


def model_metadata(classifier: Classifier, name: str) -> dict[str, Any]:
    """What ``GET /v2/models/{name}`` answers.

    Args:
        classifier: what reads.
        name: the model's name in this service.
    """
    bundle = classifier.bundle
    tasks = bundle.heads.tasks
    return {
        "name": name,
        "versions": [bundle.manifest["version"]],
        "platform": "onnxruntime_onnx",
        "inputs": [_described(each, "BYTES", [-1]) for each in _INPUTS],
        "outputs": [_output(each, tasks, -1) for each in output_names(tasks)],
    }


def output_names(tasks: Tasks) -> tuple[str, ...]:
    """The names of all outputs, in order."""
    names = [task.name for task in tasks]
    return (*names, *(f"scores.{name}" for name in names), *_REST)


def parse_inference(content: Any, binary: bytes, tasks: Tasks, max_items: int) -> InferenceRequest:
    """What a request for inference asks for.

    Args:
        content: its JSON.
        binary: what stood behind it.
        tasks: of the bundle that reads.
        max_items: most rows of one request.

    Raises:
        RequestError: a tensor is wrong, or there are too many rows.
    """
    if not isinstance(content, Mapping):
        raise wrong_tensor("the request must be an object with inputs")
    name = content.get("id")
    if name is not None and not isinstance(name, str):
        raise wrong_tensor("id must be text")
    given = _named_objects(content.get("inputs"), "inputs", _INPUTS)
    if "reply" not in given:
        raise wrong_tensor("the input reply is missing; inputs: reply, context (optional)")
    columns: dict[str, list[Any]] = {}
    rest = memoryview(binary)
    for each, tensor in given.items():
        columns[each], rest = _elements(each, tensor, rest, max_items)
    if rest:
        raise wrong_tensor(f"{len(rest)} bytes stand behind the last tensor")
    replies = columns["reply"]
    contexts = columns.get("context", [""] * len(replies))
    if len(contexts) != len(replies):
        raise wrong_tensor(
            f"reply has {len(replies)} rows and context {len(contexts)}; they must be as many; an "
            "empty context stands for none"
        )
    items: list[Item] = [
        (reply, context or None, "auto") for reply, context in zip(replies, contexts, strict=True)
    ]
    _wanted(content, tasks)  # refused before anything is read
    return InferenceRequest(name, items, content)


def inference_answer(
    wanted: InferenceRequest,
    outcomes: Sequence[Outcome],
    classifier: Classifier,
    name: str,
) -> tuple[dict[str, Any], list[bytes]]:
    """The answer to a request for inference.

    Args:
        wanted: what was asked for.
        outcomes: one for each row.
        classifier: what read them.
        name: the model's name in this service.

    Returns:
        Its JSON, and the bytes of those of its tensors that go behind it.

    Raises:
        RequestError: a row could not be read.
    """
    readings: list[Reading] = []
    for row, outcome in enumerate(outcomes):
        if isinstance(outcome, InputError):
            raise wrong_tensor(f"row {row}: {outcome.message}")
        assert isinstance(outcome, Reading)  # no receipts were asked for
        readings.append(outcome)
    bundle = classifier.bundle
    tasks = bundle.heads.tasks
    flat = FlatRows(tasks, bundle.id, scores="none")
    rows = [flat.row(reading) for reading in readings]
    outputs, binary = [], []
    for each, as_bytes in _wanted(wanted.content, tasks).items():
        tensor = _output(each, tasks, len(readings))
        data = _data(each, tasks, rows, readings)
        if as_bytes:
            binary.append(_packed(data, tensor["datatype"]))
            tensor["parameters"] = tensor.get("parameters", {}) | {
                "binary_data_size": len(binary[-1])
            }
        else:
            tensor["data"] = data
        outputs.append(tensor)
    answer: dict[str, Any] = {
        "model_name": name,
        "model_version": bundle.manifest["version"],
        "parameters": {"bundle": bundle.id},
        "outputs": outputs,
    }
    return (answer if wanted.id is None else answer | {"id": wanted.id}), binary


def wrong_tensor(message: str) -> RequestError:
    """The refusal of a request whose tensors are not what this model takes."""
    return RequestError("tensor_wrong", message)


def _described(name: str, datatype: str, shape: list[int]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape}


def _output(name: str, tasks: Tasks, rows: int) -> dict[str, Any]:
    """An output without its data."""
    if name == "truncated":
        return _described(name, "BOOL", [rows])
    for task in tasks:
        if name == f"scores.{task.name}":
            labels = {"labels": "|".join(task.names)}
            return _described(name, "FP32", [rows, len(task.names)]) | {"parameters": labels}
    return _described(name, "BYTES", [rows])


def _data(
    name: str, tasks: Tasks, rows: Sequence[Mapping[str, Any]], readings: Sequence[Reading]
) -> list[Any]:
    """The elements of an output, flat."""
    if name == "truncated":
        return [row[name] for row in rows]
    if name == "evidence":
        # ASCII: a lone surrogate has no other form in bytes.
        return [json.dumps(row[name], separators=(",", ":")) for row in rows]
    for task in tasks:
        if name == task.name:
            return ["|".join(row[name]) if task.kind == "multilabel" else row[name] for row in rows]
    task_name = name.removeprefix("scores.")
    return [score for reading in readings for score in reading.scores[task_name].values()]


def _packed(data: Sequence[Any], datatype: str) -> bytes:
    """The elements of a tensor as bytes, little-endian."""
    if datatype == "BYTES":
        encoded = [text.encode() for text in data]
        return b"".join(_LENGTH.pack(len(text)) + text for text in encoded)
    return np.asarray(data, "<f4" if datatype == "FP32" else "?").tobytes()


def _named_objects(listed: Any, field: str, allowed: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """The entries of a list of inputs or outputs, by name."""
    if not isinstance(listed, list) or len(listed) > len(allowed):
        raise wrong_tensor(f"{field} must be a list of objects, each named {', '.join(allowed)}")
    found: dict[str, Mapping[str, Any]] = {}
    for place, entry in enumerate(listed):
        name = entry.get("name") if isinstance(entry, Mapping) else None
        if not isinstance(name, str) or name not in allowed:
            raise wrong_tensor(f"{field}[{place}] must have a name of: {', '.join(allowed)}")
        if name in found:
            raise wrong_tensor(f"{name} stands in {field} twice")
        parameters = _parameters(entry)
        for foreign in _FOREIGN:
            if foreign in parameters:
                raise wrong_tensor(f"{name}: the parameter {foreign} is not known here")
        found[name] = entry
    return found


def _wanted(content: Mapping[str, Any], tasks: Tasks) -> dict[str, bool]:
    """The name of each output that is wanted, in order, to whether it goes as bytes."""
    allowed = output_names(tasks)
    as_bytes = _parameters(content).get("binary_data_output") is True
    if content.get("outputs") in (None, []):
        return dict.fromkeys(allowed, as_bytes)
    listed = _named_objects(content["outputs"], "outputs", allowed)
    return {
        name: _parameters(entry).get("binary_data", as_bytes) is True
        for name, entry in listed.items()
    }


def _parameters(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    parameters = entry.get("parameters") or {}
    if not isinstance(parameters, Mapping):
        raise wrong_tensor("parameters must be an object")
    return parameters


def _shown(value: object) -> str:
    """A wrong datatype or shape as a message quotes it; texts that may be a reply's never are."""
    several = value if isinstance(value, list) else [value]
    plain = all(
        _DATATYPE.fullmatch(each) if isinstance(each, str) else not isinstance(each, list | dict)
        for each in several
    )
    if not plain:
        return "what was given"
    text = json.dumps(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"


def _elements(
    name: str, tensor: Mapping[str, Any], binary: memoryview, max_items: int
) -> tuple[list[Any], memoryview]:
    """The elements of an input, and what of the bytes is left behind it."""
    if tensor.get("datatype") != "BYTES":
        raise wrong_tensor(
            f"{name}: its datatype must be BYTES, not {_shown(tensor.get('datatype'))}"
        )
    shape = tensor.get("shape")
    if (
        not isinstance(shape, list)
        or len(shape) not in (1, 2)
        or not all(isinstance(size, int) and not isinstance(size, bool) for size in shape)
        or shape[0] < 0
        or shape[1:] not in ([], [1])
    ):
        raise wrong_tensor(f"{name}: its shape must be [n] or [n, 1], not {_shown(shape)}")
    rows = shape[0]
    if rows > max_items:
        raise RequestError(
            "too_many_items",
            f"{name} has more rows than are allowed in one request: {max_items}; send several",
        )
    size = _parameters(tensor).get("binary_data_size")
    if size is None:
        elements = tensor.get("data")
        if not isinstance(elements, list):
            raise wrong_tensor(f"{name}: its data must be a list of texts")
        if shape[1:] and all(isinstance(each, list) and len(each) == 1 for each in elements):
            elements = [each[0] for each in elements]
    elif "data" in tensor:
        raise wrong_tensor(f"{name}: has both data and the parameter binary_data_size")
    elif not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(binary):
        raise wrong_tensor(
            f"{name}: binary_data_size must be the bytes of this tensor; behind the JSON, whose "
            f"length is the header {HEADER_LENGTH}, there are {len(binary)}"
        )
    else:
        elements, binary = _unpacked(name, binary[:size], rows), binary[size:]
    if len(elements) != rows:
        raise wrong_tensor(f"{name}: its shape says {rows} rows, its data has {len(elements)}")
    for row, element in enumerate(elements):
        if not isinstance(element, str):
            raise wrong_tensor(f"{name}: row {row} is no text")
    return elements, binary


def _unpacked(name: str, binary: memoryview, rows: int) -> list[str]:
    """The texts of a tensor that came as bytes; one more than ``rows`` where there are more."""
    texts: list[str] = []
    while binary and len(texts) <= rows:
        if len(binary) < _LENGTH.size:
            raise wrong_tensor(f"{name}: its bytes end within the length of row {len(texts)}")
        (length,) = _LENGTH.unpack_from(binary)
        element, binary = binary[_LENGTH.size :][:length], binary[_LENGTH.size + length :]
        if len(element) < length:
            raise wrong_tensor(f"{name}: its bytes end within row {len(texts)}")
        try:
            texts.append(bytes(element).decode())
        except UnicodeDecodeError as error:
            raise wrong_tensor(
                f"{name}: row {len(texts)} is no UTF-8 at byte {error.start}"
            ) from None
    return texts
