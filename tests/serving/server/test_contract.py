"""The HTTP contract, on the wire of a real service."""

from __future__ import annotations

import gzip
import json
import re
import socket
from urllib.parse import urljoin

import pytest

httpx = pytest.importorskip("httpx")

MEDIA_TYPE = "application/problem+json"


@pytest.fixture(scope="module")
def http(service):
    with httpx.Client(base_url=service.url, timeout=60) as client:
        yield client


def exchange(service, *parts):
    """What comes back for raw bytes, until the service closes the connection."""
    host, port = service.url.removeprefix("http://").split(":")
    received = b""
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        for part in parts:
            connection.sendall(part)
        while chunk := connection.recv(65536):
            received += chunk
    return received


def problem(response, status, code):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == MEDIA_TYPE
    body = response.json()
    assert body["status"] == status
    assert body["code"] == code
    assert body["type"].endswith(code)
    assert body["title"]
    assert body["detail"]
    assert body["request_id"] == response.headers["x-request-id"]
    return body


def test_one_reply_gives_the_reading_that_the_library_gives(http, classifier):
    sent = {"reply": "I am so sorry, friend. 🙂", "context": "my parcel is late"}
    reading = http.post("/v1/label", json=sent).raise_for_status().json()
    expected = classifier.classify(sent["reply"], context=sent["context"]).to_dict()
    assert reading == expected


def test_several_items_give_a_reading_or_an_error_each(http, classifier):
    items = [{"reply": "Thank you."}, {"reply": " "}, {"reply": 5}, {}, "text", None]
    items += [{"reply": "x" * 2001}, {"reply": "sorry", "contxt": "a"}]
    items += [{"reply": "sorry", "context": ["a"]}, {"reply": "sorry", "context": None}]
    answer = http.post("/v1/label", json={"items": items}).raise_for_status().json()["items"]
    assert answer[0] == classifier.classify("Thank you.").to_dict()
    assert answer[9] == classifier.classify("sorry").to_dict()
    codes = [entry["error"]["code"] for entry in answer[1:9]]
    assert codes == [
        *("reply_empty", "reply_not_text", "reply_missing", "item_malformed", "item_malformed"),
        *("reply_too_long", "field_unknown", "context_not_text"),
    ]
    assert http.post("/v1/label", json={"items": []}).json() == {"items": []}


def test_lone_surrogates_are_read_and_come_back(http):
    body = '{"reply": "sorry \\ud83d sorry \\udc00"}'
    answer = http.post("/v1/label", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 200
    evidence = answer.json()["labels"]["strategies"][0]["evidence"]
    assert evidence[0]["text"].startswith("sorry")


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({}, "/reply", "reply_missing"),
        ({"context": "a"}, "/reply", "reply_missing"),
        ({"reply": None}, "/reply", "reply_missing"),
        ({"reply": ""}, "/reply", "reply_empty"),
        ({"reply": ["a"]}, "/reply", "reply_not_text"),
        ({"reply": "x" * 2001}, "/reply", "reply_too_long"),
        ({"reply": "a", "context": "x" * 2001}, "/context", "context_too_long"),
        ({"reply": "a", "context": 1}, "/context", "context_not_text"),
        ({"reply": "a", "extra": 1}, "", "field_unknown"),
        ({"reply": "a", "format": "pdf"}, "/format", "format_unknown"),
        ({"reply": "> thanks", "format": "email"}, "/reply", "reply_only_quotes"),
        (
            {"reply": "Agent: I am here. Customer: my parcel is late."},
            "/reply",
            "reply_is_transcript",
        ),
        ({"reply": "a", "items": []}, "", "field_wrong"),
        ({"items": {"reply": "a"}}, "/items", "field_wrong"),
        ([{"reply": "a"}], "", "field_wrong"),
        ("text", "", "field_wrong"),
        (None, "", "field_wrong"),
    ],
)
def test_a_wrong_field_is_named(http, body, pointer, code):
    headers = {"content-type": "application/json"}
    answer = http.post("/v1/label", content=json.dumps(body), headers=headers)
    [error] = problem(answer, 422, "field_wrong")["errors"]
    assert (error["pointer"], error["code"]) == (pointer, code)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b'{"reply": NaN}', b'{"reply": "a", "reply": "b"}', b"[" * 9000, b"\xff{}"),
        *(b'{"reply": "a"} x', b'{"reply": ' + b"9" * 5000 + b"}", b'\xef\xbb\xbf{"reply": "a"}'),
        '{"reply": "a"}'.encode("utf-16"),
    ],
)
def test_what_is_no_json_is_refused(http, body):
    headers = {"content-type": "application/json"}
    problem(http.post("/v1/label", content=body, headers=headers), 400, "json_malformed")


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=latin1",
        "application/json; q=1; charset=utf-16",
    ],
)
def test_another_media_type_is_refused(http, kind):
    headers = {} if kind is None else {"content-type": kind}
    answer = http.post("/v1/label", content=b'{"reply": "a"}', headers=headers)
    problem(answer, 415, "not_json")


