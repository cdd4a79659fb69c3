"""Values between JSON, Python and Arrow: their types, and what one holds of another.

The types of columns that come as JSON are merged row by row into one for a table. A type is plain
data, so that it can stand in a job's journal: a name, ``["list", type]`` or
``["struct", {key: type}]``. Values of types that do not go together become JSON text.
"""

from __future__ import annotations

import base64
import datetime
import decimal
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from tactful.output.flat_rows import FlatRows
from tactful.reading.tasks import Tasks

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


def added_types(flat: FlatRows, tasks: Tasks) -> dict[str, Any]:
    """Column name to Arrow type of every column of a flat row."""
    import pyarrow as pa

    text = pa.string()
    span = pa.struct([("label", text), ("start", pa.int32()), ("end", pa.int32()), ("text", text)])
    labels = [pa.list_(text) if task.kind == "multilabel" else text for task in tasks]
    rest = [
        pa.list_(span),
        pa.bool_(),
        text,
        pa.struct([("code", text), ("message", text)]),
    ]
    types = [*labels, *([pa.float64()] * len(flat.score_columns)), *rest]
    return dict(zip(flat.columns, types, strict=True))


def arrow_array(values: Sequence[Any], kind: Any) -> Any:
    """Values as an Arrow array; U+FFFD for lone surrogates, which UTF-8 cannot hold."""
    import pyarrow as pa

    try:
        return pa.array(values, kind)
    except UnicodeEncodeError:
        return pa.array([well_formed(value) for value in values], kind)


def well_formed(value: Any) -> Any:
    """The same data with U+FFFD for every lone surrogate in its texts and keys."""
    match value:
        case str():
            return "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in value)
        case list():
            return [well_formed(entry) for entry in value]
        case dict():
            return {well_formed(key): well_formed(entry) for key, entry in value.items()}
        case _:
            return value


class Broken(str):
    """Text that was not UTF-8; its bytes are escaped."""

    __slots__ = ()


def column_values(table: Any, name: str) -> Sequence[Any]:
    """A column as Python values; text that is not UTF-8 is a `Broken`, not an exception."""
    import pyarrow
    import pyarrow.compute

    if name not in table.column_names:
        return [None] * table.num_rows
    column = table.column(name)
    if pyarrow.types.is_dictionary(column.type):
        column = pyarrow.chunked_array(
            [chunk.dictionary_decode() for chunk in column.chunks], column.type.value_type
        )
    kind = column.type
    if pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind):
        # Arrow does not look at the bytes, Python would refuse the whole column.
        return [_text(value) for value in column.cast(pyarrow.large_binary()).to_pylist()]
    if pyarrow.types.is_timestamp(kind) or pyarrow.types.is_duration(kind):
        return column.cast(pyarrow.string()).to_pylist()  # type: ignore[no-any-return]
    return column.to_pylist()  # type: ignore[no-any-return]


def _text(value: bytes | None) -> str | None:
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return Broken(value.decode(errors="backslashreplace"))


def json_value(value: Any) -> Any:
    """The nearest that JSON has: ISO dates, decimals as text, bytes as Base64, NaN as null."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case list() | tuple():
            return [json_value(item) for item in value]
        case dict():
            return {key: json_value(item) for key, item in value.items()}
        case datetime.date() | datetime.time():
            return value.isoformat()
        case decimal.Decimal():
            return str(value)
        case bytes():
            return base64.b64encode(value).decode()
        case _:
            return str(value)
