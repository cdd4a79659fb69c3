"""What is told of a request's way through the service, to whoever traces it.

Without ``OTEL_*`` nobody does: `Tracing` is what the service then has, and does nothing.
`open_telemetry` has the one that exports.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_WANTED = (
    *("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT"),
    *("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"),
)


@dataclass(frozen=True)
class BatchTime:
    """A batch that read something of a request: when, and how large it was as a whole.

    Attributes:
        began: in nanoseconds since 1970.
        ended: likewise.
        items: of all requests in it.
        tokens: of all requests in it, estimated.
    """

    began: int
    ended: int
    items: int
    tokens: int


@dataclass
class Timeline:
    """When what happened to a request in the queue, in nanoseconds since 1970.

    Attributes:
        queued: when it was admitted; 0 where it was not.
        taken: when the first of it went into a batch; 0 where nothing did.
        batches: those that read something of it.
    """

    queued: int = 0
    taken: int = 0
    batches: list[BatchTime] = field(default_factory=list)


class Tracing:
    """Told of requests; this one does nothing with it."""

    def request(self, headers: Mapping[bytes, bytes]) -> contextlib.AbstractContextManager[Any]:
        """Around a request; what it gives is to be handed to `answered`.

        Args:
            headers: of the request, of which only the trace that it is part of is looked at.
        """
        return contextlib.nullcontext()

    def answered(
        self, request: Any, *, route: str, method: str, status: int, cause: str | None
    ) -> None:
        """The request that `request` gave was answered."""

    def queued(self, timeline: Timeline) -> None:
        """What became of the present request in the queue."""

    def close(self) -> None:
        """Send what was not sent yet."""


def is_wanted(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether variables ask for traces or metrics by OpenTelemetry."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    return any(environment.get(name, "").strip() not in ("", "none") for name in _WANTED)
