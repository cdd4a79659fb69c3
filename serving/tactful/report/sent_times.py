"""Times of messages as seconds since 1970, with what is wrong with them."""

from __future__ import annotations

import math
from datetime import datetime, tzinfo
from typing import Literal

Fault = Literal["none", "unreadable", "no_zone", "future"]

# Numbers are seconds, or milliseconds where seconds would be later than the year 5000.
_MILLISECONDS_FROM = 1e11


def sent_time(value: object, zone: tzinfo | None, now: float) -> tuple[float, Fault | None]:
    """Seconds since 1970 of a cell, and what is wrong with it; NaN where it cannot be used.

    Nothing was sent before 1970.

    Args:
        value: ISO 8601 text, or a number of seconds or milliseconds since 1970.
        zone: of times that have none; None leaves them out.
        now: what is later is in the future; seconds since 1970.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return math.nan, "none"
    seconds = _number(value)
    if seconds is None:
        try:
            moment = datetime.fromisoformat(str(value).strip())
        except ValueError:
            return math.nan, "unreadable"
        if moment.tzinfo is None:
            if zone is None:
                return math.nan, "no_zone"
            moment = moment.replace(tzinfo=zone)
        try:
            seconds = moment.timestamp()
        except (OverflowError, ValueError):
            return math.nan, "unreadable"
    if seconds < 0:
        return math.nan, "unreadable"
    return (math.nan, "future") if seconds > now else (seconds, None)


def _number(value: object) -> float | None:
    if isinstance(value, str):
        text = value.strip()
        # "20260301" is a date in ISO 8601, "1767225600" a number of seconds.
        if not text.replace(".", "", 1).isdigit() or len(text) < 9:
            return None
        value = float(text)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value / 1000 if value >= _MILLISECONDS_FROM else float(value)
