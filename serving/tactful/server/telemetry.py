"""What the service tells about itself: metrics for Prometheus, and logs.

Neither ever holds the text of a reply. Every label value of a metric comes from a closed set
(routes, statuses, causes, the bundle's own labels). What is logged is chosen field by field; of an
exception only its type and the places in the code are kept: its message may quote what was sent.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

from tactful.reading.readings import Reading
from tactful.server.fair_queue import BatchReport

LOGGER = "tactful.server"
CONTENT_TYPE = CONTENT_TYPE_LATEST
SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # set by the workers' parent, read by the library
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_ITEMS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_TOKENS = (32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
_SCORES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
_RECORD = frozenset(logging.LogRecord("", 0, "", 0, "", None, None).__dict__) | {
    *("message", "asctime", "taskName", "color_message")
}


class ServiceMetrics:
    """The figures of one process, or under `SHARED_FOLDER` of all workers together."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        counter = partial(Counter, registry=self._registry)
        gauge = partial(Gauge, registry=self._registry)
        histogram = partial(Histogram, registry=self._registry)
        by, each = ("route", "method", "status"), ("task", "label")
        self._requests = counter("tactful_http_requests", "Requests answered.", by)
        told = "From the head of a request to the end of its answer."
        self._seconds = histogram("tactful_http_request_seconds", told, by, buckets=_SECONDS)
        told = "Requests and items that got no reading, by cause."
        self._failures = counter("tactful_failures", told, ("cause",))
        told = "Estimated tokens that wait to be read."
        self._queue = gauge("tactful_queue_tokens", told, multiprocess_mode="livesum")
        told = "1 where a verified bundle serves and requests are taken."
        self._ready = gauge("tactful_ready", told, multiprocess_mode="livemin")
        self._batch_items = histogram("tactful_batch_items", "Replies of a batch.", buckets=_ITEMS)
        told = "Estimated tokens of a batch."
        self._batch_tokens = histogram("tactful_batch_tokens", told, buckets=_TOKENS)
        told = "Time that the model took for a batch."
        self._batch_seconds = histogram("tactful_batch_seconds", told, buckets=_SECONDS)
        told = "Estimated tokens read; its rate is tokens a second."
        self._tokens = counter("tactful_tokens", told)
        self._replies = counter("tactful_replies", "Replies read.")
        self._truncated = counter("tactful_truncated_replies", "Replies whose end was not read.")
        told = "Replies that got a label; over tactful_replies_total it is the decision rate."
        self._decisions = counter("tactful_decisions", told, each)
        told = "Calibrated scores, whether decided or not."
        self._scores = histogram("tactful_score", told, each, buckets=_SCORES)
        self._reloads = counter("tactful_reloads", "Bundles loaded or refused.", ("outcome",))
        told = "1 for the bundle that serves."
        self._bundle = gauge("tactful_bundle_info", told, ("bundle",), multiprocess_mode="livemax")
        self._bundle_id: str | None = None
        self._observers: dict[tuple[str, str], Callable[[float], None]] = {}

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """A request was answered."""
        labels = (route, method, str(status))
        self._requests.labels(*labels).inc()
        self._seconds.labels(*labels).observe(seconds)

    def failure(self, cause: str) -> None:
        """A request or an item got no reading."""
        self._failures.labels(cause).inc()

    def read(self, reading: Reading) -> None:
        """A reply was read."""
        self._replies.inc()
        if reading.truncated:
            self._truncated.inc()
        for task in reading.labels:
            for label in reading.decided(task):
                self._decisions.labels(task, label.label).inc()
        for task, scores in reading.scores.items():
            for name, score in scores.items():
                observe = self._observers.get((task, name))
                if observe is None:
                    observe = self._scores.labels(task, name).observe
                    self._observers[task, name] = observe
                observe(score)

    def ran(self, report: BatchReport) -> None:
        """A batch was run."""
        self._batch_items.observe(report.items)
        self._batch_tokens.observe(report.tokens)
        self._batch_seconds.observe(report.seconds)
        self._tokens.inc(report.tokens)

    def loaded(self, bundle: str, tasks: Mapping[str, Sequence[str]]) -> None:
        """A bundle serves from now on; its labels are shown from the start, with zeros."""
        self._reloads.labels("loaded").inc()
        if self._bundle_id is not None:
            self._bundle.labels(self._bundle_id).set(0)
        self._bundle_id = bundle
        self._bundle.labels(bundle).set(1)
        for task, labels in tasks.items():
            for label in labels:
                self._decisions.labels(task, label)
                self._scores.labels(task, label)

    def reload_failed(self) -> None:
        """A bundle was refused, the old one stays."""
        self._reloads.labels("refused").inc()

    def state(self, *, ready: bool, waiting_tokens: int) -> None:
        """How the service stands now."""
        self._ready.set(ready)
        self._queue.set(waiting_tokens)

    def close(self) -> None:
        """Nothing: Prometheus asks."""

    def exposition(self) -> bytes:
        """The text that Prometheus scrapes."""
        registry = self._registry
        if SHARED_FOLDER in os.environ:
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)


def configure_logs(log_format: str) -> None:
    """Send this service's logs, and warnings of the libraries under it, to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if log_format == "json" else _TextFormatter())
    for name, level in (
        (LOGGER, logging.INFO),
        ("uvicorn.error", logging.WARNING),
        ("opentelemetry", logging.WARNING),
        ("asyncio", logging.WARNING),
    ):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level)
        logger.propagate = False


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {key}={value}" for key, value in _fields(record).items())
        return f"{_time(record)} {record.levelname:<7} {record.getMessage()}{fields}"


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **_fields(record),
        }
        return json.dumps(entry, default=str)


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _fields(record: logging.LogRecord) -> dict[str, object]:
    fields = {k: v for k, v in record.__dict__.items() if k not in _RECORD and v is not None}
    if record.exc_info and record.exc_info[1] is not None:
        error = record.exc_info[1]
        frames = traceback.extract_tb(error.__traceback__)
        fields["error"] = type(error).__name__
        fields["at"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    return fields
