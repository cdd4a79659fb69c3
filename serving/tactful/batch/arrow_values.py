"""The types of columns that come as JSON, merged row by row into one for a table.

A type is plain data, so that it can stand in a job's journal: a name, ``["list", type]`` or
``["struct", {key: type}]``. Values of types that do not go together become JSON text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

ColumnType = str | list[Any]
NULL, BOOL, INT, FLOAT, TEXT, JSON = "null", "bool", "int", "float", "text", "json"
_EXACT = 2**53  # a float holds every whole number up to here
_LARGE_INT = "large_int"  # a whole number that no float is sure to hold
_LARGEST = 2**63
_DEEPEST = 16  # what is nested deeper is no column that anybody queries


def type_of(value: Any, depth: int = 0) -> ColumnType:
    """The type of a JSON value that stands ``depth`` levels deep."""
    if depth > _DEEPEST:
        return JSON
    match value:
        case None:
            return NULL
        case bool():
            return BOOL
        case int():
            if abs(value) <= _EXACT:
                return INT
            return _LARGE_INT if -_LARGEST <= value < _LARGEST else JSON
        case float():
            return FLOAT
        case str():
            return TEXT
        case list():
            item: ColumnType = NULL
            for entry in value:
                item = merged(item, type_of(entry, depth + 1))
            return ["list", item]
        case dict() if value:
            return ["struct", {key: type_of(entry, depth + 1) for key, entry in value.items()}]
        case _:
            return JSON


def merged(one: ColumnType, other: ColumnType) -> ColumnType:
    """The type that holds the values of both."""
    if one == other or other == NULL:
        return one
    if one == NULL:
        return other
    if isinstance(one, str) and isinstance(other, str):
        pair = {one, other}
        if pair == {INT, FLOAT}:
            return FLOAT
        return _LARGE_INT if pair == {INT, _LARGE_INT} else JSON
    if isinstance(one, list) and isinstance(other, list) and one[0] == other[0]:
        if one[0] == "list":
            return ["list", merged(one[1], other[1])]
        return ["struct", merged_columns(one[1], other[1])]
    return JSON


def merged_columns(
    one: Mapping[str, ColumnType], other: Mapping[str, ColumnType]
) -> dict[str, ColumnType]:
    """The columns of both, in the order in which they came up."""
    columns = dict(one)
    for name, kind in other.items():
        columns[name] = merged(columns[name], kind) if name in columns else kind
    return columns


def arrow_type(kind: ColumnType) -> Any:
    """The Arrow type for a column; JSON text and columns without a value are strings."""
    import pyarrow as pa

    if isinstance(kind, list):
        if kind[0] == "list":
            return pa.list_(arrow_type(kind[1]))
        return pa.struct([(key, arrow_type(entry)) for key, entry in kind[1].items()])
    types = {BOOL: pa.bool_(), INT: pa.int64(), _LARGE_INT: pa.int64(), FLOAT: pa.float64()}
    return types.get(kind, pa.string())


def fitted(value: Any, kind: ColumnType) -> Any:
    """A JSON value as a column of that type holds it."""
    if value is None:
        return None
    if kind == JSON:
        return json.dumps(value, ensure_ascii=False)
    if isinstance(kind, list):
        if kind[0] == "list":
            return [fitted(entry, kind[1]) for entry in value]
        return {key: fitted(value.get(key), entry) for key, entry in kind[1].items()}
    return float(value) if kind == FLOAT else value