def test_json_may_name_its_character_set(http):
    body = b'{"reply": "sorry"}'
    for kind in (
        *("Application/JSON; Charset=UTF-8", "application/json;charset=utf8", "application/json;"),
        *('application/json; charset="Utf8"', "application/json ; charset = 'UTF-8' ;"),
        *("application/json; charset=utf_8", "application/json; q=1; charset=utf8"),
    ):
        answer = http.post("/v1/label", content=body, headers={"content-type": kind})
        assert answer.status_code == 200, kind


@pytest.mark.parametrize("encoding", ["gzip", "br", "GZIP", "identity, zstd", "none"])
def test_a_compressed_body_is_told_what_to_do(http, encoding):
    headers = {"content-type": "application/json", "content-encoding": encoding}
    body = gzip.compress(b'{"reply": "sorry"}')
    answer = http.post("/v1/label", content=body, headers=headers)
    assert "uncompressed" in problem(answer, 415, "body_compressed")["detail"]
    assert answer.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("encoding", ["identity", "Identity", ""])
def test_a_body_may_say_that_it_is_not_compressed(http, encoding):
    headers = {"content-encoding": encoding}
    answer = http.post("/v1/label", json={"reply": "sorry"}, headers=headers)
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/healthz", "/readyz", "/metrics", "/v1/bundle", "/openapi.json"),
        *("/v2", "/v2/health/ready", "/v2/models/tiny"),
    ],
)
def test_head_gets_what_get_gets_without_its_body(service, http, path):
    asked = f"HEAD {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    head, _, body = exchange(service, asked.encode()).partition(b"\r\n\r\n")
    assert (head[:13], body) == (b"HTTP/1.1 200 ", b"")
    got = http.get(path)
    headers = dict(re.findall(r"([\w-]+): (.*?)\r?$", head.decode(), re.MULTILINE))
    assert headers["content-type"] == got.headers["content-type"]
    if path != "/metrics":  # these change with every request
        assert headers["content-length"] == got.headers["content-length"]
    posted = http.request("POST", path)
    assert posted.status_code == 405
    if not path.startswith("/v2"):  # whose form of error is another one
        problem(posted, 405, "method_not_allowed")


def test_too_large_and_too_many_are_refused(http):
    headers = {"content-type": "application/json"}
    large = json.dumps({"reply": "a" * 30_000}).encode()
    problem(http.post("/v1/label", content=large, headers=headers), 413, "body_too_large")
    chunks = (large[i : i + 1000] for i in range(0, len(large), 1000))
    problem(http.post("/v1/label", content=chunks, headers=headers), 413, "body_too_large")
    many = {"items": [{"reply": "a"}] * 21}
    problem(http.post("/v1/label", json=many), 413, "too_many_items")


def test_a_refused_body_of_any_size_still_gets_its_answer(http):
    body = b'{"reply": "' + b"a" * 3_000_000 + b'"}'
    headers = {"content-type": "application/json"}
    problem(http.post("/v1/label", content=body, headers=headers), 413, "body_too_large")


def test_unknown_addresses_and_methods_are_problems_too(http):
    for path in ("/nothing", "/v1/label/", "/docs", "/v1"):
        problem(http.get(path), 404, "not_found")
    answer = http.get("/v1/label")
    problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"
    assert http.request("DELETE", "/healthz").headers["allow"] == "GET, HEAD"
    problem(http.request("DELETE", "/healthz"), 405, "method_not_allowed")
    problem(http.request("QUERY", "/v1/label"), 405, "method_not_allowed")


def test_health_readiness_and_bundle(http, classifier, service):
    assert http.get("/healthz").json()["status"] == "alive"
    bundle = classifier.bundle
    assert http.get("/readyz").json() == {"status": "ready", "bundle": bundle.id}
    info = http.get("/v1/bundle").json()
    assert info["manifest"] == dict(bundle.manifest)
    assert info["labels"]["strategies"]["apology"] == "says apology"
    assert info["thresholds"] == {
        "strategies": {"apology": 0.5, "gratitude": 0.43, "next_step": 0.6}
    }


def test_reloading_over_http_is_off_without_a_token(http):
    problem(http.post("/v1/admin/reload"), 401, "token_missing")


