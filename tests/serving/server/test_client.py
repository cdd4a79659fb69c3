"""The client against a real service, and against servers that fail in known ways."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

pytest.importorskip("httpx")

from tactful import InputError, Reading
from tactful.client import Client, ServiceError

REPLY = "I am so sorry, friend."


@pytest.fixture(scope="module")
def client(service):
    with Client(service.url, batch_items=3) as client:
        yield client


@pytest.fixture
def scripted():
    """A server that gives prepared answers, and the requests that it got."""

    def start(*answers):
        got = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                got.append((dict(self.headers), json.loads(body)))
                status, headers, content = answers[min(len(got), len(answers)) - 1]
                if status is None:  # closes without a word
                    self.close_connection = True
                    return
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                content = json.dumps(content).encode()
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}", got

    servers = []
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_receipt_is_that_of_the_library(client, classifier):
    assert client.explain(REPLY, "late") == classifier.explain(REPLY, "late")
    with pytest.raises(InputError) as caught:
        client.explain(" ")
    assert caught.value.code == "reply_empty"


def test_a_reading_is_the_one_of_the_library(client, classifier):
    reading = client.label(REPLY, context="my parcel is late")
    assert isinstance(reading, Reading)
    assert reading == classifier.classify(REPLY, context="my parcel is late")
    assert client.label("sorry \ud83d") == classifier.classify("sorry \ud83d")


def test_many_come_in_order_lazily_and_in_batches(client, classifier):
    items = [f"{REPLY} {i}" for i in range(7)] + [("Thank you.", "my order")]
    assert list(client.label_many(items)) == list(classifier.classify_many(items))

    def endless():
        while True:
            yield REPLY

    assert next(client.label_many(endless())).tone.label
    assert list(client.label_many([])) == []


def test_what_cannot_be_read_is_told_as_the_library_tells_it(client):
    with pytest.raises(InputError) as caught:
        client.label(" ")
    assert caught.value.code == "reply_empty"
    first, second, third = client.label_many([REPLY, "", REPLY], errors="return")
    assert isinstance(first, Reading)
    assert isinstance(third, Reading)
    assert second.code == "reply_empty"
    readings = client.label_many([REPLY] * 4 + [""])
    assert len([next(readings) for _ in range(4)]) == 4
    with pytest.raises(InputError, match="item 4: "):
        next(readings)
    with pytest.raises(TypeError):
        client.label_many(REPLY)


def test_items_of_any_form_are_told_apart_as_by_the_library(client, classifier):
    items = [[REPLY, "my parcel is late"], (REPLY, None, "late"), 5, None, (REPLY, 5), "", REPLY]

    def told(results):
        return [
            (result.code, str(result)) if isinstance(result, InputError) else result
            for result in results
        ]

    expected = told(classifier.classify_many(items, errors="return"))
    assert [isinstance(result, Reading) for result in expected] == [True, *[False] * 5, True]
    assert told(client.label_many(items, errors="return")) == expected


def test_other_problems_keep_their_document(service):
    with Client(service.url, batch_items=1000) as greedy, pytest.raises(ServiceError) as caught:
        list(greedy.label_many([REPLY] * 30))
    assert (caught.value.status, caught.value.code) == (413, "too_many_items")
    assert caught.value.problem["title"]


def test_bundle_and_readiness(client, classifier):
    assert client.bundle()["bundle"] == classifier.bundle.id
    assert client.is_ready()
    with Client("http://127.0.0.1:9", retries=0) as nobody:
        assert not nobody.is_ready()
        with pytest.raises(ServiceError, match="tactful serve") as caught:
            nobody.label(REPLY)
        assert (caught.value.status, caught.value.code) == (None, "unreachable")


def test_busy_services_are_asked_again_after_the_time_they_name(scripted, classifier, monkeypatch):
    pauses = []
    monkeypatch.setattr("tactful.client.time.sleep", pauses.append)
    reading = classifier.classify(REPLY)
    busy = {"code": "queue_full", "detail": "full"}
    url, got = scripted(
        (429, {"Retry-After": "7"}, busy),
        (503, {}, busy),
        (None, {}, None),
        (200, {}, reading.to_dict()),
    )
    with Client(url, token="secret") as client:
        assert client.label(REPLY) == reading
    assert len(got) == 4
    assert got[0][0]["Authorization"] == "Bearer secret"
    assert 7 <= pauses[0] < 8
    assert pauses[1] < pauses[2] < 2


@pytest.mark.parametrize("content", [{"items": []}, {"tone": {}}])
def test_an_answer_that_is_not_for_each_item_is_refused(scripted, content):
    url, _ = scripted((200, {}, content))
    with Client(url) as client, pytest.raises(ServiceError, match="each of 2 items") as caught:
        list(client.label_many([REPLY, REPLY]))
    assert caught.value.code == "answer_malformed"


def test_patience_ends(scripted, monkeypatch):
    monkeypatch.setattr("tactful.client.time.sleep", lambda seconds: None)
    url, got = scripted((429, {"Retry-After": "1"}, {"code": "queue_full", "detail": "full"}))
    with Client(url, retries=2) as client, pytest.raises(ServiceError, match="429: full"):
        client.label(REPLY)
    assert len(got) == 3


def test_other_statuses_are_not_tried_again(scripted):
    url, got = scripted((401, {}, {"code": "token_missing", "detail": "send a token"}))
    with Client(url) as client, pytest.raises(ServiceError, match="401"):
        client.label(REPLY)
    assert len(got) == 1
    url, _ = scripted((200, {}, ["no object"]))
    with Client(url) as client, pytest.raises(ServiceError):
        client.label(REPLY)


def test_the_format_goes_along(client, classifier):
    mail = "so sorry\n> thank you"
    assert client.label(mail) == classifier.classify(mail)
    assert client.label(mail, format="text") == classifier.classify(mail, format="text")
    [many] = client.label_many([mail], format="text")
    assert many.skipped == ()
    assert client.explain(mail).reading.skipped == client.label(mail).skipped
    with pytest.raises(InputError) as caught:
        client.label("> thank you")
    assert caught.value.code == "reply_only_quotes"
    with pytest.raises(InputError, match="format"):
        client.label_many([mail], format="pdf")
