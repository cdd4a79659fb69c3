"""When messages were sent, how long customers waited, and how what they read changes with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Literal

import numpy as np

from tactful.report.intervals import Estimate, rates
from tactful.report.scored_table import ScoredTable, labels_of

_MINUTE, _HOUR = 60.0, 3600.0
SPANS: Mapping[str, float] = {
    "under 1 min": _MINUTE,
    "1 to 5 min": 5 * _MINUTE,
    "5 to 15 min": 15 * _MINUTE,
    "15 to 60 min": _HOUR,
    "1 to 4 h": 4 * _HOUR,
    "4 to 24 h": 24 * _HOUR,
    "over 24 h": np.inf,
}
"""Name of each span of response times to its end in seconds (it is not in it)."""
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95)

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


@dataclass(frozen=True, slots=True)
class ResponseSpan:
    """The replies that came within a span of time.

    Attributes:
        name: of the span.
        replies: how many came in it.
        share: of all replies whose response time is known.
        rates: task to label to its rate among them; empty where they are too few.
    """

    name: str
    replies: int
    share: float
    rates: Mapping[str, Mapping[str, Estimate]]


@dataclass(frozen=True, slots=True)
class ResponseTimes:
    """The distribution of response times, in seconds.

    Attributes:
        replies: whose response time is known.
        quantiles: `QUANTILES` to seconds (between two replies by straight line).
        medians: channel to its median, of channels with enough replies.
        spans: in order.
    """

    replies: int
    quantiles: Mapping[float, float]
    medians: Mapping[str, float]
    spans: tuple[ResponseSpan, ...]


def response_times(table: ScoredTable, *, minimum: int) -> ResponseTimes | None:
    """How long customers waited; None where that is known of no reply.

    Args:
        table: what was read.
        minimum: of fewer replies no rates are given.
    """
    known = np.flatnonzero(np.isfinite(table.response))
    if not len(known):
        return None
    seconds = table.response[known]
    span_of = np.searchsorted(list(SPANS.values()), seconds, side="right")
    spans = []
    for index, name in enumerate(SPANS):
        rows = known[span_of == index]
        shown: dict[str, dict[str, Estimate]] = {}
        if len(rows) >= minimum:
            for task, labels, hits in labels_of(table):
                found = rates(hits[rows], table.conversations[rows])
                shown[task] = dict(zip(labels, found, strict=True))
        spans.append(ResponseSpan(name, len(rows), len(rows) / len(known), shown))
    medians = {}
    if (channels := table.names.get("channel")) is not None:
        for code, name in enumerate(channels.names):
            mine = seconds[channels.codes[known] == code]
            if len(mine) >= minimum:
                medians[name] = float(np.median(mine))
    quantiles = np.quantile(seconds, QUANTILES).tolist()
    return ResponseTimes(
        len(known), dict(zip(QUANTILES, quantiles, strict=True)), medians, tuple(spans)
    )
