"""JSON that has exactly one spelling, and JSON that is read without forgiving anything."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any


def canonical_json(value: object) -> bytes:
    """One line of UTF-8: keys sorted, no spaces, nothing ASCII-escaped, no newline at the end.

    Raises:
        ValueError: the value holds NaN, an infinity or a lone surrogate.
    """
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()


def strict_json(content: bytes, *, number: Callable[[str], Any] = float) -> Any:
    """Parse UTF-8 JSON; NaN, infinities and repeated keys are errors.

    Args:
        content: the text.
        number: what the text of a number with a point or an exponent becomes.

    Raises:
        ValueError: says what is wrong.
    """
    text = utf8_text(content)
    try:
        return json.loads(
            text,
            object_pairs_hook=unique_keys,
            parse_constant=_refuse_constant,
            parse_float=number,
        )
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from error


def utf8_text(content: bytes) -> str:
    """Decode UTF-8.

    Raises:
        ValueError: names the first byte that is none.
    """
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 (byte {error.start})") from error


def sha256_hex(content: bytes) -> str:
    """The SHA-256 of some bytes in lower-case hex."""
    return hashlib.sha256(content).hexdigest()


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An ``object_pairs_hook`` that refuses a repeated key, as only one value would count.

    Raises:
        ValueError: names the keys that are given twice.
    """
    entries = dict(pairs)
    if len(entries) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = sorted({key for key in keys if keys.count(key) > 1})
        raise ValueError(f"keys given twice: {', '.join(map(repr, repeated))}")
    return entries


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")
