"""Values out of and into Arrow: what Python, JSON and CSV hold of each of its types.

Nothing is lost, and nothing that a type can hold is an exception: what Python has no value for, as
a date before year 1 or a nanosecond, becomes text (ISO 8601, Base64), which docs/batch.md lists.
"""

from __future__ import annotations

import base64
import datetime
import decimal
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

from tactful.output.flat_rows import FlatRows
from tactful.reading.tasks import Tasks

DEEPEST = 60
"""Levels of nested types; what Arrow writes and reads as a stream ends at 64."""
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_EPOCH_DAY = _EPOCH.toordinal()
# The Gregorian calendar repeats itself after so many years and days.
_CYCLE_YEARS, _CYCLE_DAYS = 400, 146_097
_DAY = 86_400  # seconds
_DIGITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}


def added_types(flat: FlatRows, tasks: Tasks) -> dict[str, Any]:
    """Column name to Arrow type of every column of a flat row."""
    import pyarrow as pa

    text = pa.string()
    span = pa.struct([("label", text), ("start", pa.int32()), ("end", pa.int32()), ("text", text)])
    labels = [pa.list_(text) if task.kind == "multilabel" else text for task in tasks]
    skipped = pa.struct([("start", pa.int32()), ("end", pa.int32()), ("why", text)])
    rest = [
        pa.list_(span),
        pa.bool_(),
        *([pa.list_(skipped), pa.bool_()] if flat.notes else []),
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


def column_values(table: Any, name: str) -> list[Any]:
    """A column as Python values: dates, times and UUIDs are text, maps are lists of pairs.

    Args:
        table: an Arrow table.
        name: of the column; all values of one that is not there are None.

    Returns:
        None, bool, int, float, `decimal.Decimal`, str, bytes, list, tuple and dict. Text that is
        not UTF-8 is a `Broken`, at any depth (see `is_broken`).
    """
    if name not in table.column_names:
        return [None] * table.num_rows
    return [value for chunk in table.column(name).chunks for value in _values(chunk)]


def _values(array: Any) -> list[Any]:
    import pyarrow as pa

    kind, types = array.type, pa.types
    if isinstance(kind, pa.BaseExtensionType):
        if kind.extension_name == "arrow.uuid":
            return [None if value is None else str(value) for value in array.to_pylist()]
        whole = kind.extension_name != "arrow.bool8"
        return _values(array.storage if whole else array.storage.cast(pa.bool_()))
    if types.is_dictionary(kind):
        entries = _values(array.dictionary)
        return [None if at is None else entries[at] for at in array.indices.to_pylist()]
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        # Arrow does not look at the bytes, Python would refuse the whole column.
        view = types.is_string_view(kind)
        encoded = array.cast(pa.binary_view() if view else pa.large_binary())
        return [_text(value) for value in encoded.to_pylist()]
    if text_form := _text_form(kind):
        numbers = array.view(pa.int32() if kind.bit_width == 32 else pa.int64()).to_pylist()
        return [None if number is None else text_form(number) for number in numbers]
    if types.is_map(kind):
        ends = array.offsets.to_pylist()
        first, count = ends[0], ends[-1] - ends[0]
        both = (_values(part.slice(first, count)) for part in (array.keys, array.items))
        pairs = list(zip(*both, strict=True))
        return [
            pairs[start - first : stop - first] if there else None
            for (start, stop), there in zip(
                itertools.pairwise(ends), array.is_valid().to_pylist(), strict=True
            )
        ]
    if types.is_struct(kind):
        names = [field.name for field in kind]
        make = dict if len(set(names)) == len(names) else list  # a name twice: pairs, as of a map
        rows = zip(array.is_valid().to_pylist(), *map(_values, array.flatten()), strict=True)
        return [make(zip(names, row, strict=True)) if there else None for there, *row in rows]
    if types.is_nested(kind) and not types.is_union(kind):  # a list, of whatever kind
        # Not `flatten`: it cannot take all types out of views and out of lists with null.
        if types.is_fixed_size_list(kind):
            size = kind.list_size
            starts = [size * (array.offset + at) for at in range(len(array))]
            sizes = [size] * len(array)
        elif types.is_list(kind) or types.is_large_list(kind):
            starts = array.offsets.to_pylist()
            sizes = [stop - start for start, stop in itertools.pairwise(starts)]
        else:
            starts, sizes = array.offsets.to_pylist(), array.sizes.to_pylist()
        valid = array.is_valid().to_pylist()
        used = [(a, a + n) for a, n, there in zip(starts, sizes, valid, strict=False) if there]
        first = min((a for a, _ in used), default=0)
        last = max((b for _, b in used), default=0)
        items = _values(array.values.slice(first, last - first))
        ranges = iter(used)
        return [
            items[slice(*(at - first for at in next(ranges)))] if there else None for there in valid
        ]
    return array.to_pylist()  # type: ignore[no-any-return]


def depth_of(kind: Any) -> int:
    """How deep a type is nested; 0 for a plain one."""
    level, depth = [kind], 0
    while level := [each.field(at).type for each in level for at in range(each.num_fields)]:
        depth += 1
    return depth


def _text(value: bytes | None) -> str | None:
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return Broken(value.decode(errors="backslashreplace"))


def is_broken(value: Any) -> bool:
    """Whether a value of `column_values` holds text that was not UTF-8."""
    match value:
        case str():
            return isinstance(value, Broken)
        case list() | tuple():
            return any(map(is_broken, value))
        case dict():
            return any(map(is_broken, value.values()))
        case _:
            return False


def _text_form(kind: Any) -> Callable[[int], str] | None:
    """How the numbers of a type of dates or times are written; None for other types."""
    from pyarrow import types

    if types.is_date32(kind):
        return _date
    if types.is_date64(kind):
        return lambda number: _date(number // (_DAY * 1000))
    if not (types.is_timestamp(kind) or types.is_time(kind) or types.is_duration(kind)):
        return None
    digits = _DIGITS[kind.unit]
    if types.is_time(kind):
        return lambda number: _sign(number) + _clock(abs(number), digits)
    if types.is_duration(kind):
        return lambda number: f"{_sign(number)}PT{_seconds(abs(number), digits)}S"
    zone = _zone(kind.tz) if kind.tz else None
    return lambda number: _timestamp(number, digits, zone)


def _sign(number: int) -> str:
    return "-" if number < 0 else ""


def _seconds(number: int, digits: int, width: int = 1) -> str:
    seconds, fraction = divmod(number, 10**digits)
    return f"{seconds:0{width}}.{fraction:0{digits}}" if digits else f"{seconds:0{width}}"


def _clock(number: int, digits: int) -> str:
    minutes, rest = divmod(number, 60 * 10**digits)
    return f"{minutes // 60:02}:{minutes % 60:02}:{_seconds(rest, digits, 2)}"


def _date(days: int) -> str:
    """ISO 8601; years before 0 and after 9999 have a sign."""
    cycles, ordinal = divmod(days + _EPOCH_DAY - 1, _CYCLE_DAYS)
    date = datetime.date.fromordinal(ordinal + 1)
    year = date.year + cycles * _CYCLE_YEARS
    shown = f"{year:04}" if 0 <= year <= 9999 else f"{year:+05}"
    return f"{shown}-{date.month:02}-{date.day:02}"


def _timestamp(number: int, digits: int, zone: datetime.tzinfo | None) -> str:
    """Local time with its distance from UTC; in UTC where the zone cannot tell it."""
    suffix, second = "", 10**digits
    if zone is not None:
        try:
            at = _EPOCH + datetime.timedelta(seconds=number // second)
            offset = at.astimezone(zone).utcoffset() or datetime.timedelta()
        except (OverflowError, ValueError):  # beyond years 1 to 9999, maybe in that zone only
            offset = datetime.timedelta()
        distance = int(offset.total_seconds())
        number += distance * second
        hours, minutes, seconds = *divmod(abs(distance) // 60, 60), abs(distance) % 60
        suffix = f"{'-' if distance < 0 else '+'}{hours:02}:{minutes:02}" if distance else "Z"
        suffix += f":{seconds:02}" if seconds else ""
    days, rest = divmod(number, _DAY * second)
    return f"{_date(days)} {_clock(rest, digits)}{suffix}"


def _zone(name: str) -> datetime.tzinfo:
    """A time zone; UTC for one that is not known here."""
    import pyarrow.lib

    try:
        return pyarrow.lib.string_to_tzinfo(name)  # type: ignore[no-any-return]
    except (ValueError, LookupError, OSError):
        return datetime.UTC


def json_value(value: Any) -> Any:
    """What JSON holds of a value: decimals, NaN and infinities as text, bytes as Base64."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            if math.isfinite(value):
                return value
            return "NaN" if math.isnan(value) else f"{_sign(int(math.copysign(1, value)))}Infinity"
        case list() | tuple():
            return [json_value(item) for item in value]
        case dict():
            return {key: json_value(item) for key, item in value.items()}
        case decimal.Decimal():
            return str(value)
        case bytes():
            return base64.b64encode(value).decode()
        case _:
            return str(value)