def test_request_ids_come_back_where_they_are_harmless(http):
    assert http.get("/healthz", headers={"x-request-id": "a-1"}).headers["x-request-id"] == "a-1"
    given = http.get("/healthz", headers={"x-request-id": "no spaces"}).headers["x-request-id"]
    assert re.fullmatch(r"[0-9a-f]{12}", given)


def test_what_is_no_http_is_a_problem_document(service):
    answer = exchange(service, b"HELLO\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"content-type: application/problem+json" in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "http_malformed"


LABEL = b"POST /v1/label HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /healthz HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 30_000,
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 150_000,
        LABEL + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n" + b"X: y\r\n" * 30_000,
        b"\r\n" * 75_000,
    ],
    ids=["lines", "one line", "trailers", "empty lines"],
)
def test_what_is_no_body_is_bounded(service, http, sent):
    try:
        answer = exchange(service, sent)
    except ConnectionError:  # it was ended before the rest was read
        answer = b""
    assert not answer or answer.startswith(b"HTTP/1.1 4")
    assert http.get("/readyz").status_code == 200


def test_requests_may_follow_each_other_without_waiting(service):
    body = b'{"reply": "sorry"}'
    one = LABEL + b"X-Request-Id: n%d\r\nContent-Length: %d\r\n"
    sent = [one % (number, len(body)) + b"\r\n" + body for number in range(3)]
    sent.append(one % (3, len(body)) + b"Connection: close\r\n\r\n" + body)
    answer = exchange(service, b"".join(sent))
    assert answer.count(b"HTTP/1.1 200 ") == 4
    assert re.findall(rb"x-request-id: (\w+)", answer) == [b"n0", b"n1", b"n2", b"n3"]


def test_what_follows_a_request_does_not_harm_its_answer(service):
    body = b'{"reply": "sorry"}'
    answer = exchange(
        service, LABEL + b"Content-Length: %d\r\n\r\n" % len(body) + body + b"HELLO\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.count(b"HTTP/1.1 ") == 2
    assert b"HTTP/1.1 400 " in answer


def test_an_offer_to_upgrade_is_ignored(service):
    body = b'{"reply": "sorry"}'
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n"
    head = LABEL + offer + b"Content-Length: %d\r\n\r\n" % len(body)
    last = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    for parts in ((head + body + last,), (head, body, last)):
        answer = exchange(service, *parts)
        assert answer.count(b"HTTP/1.1 200 ") == 2
        assert b'"apology"' in answer
        assert b'"alive"' in answer


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"POST /v1/label HTT",
        LABEL + b"Content-Length: 20\r\n\r\n{",
    ],
    ids=["nothing", "half a head", "half a body"],
)
def test_slow_senders_get_a_timeout(service, sent):
    answer = exchange(service, sent)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "sender_too_slow"


def test_a_sender_who_goes_away_harms_nobody(service, http):
    host, port = service.url.removeprefix("http://").split(":")
    body = b'{"reply": "sorry"}'
    head = LABEL + b"Content-Length: %d\r\n\r\n" % len(body)
    for sent in (head[:30], head, head + body[:5], head + body):
        for _ in range(5):
            with socket.create_connection((host, int(port))) as connection:
                connection.sendall(sent)
    assert http.post("/v1/label", json={"reply": "sorry"}).status_code == 200


def test_the_openapi_description_is_complete(http):
    described = http.get("/openapi.json").json()
    assert set(described["paths"]) == {
        *("/healthz", "/readyz", "/metrics", "/v1/bundle", "/v1/label", "/v1/admin/reload"),
        "/v1/feedback",
        *("/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/{name}"),
        *("/v2/models/{name}/ready", "/v2/models/{name}/infer"),
    }
    assert urljoin(f"{http.base_url}/a/openapi.json", described["servers"][0]["url"]).endswith(
        "/a/"
    )
    label = described["paths"]["/v1/label"]["post"]
    assert set(label["responses"]) == {
        *("200", "400", "401", "408", "413", "415", "422", "429", "500", "503")
    }
    assert label["requestBody"]["content"]["application/json"]["examples"]
    references = re.findall(r'"#/components/schemas/(\w+)"', json.dumps(described))
    assert set(references) <= set(described["components"]["schemas"])
    for address, path in described["paths"].items():
        kind = "application/json" if address.startswith("/v2") else MEDIA_TYPE
        for operation in path.values():
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    assert list(response["content"]) == [kind]


