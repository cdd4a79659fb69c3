"""Traces and metrics by OpenTelemetry: the SDK's own in-memory exporters, and a real process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tactful.server.connections import listen
from tactful.server.lifecycle import serve as serve_here
from tactful.server.serve_settings import Settings
from tactful.server.tracing import is_wanted

httpx = pytest.importorskip("httpx")
pytest.importorskip("opentelemetry.sdk")

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
CANARY = "zebra9canary"


@pytest.fixture(scope="module")
def told(sound_bundle):
    """The spans and metrics of some requests, and the port that was asked."""
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from tactful.server.open_telemetry import ExportedMetrics, ExportedTraces

    spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
    traces, metrics = ExportedTraces(SimpleSpanProcessor(spans)), ExportedMetrics(reader)
    settings = Settings(bundle=str(sound_bundle), port=0, threads=1, batch_tokens=20)
    listener = listen(settings.host, settings.port)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"

    async def ask():
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            while (await client.get("/readyz")).status_code != 200:
                await asyncio.sleep(0.05)
            reply = {"reply": f"sorry {CANARY}", "context": CANARY}
            await client.post("/v1/label", json=reply, headers=PARENT)
            await client.post("/v1/label", json={"reply": " "}, headers={"traceparent": CANARY})
            await client.post(
                "/v1/label", json={"items": [{"reply": f"sorry {i}"} for i in range(9)]}
            )
            await client.get(f"/{CANARY}?{CANARY}")
            tensor = {"name": "reply", "datatype": "BYTES", "shape": [1], "data": [CANARY]}
            await client.post("/v2/models/tiny/infer", json={"inputs": [tensor]})
            await client.get("/metrics")
        figures = json.loads(reader.get_metrics_data().to_json())
        os.kill(os.getpid(), signal.SIGTERM)
        return figures

    async def run():
        serving = asyncio.create_task(serve_here(settings, listener, telemetry=(traces, metrics)))
        figures = await ask()
        await serving
        return figures

    interval = sys.getswitchinterval()
    try:
        figures = asyncio.run(run())
    finally:
        sys.setswitchinterval(interval)
    return spans.get_finished_spans(), figures


def of(spans, trace):
    return {span.name: span for span in spans if span.context.trace_id == trace}


def test_a_request_its_queue_and_its_batch_are_spans_of_the_callers_trace(told):
    spans, _ = told
    found = of(spans, int(TRACE, 16))
    assert set(found) == {"POST /v1/label", "queue", "batch"}
    request, queue, batch = found["POST /v1/label"], found["queue"], found["batch"]
    assert request.parent.span_id == 0xB7AD6B7169203331
    assert request.kind.name == "SERVER"
    assert dict(request.attributes) == {
        "http.route": "/v1/label",
        "http.request.method": "POST",
        "http.response.status_code": 200,
    }
    assert queue.parent.span_id == batch.parent.span_id == request.context.span_id
    assert request.start_time <= queue.start_time <= queue.end_time <= batch.start_time
    assert batch.start_time <= batch.end_time <= request.end_time
    assert batch.attributes["tactful.batch.items"] == 1
    assert request.resource.attributes["service.name"] == "tactful"


def test_a_request_of_several_has_all_its_batches(told):
    spans, _ = told
    batches = [span for span in spans if span.name == "batch" and span.parent]
    most = max(sum(b.context.trace_id == a.context.trace_id for b in batches) for a in batches)
    assert most > 1


def test_refusals_and_unknown_addresses_are_told_without_texts(told):
    spans, _ = told
    [refused] = [s for s in spans if s.attributes.get("error.type") == "field_wrong"]
    assert refused.parent is None  # what the caller sent was no trace
    assert refused.attributes["http.response.status_code"] == 422
    assert refused.status.status_code.name == "UNSET"  # the caller's fault, not the service's
    names = {span.name for span in spans}
    assert {"GET unmatched", "POST /v2/models/{name}/infer"} <= names
    assert not [name for name in names if "readyz" in name or "metrics" in name]
    assert CANARY not in "".join(span.to_json() for span in spans)


def test_figures_are_sent_as_well(told):
    _, figures = told
    assert CANARY not in json.dumps(figures)
    [scope] = figures["resource_metrics"][0]["scope_metrics"]
    metrics = {each["name"]: each["data"]["data_points"] for each in scope["metrics"]}
    counts = {
        (point["attributes"]["http.route"], point["attributes"]["http.response.status_code"]):
        point["count"] for point in metrics["http.server.request.duration"]
    }  # fmt: skip
    assert counts["/v1/label", 200] == 2
    assert counts["/v1/label", 422] == 1
    assert sum(point["value"] for point in metrics["tactful.replies"]) == 11
    assert metrics["tactful.ready"][0]["value"] == 1
    names = {"tactful.decisions", "tactful.batch.items", "tactful.batch.duration"}
    assert names <= set(metrics)


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "a"}, False),
        ({"OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_TRACES_EXPORTER": "console"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_SDK_DISABLED": "True"}, False),
    ],
)
def test_it_is_off_unless_the_variables_ask_for_it(variables, wanted):
    assert is_wanted(variables) is wanted


class Collector(BaseHTTPRequestHandler):
    received: list

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append((self.path, body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()


def test_a_service_sends_to_the_endpoint_that_is_named(serve, sound_bundle):
    received = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("C", (Collector,), {"received": received}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        named = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_SERVICE_NAME": "tone-of-support"}
        running = serve(sound_bundle, **named, OTEL_EXPORTER_OTLP_COMPRESSION="none")
        httpx.post(f"{running.url}/v1/label", json={"reply": f"sorry {CANARY}"}, timeout=60)
        assert running.stop() == 0  # what was not sent yet goes out at the end
    finally:
        server.shutdown()
        server.server_close()
    assert {path for path, _ in received} == {"/v1/traces", "/v1/metrics"}
    sent = b"".join(body for _, body in received)
    for name in (b"tone-of-support", b"POST /v1/label", b"queue", b"http.server.request.duration"):
        assert name in sent
    assert CANARY.encode() not in sent
    assert all(line["level"] != "error" for line in running.lines())


def test_an_exporter_that_is_not_known_is_named(monkeypatch):
    from tactful import TactfulError
    from tactful.server.open_telemetry import exporters

    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "zipkin")
    with pytest.raises(TactfulError, match="OTEL_TRACES_EXPORTER is 'zipkin', allowed: otlp"):
        exporters()
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with pytest.raises(TactfulError, match="OTEL_EXPORTER_OTLP_PROTOCOL is 'grpc'"):
        exporters()
