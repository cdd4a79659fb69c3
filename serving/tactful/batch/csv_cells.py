"""Values as the cells of a CSV file."""

from __future__ import annotations

import json
import math
import re
from typing import Any

# What makes a spreadsheet run a cell as a formula (OWASP, "CSV Injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
# Kept: json.dumps with an option makes an encoder each time, and rows have dozens of cells.
_encoded = json.JSONEncoder(ensure_ascii=False).encode


def cell_text(value: Any, *, joined: bool = False) -> str:
    """A JSON value as the text of a cell.

    Args:
        value: text stays as it is, null is empty, the rest is JSON.
        joined: whether a list of labels becomes ``a|b``.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return repr(value)  # as JSON has it
    if joined and isinstance(value, list):
        return "|".join(value)
    return _encoded(value)


def defused(text: str) -> str:
    """A cell that no spreadsheet takes for a formula: plain numbers stay, others get a ``'``."""
    if text.startswith(_FORMULA) and not _NUMBER.fullmatch(text):
        return "'" + text
    return text