def test_live_answers_have_the_shapes_of_the_description(http):
    from tactful.server import inference_shapes as tensors
    from tactful.server import json_shapes as schemas

    reading = http.post("/v1/label", json={"reply": "I am so sorry, friend."}).json()
    schemas.Reading.model_validate(reading)
    several = http.post("/v1/label", json={"items": [{"reply": "ok"}, {"reply": ""}]}).json()
    schemas.Readings.model_validate(several)
    schemas.BundleInfo.model_validate(http.get("/v1/bundle").json())
    schemas.State.model_validate(http.get("/readyz").json())
    schemas.Problem.model_validate(http.post("/v1/label", json={"reply": ""}).json())
    schemas.Reading.model_validate(schemas.READING_EXAMPLE)
    tensors.ServerMetadata.model_validate(http.get("/v2").json())
    tensors.ModelMetadata.model_validate(http.get("/v2/models/tiny").json())
    tensors.ModelReady.model_validate(http.get("/v2/models/tiny/ready").json())
    tensors.Inference.model_validate(tensors.INFERENCE_EXAMPLE)
    inferred = http.post("/v2/models/tiny/infer", json=tensors.INFERENCE_EXAMPLE | {"outputs": []})
    tensors.Inferred.model_validate(inferred.json())
    tensors.Inferred.model_validate(tensors.INFERRED_EXAMPLE)


def test_metrics_tell_how_the_service_does_and_what_it_decides(http):
    http.post("/v1/label", json={"reply": "I am so sorry, friend."})
    http.post("/v1/label", json={"reply": ""})
    text = http.get("/metrics").text
    for line in (
        'tactful_http_requests_total{method="POST",route="/v1/label",status="200"} ',
        'tactful_http_request_seconds_bucket{le="0.005",method="POST",route="/v1/label"',
        'tactful_failures_total{cause="field_wrong"} ',
        'tactful_decisions_total{label="apology",task="strategies"} ',
        'tactful_score_bucket{label="warm",le="0.5",task="tone"} ',
        *("tactful_queue_tokens ", "tactful_batch_items_bucket", "tactful_batch_tokens_bucket"),
        *("tactful_tokens_total ", "tactful_replies_total ", "tactful_truncated_replies_total "),
        *("tactful_ready 1.0", "tactful_bundle_info{"),
    ):
        assert f"\n{line}" in text, line


def test_texts_are_found_nowhere(http, service):
    canary = "zebra7canary"
    headers = {"content-type": "application/json"}
    for content in (
        json.dumps({"reply": f"sorry {canary}", "context": canary}),
        json.dumps({"items": [{"reply": canary}, {"reply": [canary]}, canary, {canary: 1}]}),
        json.dumps({"reply": "a", canary: canary}),
        json.dumps({"reply": canary, "context": [canary]}),
        json.dumps({"reply": canary * 200}),
        json.dumps({"reply": canary * 2000}),
        f'{{"{canary}": 1, "{canary}": 2}}',
        f'{{"reply": "{canary}"',
        f'{{"reply": {canary}}}',
        json.dumps([canary]),
        json.dumps(canary),
    ):
        answer = http.post("/v1/label", content=content, headers=headers)
        if answer.status_code != 200:
            assert canary not in answer.text
        assert canary not in str(answer.headers)
        problem(http.post("/v1/label", content=content, headers={}), 415, "not_json")
    http.get(f"/{canary}?{canary}={canary}")
    http.request(canary.upper(), f"/{canary}")
    exchange(service, canary.encode() + b"\r\n\r\n")
    assert canary not in http.get("/metrics").text.lower()
    assert canary not in service.log.read_text("utf-8").lower()


def test_a_receipt_is_given_where_it_is_asked_for(http, classifier):
    sent = {"reply": "I am so sorry, friend.", "context": "my parcel is late"}
    answer = http.post("/v1/label?explain=true", json=sent).raise_for_status().json()
    assert answer == classifier.explain(**sent).to_dict()
    items = {"items": [sent, {"reply": ""}]}
    several = http.post("/v1/label?explain=true", json=items).json()["items"]
    assert several[0] == answer
    assert several[1]["error"]["code"] == "reply_empty"
    plain = http.post("/v1/label?explain=false", json=sent).json()
    assert plain == answer["reading"]
    wrong = http.post("/v1/label?explain=1", json=sent)
    assert "true or false" in problem(wrong, 422, "field_wrong")["detail"]


def test_a_receipt_of_a_mail_counts_in_its_original(http, classifier):
    mail = "> my parcel is late\n\nI am <b>so</b> sorry,&nbsp;friend."
    receipt = http.post("/v1/label?explain=true", json={"reply": mail}).raise_for_status().json()
    assert receipt["reading"] == classifier.classify(mail).to_dict()
    assert {each["why"] for each in receipt["unread"]} == {"quoted", "markup"}
    for label in receipt["labels"]["strategies"].values():
        for token in label["tokens"]:
            assert mail[token["start"] : token["end"]] == token["text"]
    assert receipt["labels"]["strategies"]["apology"]["tokens"][0]["text"] == "sorry"
