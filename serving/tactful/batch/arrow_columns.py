"""Flat rows as Arrow columns with proper nested types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tactful.output.flat_rows import FlatRows
from tactful.reading.tasks import Tasks


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


def with_added(table: Any, rows: Sequence[Mapping[str, Any]], flat: FlatRows, tasks: Tasks) -> Any:
    """A table with the columns of flat rows at its end."""
    for name, kind in added_types(flat, tasks).items():
        table = table.append_column(name, arrow_array([row[name] for row in rows], kind))
    return table


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
