"""Types of columns that come as JSON: merged row by row into one for a table, bounded in size.

A type is plain data, so that it can stand in a job's journal: a name, ``["list", type]`` or
``["struct", {key: type}]``. Values of types that do not go together become JSON text; so does what
has too many fields or nests too deep for a column, as a map with ever new keys does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tactful.batch.jsonl_format import json_text

ColumnType = str | list[Any]
NULL, BOOL, INT, FLOAT, TEXT, JSON = "null", "bool", "int", "float", "text", "json"
_EXACT = 2**53  # a float holds every whole number up to here
_LARGE_INT = "large_int"  # a whole number that no float is sure to hold
_LARGEST = 2**63
_DEEPEST = 16  # what is nested deeper is no column that anybody queries
_MOST_FIELDS = 100  # of one column, at any depth: more are a map whose keys are data
MOST_COLUMNS = 4_000
"""Of a table whose columns are found in its rows."""


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
        case dict() if 0 < len(value) <= _MOST_FIELDS and _encodable(value):
            return _bounded({key: type_of(entry, depth + 1) for key, entry in value.items()})
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
        fields = dict(one[1])
        add_columns(fields, other[1])
        return _bounded(fields)
    return JSON


def add_columns(columns: dict[str, ColumnType], more: Mapping[str, ColumnType]) -> None:
    """Make ``columns`` hold the values of both; what is new comes last."""
    for name, kind in more.items():
        columns[name] = merged(columns[name], kind) if name in columns else kind


def bounded_columns(columns: Mapping[str, ColumnType]) -> Mapping[str, ColumnType]:
    """The columns of a table; where all their fields are too many, nested ones are JSON text."""
    if sum(map(_fields, columns.values())) <= MOST_COLUMNS:
        return columns
    return {name: JSON if isinstance(kind, list) else kind for name, kind in columns.items()}


def _bounded(fields: dict[str, ColumnType]) -> ColumnType:
    return ["struct", fields] if sum(map(_fields, fields.values())) <= _MOST_FIELDS else JSON


def _fields(kind: ColumnType) -> int:
    if isinstance(kind, str):
        return 1
    return _fields(kind[1]) if kind[0] == "list" else sum(map(_fields, kind[1].values()))


def _encodable(keys: Mapping[str, Any]) -> bool:
    """Whether UTF-8 can hold the names: JSON may escape half a surrogate pair."""
    try:
        "".join(keys).encode()
    except UnicodeEncodeError:
        return False
    return True


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
        return json_text(value)
    if isinstance(kind, list):
        if kind[0] == "list":
            return [fitted(entry, kind[1]) for entry in value]
        return {key: fitted(value.get(key), entry) for key, entry in kind[1].items()}
    return float(value) if kind == FLOAT else value
