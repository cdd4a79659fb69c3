"""Traces and metrics by OpenTelemetry (extra ``otel``), as the variables ``OTEL_*`` ask for them.

Sampling, resource attributes, endpoints, headers and batching are read from those variables by the
SDK itself. Names follow its semantic conventions for HTTP where there are some. No text of a
request or reply is ever in a name or an attribute: they are the same closed sets that Prometheus
gets.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from opentelemetry import trace
from opentelemetry.metrics import Meter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    ConsoleMetricExporter,
    MetricReader,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    ConsoleSpanExporter,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import tactful
from tactful.errors import TactfulError
from tactful.reading.readings import Reading
from tactful.server.fair_queue import BatchReport
from tactful.server.telemetry import ServiceMetrics
from tactful.server.tracing import Timeline, Tracing

_NAME = "tactful"
_EXPORTERS = ("otlp", "console", "none")
_PROTOCOL = "http/protobuf"


def exporters() -> tuple[SpanProcessor | None, MetricReader | None]:
    """What the variables say that spans and metrics are sent with.

    Raises:
        TactfulError: a variable names an exporter or a protocol that is not known here.
    """
    spans, metrics = _chosen("TRACES"), _chosen("METRICS")
    processor: SpanProcessor | None = None
    reader: MetricReader | None = None
    if spans == "otlp":
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        processor = BatchSpanProcessor(OTLPSpanExporter())
    elif spans == "console":
        processor = BatchSpanProcessor(ConsoleSpanExporter())
    if metrics == "otlp":
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

        reader = PeriodicExportingMetricReader(OTLPMetricExporter())
    elif metrics == "console":
        reader = PeriodicExportingMetricReader(ConsoleMetricExporter())
    return processor, reader


def _chosen(signal: str) -> str:
    # Unset is the specification's default where an endpoint was named; to send somewhere that
    # nobody named is no default of ours.
    named = {f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"}
    default = "otlp" if any(os.environ.get(name, "").strip() for name in named) else "none"
    variable = f"OTEL_{signal}_EXPORTER"
    chosen = os.environ.get(variable, "").strip() or default
    if chosen not in _EXPORTERS:
        raise TactfulError(f"${variable} is {chosen!r}, allowed: {', '.join(_EXPORTERS)}")
    for name in (f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        protocol = os.environ.get(name, "").strip() or _PROTOCOL
        if chosen == "otlp" and protocol != _PROTOCOL:
            raise TactfulError(f"${name} is {protocol!r}, allowed: {_PROTOCOL}")
    return chosen


def resource() -> Resource:
    """What the spans and metrics of this process are of; ``OTEL_SERVICE_NAME`` goes before."""
    told = {
        "service.name": _NAME,
        "service.version": tactful.__version__,
        "service.instance.id": str(uuid.uuid4()),  # workers are told apart by it
    }
    if name := os.environ.get("OTEL_SERVICE_NAME"):
        told["service.name"] = name
    return Resource.create(told)


class ExportedTraces(Tracing):
    """A span for each request, with its time in the queue and its batches under it.

    Args:
        processor: takes the spans.
    """

    def __init__(self, processor: SpanProcessor) -> None:
        self._provider = TracerProvider(resource=resource(), shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer(_NAME, tactful.__version__)
        self._propagator = TraceContextTextMapPropagator()

    @contextlib.contextmanager
    def request(self, headers: Mapping[bytes, bytes]) -> Iterator[trace.Span]:
        """As `Tracing.request`; the header ``traceparent`` says what the span is part of."""
        carrier = {
            name: headers[name.encode()].decode("latin-1")
            for name in ("traceparent", "tracestate")
            if name.encode() in headers
        }
        span = self._tracer.start_span(
            "HTTP", context=self._propagator.extract(carrier), kind=trace.SpanKind.SERVER
        )
        # Exceptions are not recorded: their messages may quote what was sent.
        with trace.use_span(span, record_exception=False, set_status_on_exception=False):
            try:
                yield span
            finally:
                span.end()

    def answered(
        self, request: Any, *, route: str, method: str, status: int, cause: str | None
    ) -> None:
        """As `Tracing.answered`."""
        request.update_name(f"{method} {route}")
        request.set_attributes(_http(route, method, status))
        if cause is not None:
            request.set_attribute("error.type", cause)
        if status >= 500:
            request.set_status(trace.StatusCode.ERROR)

    def queued(self, timeline: Timeline) -> None:
        """As `Tracing.queued`."""
        if not timeline.queued:
            return
        span = self._tracer.start_span("queue", start_time=timeline.queued)
        span.end(timeline.taken or None)
        for batch in timeline.batches:
            sizes = {"tactful.batch.items": batch.items, "tactful.batch.tokens": batch.tokens}
            span = self._tracer.start_span("batch", start_time=batch.began, attributes=sizes)
            span.end(batch.ended)

    def close(self) -> None:
        """As `Tracing.close`."""
        self._provider.shutdown()


class ExportedMetrics(ServiceMetrics):
    """The figures that Prometheus may ask for, sent as well.

    Args:
        reader: takes the figures.
    """

    def __init__(self, reader: MetricReader) -> None:
        super().__init__()
        self._provider = MeterProvider([reader], resource(), shutdown_on_exit=False)
        meter: Meter = self._provider.get_meter(_NAME, tactful.__version__)
        self._sent_requests = meter.create_histogram("http.server.request.duration", "s")
        self._sent_failures = meter.create_counter("tactful.failures")
        self._sent_replies = meter.create_counter("tactful.replies")
        self._sent_decisions = meter.create_counter("tactful.decisions")
        self._sent_batches = meter.create_histogram("tactful.batch.duration", "s")
        self._sent_items = meter.create_histogram("tactful.batch.items")
        self._sent_tokens = meter.create_histogram("tactful.batch.tokens")
        self._sent_queue = meter.create_gauge("tactful.queue.tokens")
        self._sent_ready = meter.create_gauge("tactful.ready")

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """As `ServiceMetrics.request`."""
        super().request(route, method, status, seconds)
        self._sent_requests.record(seconds, _http(route, method, status))

    def failure(self, cause: str) -> None:
        """As `ServiceMetrics.failure`."""
        super().failure(cause)
        self._sent_failures.add(1, {"error.type": cause})

    def read(self, reading: Reading) -> None:
        """As `ServiceMetrics.read`."""
        super().read(reading)
        self._sent_replies.add(1, {"tactful.truncated": reading.truncated})
        for task in reading.labels:
            for label in reading.decided(task):
                self._sent_decisions.add(1, {"tactful.task": task, "tactful.label": label.label})

    def ran(self, report: BatchReport) -> None:
        """As `ServiceMetrics.ran`."""
        super().ran(report)
        self._sent_batches.record(report.seconds)
        self._sent_items.record(report.items)
        self._sent_tokens.record(report.tokens)

    def state(self, *, ready: bool, waiting_tokens: int) -> None:
        """As `ServiceMetrics.state`."""
        super().state(ready=ready, waiting_tokens=waiting_tokens)
        self._sent_ready.set(int(ready))
        self._sent_queue.set(waiting_tokens)

    def close(self) -> None:
        """As `ServiceMetrics.close`."""
        self._provider.shutdown()


def _http(route: str, method: str, status: int) -> dict[str, str | int]:
    return {
        "http.route": route,
        "http.request.method": method,
        "http.response.status_code": status,
    }
