"""Finds references from an ONNX file to other files, from its bytes alone.

A tensor may keep its data in another file. Such a graph is not whole, and whoever names the file
chooses what the runtime opens, so it is refused before onnxruntime sees it. The walk follows the
protobuf wire format and the few fields of ``onnx.proto`` through which a tensor can be reached;
the ``onnx`` package is not needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

_VARINT, _BYTES = 0, 2  # wire types
_FIXED_SIZES = {1: 8, 5: 4}  # wire type -> bytes
Message = Literal[
    "model", "graph", "function", "training", "node", "attribute", "sparse", "tensor", "entry"
]
# Message, field number -> the message in it. Field numbers are those of onnx.proto.
_CHILDREN: dict[Message, dict[int, Message]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {
        5: "tensor",
        6: "graph",
        10: "tensor",
        11: "graph",
        22: "sparse",
        23: "sparse",
    },
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
    "entry": {},
}
_GRAPH = 7  # of a model
_NAME, _EXTERNAL_DATA, _DATA_LOCATION = 8, 13, 14  # of a tensor
_EXTERNAL = 1  # a data location
_KEY, _VALUE = 1, 2  # of an entry of external data


def external_data(model: bytes) -> list[str]:
    """Describe every tensor that keeps its data outside the file.

    Tensors are looked for among initializers, sparse initializers and the attributes of nodes, in
    subgraphs, functions and training graphs too.

    Args:
        model: the bytes of an ONNX file.

    Returns:
        One line for each such tensor; empty where the file is whole.

    Raises:
        ValueError: the bytes are no ONNX model.
    """
    found = []
    pending: list[tuple[Message, memoryview]] = [("model", memoryview(model))]
    if _GRAPH not in (field for field, _ in _messages(_fields(memoryview(model)))):
        raise ValueError("not an ONNX model: it has no graph")
    while pending:
        message, content = pending.pop()
        fields = list(_fields(content))
        if message == "tensor" and (line := _external(fields)):
            found.append(line)
        children = _CHILDREN[message]
        pending += [
            (children[field], value) for field, value in _messages(fields) if field in children
        ]
    return found


def _external(fields: list[tuple[int, memoryview | int]]) -> str | None:
    entries = [value for field, value in _messages(fields) if field == _EXTERNAL_DATA]
    if not entries and (_DATA_LOCATION, _EXTERNAL) not in fields:
        return None
    names = [_text(value) for field, value in _messages(fields) if field == _NAME]
    facts = [{field: _text(value) for field, value in _messages(_fields(e))} for e in entries]
    places = [fact.get(_VALUE, "") for fact in facts if fact.get(_KEY) == "location"]
    return (
        f"tensor {''.join(names[-1:])!r} keeps its data in another file "
        f"({', '.join(places) or 'not named'})"
    )


def _messages(
    fields: Iterable[tuple[int, memoryview | int]],
) -> Iterator[tuple[int, memoryview]]:
    for field, value in fields:
        if isinstance(value, memoryview):
            yield field, value


def _text(content: memoryview) -> str:
    return bytes(content).decode(errors="replace")


def _fields(content: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """(field number, value) of every field; numbers of fixed width are of no interest here."""
    at = 0
    while at < len(content):
        tag, at = _varint(content, at)
        field, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, at = _varint(content, at)
            yield field, value & 0xFFFFFFFF  # enumerations are read as 32 bits
            continue
        if kind == _BYTES:
            size, at = _varint(content, at)
        elif kind in _FIXED_SIZES:
            size = _FIXED_SIZES[kind]
        else:
            raise ValueError(f"not an ONNX model: unknown wire type {kind}")
        if size > len(content) - at:
            raise ValueError("not an ONNX model, or cut short: a field ends past its message")
        if kind == _BYTES:
            yield field, content[at : at + size]
        at += size


def _varint(content: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(content):
            raise ValueError("not an ONNX model, or cut short: a number ends past its message")
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("not an ONNX model: a number of more than ten bytes")
