"""The Open Inference Protocol, asked by Triton's own client and by what is no client of it."""

from __future__ import annotations

import json

import numpy as np
import pytest

import tactful
from tactful.output.flat_rows import FlatRows

httpx = pytest.importorskip("httpx")

INFER = "/v2/models/tiny/infer"
REPLIES = ["I am so sorry, friend. 🙂", "Thank you.", "ok", "We will call you next."]
CONTEXTS = ["my parcel is late", "", "", "my order"]


@pytest.fixture(scope="module")
def http(service):
    with httpx.Client(base_url=service.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def triton(service):
    module = pytest.importorskip("tritonclient.http")
    with module.InferenceServerClient(service.url.removeprefix("http://")) as client:
        yield client


def tensor(name, values, **more):
    return {"name": name, "datatype": "BYTES", "shape": [len(values)], "data": values} | more


def refused(answer, status, *said):
    """The protocol's own form of error, and what it must say."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    [(key, message)] = answer.json().items()
    assert key == "error"
    for each in said:
        assert each in message


@pytest.mark.parametrize("binary", [True, False])
def test_tritons_client_gets_what_the_library_reads(triton, classifier, binary):
    from tritonclient.http import InferInput, InferRequestedOutput

    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready("tiny")
    assert triton.get_server_metadata() == {
        "name": "tactful", "version": tactful.__version__, "extensions": ["binary_tensor_data"],
    }  # fmt: skip
    told = triton.get_model_metadata("tiny")
    assert [each["name"] for each in told["inputs"]] == ["reply", "context"]

    inputs = []
    for name, texts in (("reply", REPLIES), ("context", CONTEXTS)):
        inputs.append(InferInput(name, [len(texts), 1], "BYTES"))
        inputs[-1].set_data_from_numpy(np.array(texts, object)[:, None], binary_data=binary)
    wanted = [InferRequestedOutput(each["name"], binary) for each in told["outputs"]]
    result = triton.infer("tiny", inputs, outputs=wanted, request_id="a-1")
    assert result.get_response()["id"] == "a-1"
    assert result.get_response()["parameters"] == {"bundle": classifier.bundle.id}

    expected = [
        classifier.classify(reply, context or None)
        for reply, context in zip(REPLIES, CONTEXTS, strict=True)
    ]
    tasks = classifier.bundle.heads.tasks
    rows = [FlatRows(tasks, "", scores="none").row(reading) for reading in expected]

    def texts(name):
        values = result.as_numpy(name)
        assert values.shape == (len(REPLIES),)
        return [each.decode() if isinstance(each, bytes) else each for each in values]

    assert texts("strategies") == ["|".join(row["strategies"]) for row in rows]
    assert texts("tone") == [row["tone"] for row in rows]
    assert [json.loads(each) for each in texts("evidence")] == [row["evidence"] for row in rows]
    assert result.as_numpy("truncated").tolist() == [False] * len(REPLIES)
    for output in told["outputs"]:
        if output["name"].startswith("scores."):
            labels = output["parameters"]["labels"].split("|")
            task = output["name"].removeprefix("scores.")
            scores = [[reading.scores[task][label] for label in labels] for reading in expected]
            found = result.as_numpy(output["name"])
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, scores, atol=1e-4)


def test_tritons_client_by_default_and_its_errors(triton):
    from tritonclient.http import InferInput
    from tritonclient.utils import InferenceServerException

    reply = InferInput("reply", [2], "BYTES")
    reply.set_data_from_numpy(np.array(["sorry", "thanks"], object))
    result = triton.infer("tiny", [reply])
    assert result.as_numpy("scores.strategies").shape == (2, 3)
    with pytest.raises(InferenceServerException, match="this service has tiny"):
        triton.infer("other", [reply])
    number = InferInput("reply", [1], "FP32")
    number.set_data_from_numpy(np.zeros(1, np.float32))
    with pytest.raises(InferenceServerException, match="its datatype must be BYTES"):
        triton.infer("tiny", [number])
    assert not triton.is_model_ready("other")


def test_only_outputs_that_are_asked_for_come_back(http):
    sent = {"inputs": [tensor("reply", ["sorry"])], "outputs": [{"name": "tone"}]}
    answer = http.post(INFER, json=sent).raise_for_status().json()
    assert [each["name"] for each in answer["outputs"]] == ["tone"]
    assert "id" not in answer
    empty = http.post(INFER, json={"inputs": [tensor("reply", [])]}).raise_for_status().json()
    assert [each["data"] for each in empty["outputs"]] == [[]] * 6


REPLY = tensor("reply", ["sorry"])


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ([], "must be an object"),
        ({}, "inputs must be a list"),
        ({"inputs": {"reply": "a"}}, "inputs must be a list"),
        ({"inputs": [REPLY] * 3}, "inputs must be a list"),
        ({"inputs": ["reply"]}, "inputs[0] must have a name of: reply, context"),
        ({"inputs": [REPLY | {"name": "text"}]}, "inputs[0] must have a name of: reply, context"),
        ({"inputs": [REPLY, REPLY]}, "reply stands in inputs twice"),
        ({"inputs": [tensor("context", ["a"])]}, "the input reply is missing"),
        (
            {"inputs": [REPLY | {"datatype": "FP32"}]},
            'reply: its datatype must be BYTES, not "FP32"',
        ),
        ({"inputs": [REPLY | {"shape": [1, 2]}]}, "shape must be [n] or [n, 1], not [1, 2]"),
        ({"inputs": [REPLY | {"shape": [[1]]}]}, "shape must be [n] or [n, 1], not what was"),
        ({"inputs": [REPLY | {"shape": [True]}]}, "reply: its shape must be [n] or [n, 1]"),
        ({"inputs": [REPLY | {"shape": [-1]}]}, "reply: its shape must be [n] or [n, 1]"),
        ({"inputs": [REPLY | {"shape": []}]}, "reply: its shape must be [n] or [n, 1]"),
        ({"inputs": [REPLY | {"shape": [2]}]}, "reply: its shape says 2 rows, its data has 1"),
        ({"inputs": [REPLY | {"data": "sorry"}]}, "reply: its data must be a list of texts"),
        ({"inputs": [tensor("reply", ["a", 5])]}, "reply: row 1 is no text"),
        ({"inputs": [tensor("reply", ["a", None])]}, "reply: row 1 is no text"),
        ({"inputs": [tensor("reply", ["a", " "])]}, "row 1: the reply is empty or blank"),
        ({"inputs": [tensor("reply", ["a" * 2001])]}, "row 0: the reply has 2001 characters"),
        ({"inputs": [REPLY, tensor("context", [])]}, "reply has 1 rows and context 0"),
        ({"inputs": [REPLY], "outputs": [{"name": "x"}]}, "outputs[0] must have a name of: strat"),
        ({"inputs": [REPLY], "outputs": 5}, "outputs must be a list"),
        ({"inputs": [REPLY], "id": 5}, "id must be text"),
        ({"inputs": [REPLY], "parameters": 5}, "parameters must be an object"),
        (
            {"inputs": [REPLY | {"parameters": {"shared_memory_region": "a"}}]},
            "the parameter shared_memory_region is not known here",
        ),
        (
            {"inputs": [REPLY | {"parameters": {"binary_data_size": 5}}]},
            "has both data and the parameter binary_data_size",
        ),
    ],
)
def test_a_wrong_tensor_is_named(http, sent, said):
    refused(http.post(INFER, json=sent), 400, said)


@pytest.mark.parametrize(
    ("binary", "more", "said"),
    [
        (b"\x02\0\0\0hi", {"shape": [2]}, "its shape says 2 rows, its data has 1"),
        (b"\x02\0\0\0hi" * 3, {}, "its shape says 1 rows, its data has 2"),
        (b"\x02\0\0\0h", {}, "its bytes end within row 0"),
        (b"\xff\xff\xff\xffhi", {}, "its bytes end within row 0"),
        (b"\x02\0\0\0hi\0", {}, "its bytes end within the length of row 1"),
        (b"\x02\0\0\0h\xff", {}, "row 0 is no UTF-8 at byte 1"),
        (b"\x02\0\0\0hi", {"parameters": {"binary_data_size": 7}}, "there are 6"),
        (b"\x02\0\0\0hi", {"parameters": {"binary_data_size": -1}}, "there are 6"),
        (b"\x02\0\0\0hi", {"parameters": {"binary_data_size": "6"}}, "there are 6"),
        (b"\x02\0\0\0hi!", {"parameters": {"binary_data_size": 6}}, "1 bytes stand behind"),
    ],
)
def test_wrong_bytes_are_named(http, binary, more, said):
    sent = {"name": "reply", "datatype": "BYTES", "shape": [1]}
    sent |= {"parameters": {"binary_data_size": len(binary)}} | more
    head = json.dumps({"inputs": [sent]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    refused(http.post(INFER, content=head + binary, headers=headers), 400, said)


@pytest.mark.parametrize("length", ["-1", "x", "99999", "9" * 400, "1.5"])
def test_a_wrong_length_of_the_json_is_named(http, length):
    headers = {"Inference-Header-Content-Length": length}
    refused(http.post(INFER, content=b"{}", headers=headers), 400, "must be the bytes of the JSON")


def test_everything_else_is_refused_in_the_same_form(http):
    rows = {"inputs": [tensor("reply", ["sorry"] * 21)]}
    refused(http.post(INFER, json=rows), 413, "allowed in one request: 20")
    refused(http.post(INFER, content=b"{" + b" " * 30_000), 413, "20000 bytes at most")
    refused(http.post(INFER, content=b"{"), 400, "not JSON")
    refused(http.post(INFER, content=b"{}", headers={"content-type": "text/plain"}), 415)
    refused(http.post(INFER, content=b"{}", headers={"content-encoding": "gzip"}), 415)
    refused(http.post("/v2/models/other/infer", json={}), 404, "this service has tiny")
    for path in ("/v2/models/other", "/v2/models/other/ready", "/v2/models/", "/v2/nothing"):
        refused(http.get(path), 404)
    refused(http.get(INFER), 405, "allowed here: POST")
    assert http.get("/v20").headers["content-type"] == "application/problem+json"


def test_texts_and_names_are_found_nowhere(http, service):
    canary = "zebra8canary"
    for sent in (
        {"inputs": [tensor("reply", [canary, 5])]},
        {"inputs": [tensor(canary, [canary])]},
        {"inputs": [REPLY], "outputs": [{"name": canary}]},
        {"inputs": [tensor("reply", [canary], datatype=canary)]},
        {"inputs": [tensor("reply", [canary]) | {"shape": [canary]}]},
    ):
        assert canary not in http.post(INFER, json=sent).text
    assert canary not in http.get(f"/v2/models/{canary}").text
    figures = http.get("/metrics").text
    assert canary not in figures
    assert canary not in service.log.read_text("utf-8")
    assert 'route="/v2/models/{name}/infer",status="400"' in figures


def test_the_model_may_have_the_name_that_its_callers_know(serve, sound_bundle):
    running = serve(sound_bundle, "--model-name", "support-tone")
    told = httpx.get(f"{running.url}/v2/models/support-tone", timeout=60).json()
    assert (told["name"], told["versions"]) == ("support-tone", ["0.1.0"])
    refused(httpx.get(f"{running.url}/v2/models/tiny", timeout=60), 404, "has support-tone")
