"""Start, reload, drain and exit of real processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tactful.bundle.writing import write_bundle

httpx = pytest.importorskip("httpx")

TOKEN = "a-token-for-tests"
BEARER = {"authorization": f"Bearer {TOKEN}"}
REPLY = {"reply": "I am so sorry, friend."}
INFER = "/v2/models/tiny/infer"


def tensor(replies):
    return {
        "inputs": [{"name": "reply", "datatype": "BYTES", "shape": [len(replies)], "data": replies}]
    }


@pytest.fixture(scope="session")
def other_bundle(tmp_path_factory, bundle_parts, manifest_fields):
    folder = tmp_path_factory.mktemp("models") / "other"
    write_bundle(folder, manifest_fields=manifest_fields | {"name": "other"}, files=bundle_parts)
    return folder


class Load:
    """Clients that ask until they are told to stop; what each of them got, in order."""

    def __init__(self, running, clients=8, headers=None):
        self.answers, self.broken, self.refused = [], [], 0
        self._running, self._headers = running, headers
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def _ask(self):
        with httpx.Client(base_url=self._running.url, timeout=60, headers=self._headers) as client:
            while not self._stop.is_set():
                try:
                    answer = client.post("/v1/label", json=REPLY)
                except httpx.ConnectError:  # after the exit
                    self.refused += 1
                    return
                except httpx.HTTPError as error:
                    self.broken.append(error)
                    return
                bundle = answer.json().get("bundle")
                self.answers.append((threading.get_ident(), answer.status_code, bundle))

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, count):
        wanted = len(self.answers) + count
        self._running.wait_until(lambda: len(self.answers) >= wanted or self.broken)

    @property
    def statuses(self):
        return {status for _, status, _ in self.answers}


def connect(running):
    host, port = running.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=60)


def half_a_request(body):
    head = "POST /v1/label HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:5], body[5:]


def test_sigterm_under_load_cuts_nobody_off(serve, sound_bundle):
    running = serve(sound_bundle)
    with Load(running) as load:
        load.wait_for(100)
        assert running.stop() == 0
    assert not load.broken
    assert 200 in load.statuses
    assert load.statuses <= {200, 429, 503}
    assert load.refused


def test_while_draining_the_listener_answers_503_until_the_last_one_is_done(serve, sound_bundle):
    running = serve(sound_bundle, "--receive-ms", "600000")  # the slow one stays to the end
    first, rest = half_a_request(json.dumps(REPLY).encode())
    with connect(running) as slow:
        slow.sendall(first)
        running.wait_until(lambda: httpx.get(f"{running.url}/healthz").status_code == 200)
        running.process.send_signal(signal.SIGTERM)
        running.wait_until(lambda: httpx.get(f"{running.url}/readyz").status_code == 503)
        answer = httpx.post(f"{running.url}/v1/label", json=REPLY)
        assert (answer.status_code, answer.json()["code"]) == (503, "draining")
        assert answer.headers["retry-after"]
        assert answer.headers["connection"] == "close"
        answer = httpx.post(f"{running.url}{INFER}", json=tensor(["sorry"]))
        assert (answer.status_code, list(answer.json())) == (503, ["error"])
        assert answer.headers["retry-after"]
        assert httpx.get(f"{running.url}/v2/health/ready").status_code == 503
        assert httpx.get(f"{running.url}/v2/models/tiny/ready").status_code == 503
        for path in ("/healthz", "/v2/health/live"):
            assert httpx.get(f"{running.url}{path}").status_code == 200
        slow.sendall(rest)
        answer = slow.recv(10_000)
        assert answer.startswith(b"HTTP/1.1 200 ")  # it was let in before
        assert b"connection: close" in answer
    assert running.process.wait(60) == 0


def test_draining_ends_within_its_bound(serve, sound_bundle):
    running = serve(sound_bundle, "--drain-ms", "200", "--receive-ms", "600000")
    with connect(running) as slow:
        slow.sendall(half_a_request(b"123456789")[0])
        running.wait_until(lambda: httpx.get(f"{running.url}/healthz").status_code == 200)
        assert running.stop() == 0


def test_an_interrupt_ends_it_as_well(serve, sound_bundle):
    running = serve(sound_bundle)
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(60) == 0


def test_reload_under_load_fails_no_request_and_changes_the_bundle_once(
    serve, sound_bundle, other_bundle, tmp_path
):
    running = serve(sound_bundle, TACTFUL_TOKEN=TOKEN)
    broken = tmp_path / "broken"
    shutil.copytree(other_bundle, broken)
    (broken / "model.onnx").write_bytes(b"broken")
    url = f"{running.url}/v1/admin/reload"
    with Load(running, headers=BEARER) as load:
        load.wait_for(30)
        answer = httpx.post(url, json={"bundle": str(broken)}, headers=BEARER, timeout=60)
        assert (answer.status_code, answer.json()["code"]) == (422, "bundle_refused")
        assert any("model.onnx" in error["message"] for error in answer.json()["errors"])
        load.wait_for(30)
        answer = httpx.post(url, json={"bundle": str(other_bundle)}, headers=BEARER, timeout=60)
        assert answer.status_code == 200
        assert answer.json()["bundle"].startswith("other@")
        assert answer.json()["previous"].startswith("tiny@")
        load.wait_for(30)
    assert not load.broken
    assert load.statuses == {200}
    for client in {client for client, _, _ in load.answers}:
        names = [bundle.split("@")[0] for who, _, bundle in load.answers if who == client]
        assert names == sorted(names, reverse=True)
    assert {bundle.split("@")[0] for _, _, bundle in load.answers} == {"tiny", "other"}
    metrics = httpx.get(f"{running.url}/metrics").text
    assert 'tactful_reloads_total{outcome="refused"} 1.0' in metrics
    assert f'tactful_bundle_info{{bundle="{answer.json()["bundle"]}"}} 1.0' in metrics


def test_sighup_loads_what_lies_at_the_same_address_now(serve, bundle_copy, other_bundle):
    running = serve(bundle_copy)

    def bundle():
        return httpx.get(f"{running.url}/readyz").json()["bundle"]

    before = bundle()
    (bundle_copy / "README.md").write_text("another card")
    running.process.send_signal(signal.SIGHUP)
    running.wait_until(lambda: "reload refused" in running.log.read_text("utf-8"))
    assert "README.md" in running.log.read_text("utf-8")
    assert bundle() == before
    for file in other_bundle.iterdir():
        shutil.copy(file, bundle_copy)
    running.process.send_signal(signal.SIGHUP)
    running.wait_until(lambda: bundle() != before)
    assert bundle().startswith("other@")
    assert running.stop() == 0


def test_a_token_is_asked_for_where_one_is_set(serve, sound_bundle, tmp_path):
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    running = serve(sound_bundle, "--token-file", str(file))
    with httpx.Client(base_url=running.url, timeout=60) as http:
        for headers in (
            {},
            {"authorization": TOKEN},
            {"authorization": f"Basic {TOKEN}"},
            {"authorization": f"Bearer {TOKEN}x"},
            {"authorization": "Bearer é"},
        ):
            for method, path in (
                ("POST", "/v1/label"),
                ("GET", "/v1/bundle"),
                ("POST", "/v1/admin/reload"),
            ):
                raw = [(k.encode(), v.encode()) for k, v in headers.items()]
                answer = http.request(method, path, headers=raw)
                assert (answer.status_code, answer.json()["code"]) == (401, "token_missing")
                assert answer.headers["www-authenticate"] == "Bearer"
                assert TOKEN not in answer.text
            for method, path in (("POST", INFER), ("GET", "/v2/models/tiny")):
                answer = http.request(method, path, headers=raw)
                assert (answer.status_code, list(answer.json())) == (401, ["error"])
                assert answer.headers["www-authenticate"] == "Bearer"
        assert http.post(INFER, json=tensor(["sorry"]), headers=BEARER).status_code == 200
        assert http.post("/v1/label", json=REPLY, headers=BEARER).status_code == 200
        for path in ("/", "/healthz", "/readyz", "/metrics", "/openapi.json", "/v2"):
            assert http.get(path).status_code == 200
        answer = http.post("/v1/admin/reload", headers=BEARER)
        assert answer.json()["bundle"] == answer.json()["previous"]
        for body in (b"[]", b'{"bundle": 5}', b'{"bundle": ""}', b'{"other": 1}'):
            headers = BEARER | {"content-type": "application/json"}
            answer = http.post("/v1/admin/reload", content=body, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (422, "field_wrong")
    assert TOKEN not in running.log.read_text("utf-8")


def test_a_full_queue_answers_429_at_once(serve, sound_bundle):
    limits = ("--max-queue-tokens", "1600", "--batch-tokens", "1")
    running = serve(sound_bundle, *limits)
    texts = [f"sorry {i}" for i in range(200)]
    batch = {"items": [{"reply": text} for text in texts]}
    asked = [("/v1/label", batch), (INFER, tensor(texts))] * 4

    def ask(what):
        return httpx.post(running.url + what[0], json=what[1], timeout=60)

    refused = {}
    end = time.monotonic() + 60
    while len(refused) < 2 and time.monotonic() < end:
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(ask, asked))
        assert {answer.status_code for answer in answers} <= {200, 429}
        refused |= {answer.url.path: answer for answer in answers if answer.status_code == 429}
    assert refused["/v1/label"].json()["code"] == "queue_full"
    assert list(refused[INFER].json()) == ["error"]
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused.values())
    answer = httpx.post(f"{running.url}/v1/label", json={"reply": "sorry " * 2000}, timeout=60)
    assert answer.status_code == 200  # cut to its windows, it fits
    large = {"items": [{"reply": "sorry " * 100}] * 200}
    answer = httpx.post(f"{running.url}/v1/label", json=large, timeout=60)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_many_tokens")
    large = tensor(["sorry " * 100] * 200)
    answer = httpx.post(running.url + INFER, json=large, timeout=60)
    assert (answer.status_code, list(answer.json())) == (413, ["error"])


def test_too_many_connections_are_told_so(serve, sound_bundle):
    running = serve(sound_bundle, "--max-connections", "4")
    connections = [connect(running) for _ in range(4)]
    try:
        answers = []
        running.wait_until(
            lambda: answers.append(httpx.get(f"{running.url}/healthz")) or answers[-1].is_error
        )
        assert (answers[-1].status_code, answers[-1].json()["code"]) == (
            503,
            "too_many_connections",
        )
    finally:
        for connection in connections:
            connection.close()
    running.wait_until(lambda: httpx.get(f"{running.url}/healthz").status_code == 200)


def test_listening_for_others_without_a_token_is_warned_of(serve, sound_bundle):
    running = serve(sound_bundle, "--host", "0.0.0.0", ready=False)
    [warning] = [line for line in running.lines() if line["level"] == "warning"]
    assert "no token is set" in warning["message"]


def test_workers_share_the_port_their_figures_and_a_reload(serve, sound_bundle, other_bundle):
    running = serve(sound_bundle, "--workers", "2", TACTFUL_TOKEN=TOKEN)
    url = f"{running.url}/v1/label"

    def loaded(name):
        return sum(line.get("bundle", "").startswith(name) for line in running.lines())

    running.wait_until(lambda: loaded("tiny@") == 2)
    for _ in range(20):
        assert httpx.post(url, json=REPLY, headers=BEARER).status_code == 200
    assert "tactful_replies_total 20.0" in httpx.get(f"{running.url}/metrics").text
    body = {"bundle": str(other_bundle)}
    answer = httpx.post(f"{running.url}/v1/admin/reload", json=body, headers=BEARER, timeout=60)
    assert answer.status_code == 200
    running.wait_until(lambda: loaded("other@") >= 3)  # the one that was asked does it twice
    answers = [httpx.post(url, json=REPLY, headers=BEARER).json() for _ in range(10)]
    assert {answer["bundle"].split("@")[0] for answer in answers} == {"other"}

    [victim, _] = children(running.process.pid)
    os.kill(victim, signal.SIGKILL)
    running.wait_until(lambda: loaded("other@") >= 4)  # its successor knows of the reload
    with Load(running, headers=BEARER) as load:
        load.wait_for(50)
        assert running.stop() == 0
    assert not load.broken
    assert load.statuses <= {200, 429, 503}


def test_a_reload_that_is_asked_for_too_early_waits_for_its_handler(serve, sound_bundle):
    running = serve(sound_bundle, "--workers", "2", ready=False)

    def loaded():
        return sum(line["message"] == "bundle loaded" for line in running.lines())

    asked = set()
    while len(asked) < 2:  # each as soon as it is a process of its own: seconds before it can load
        for pid in children(running.process.pid):
            if pid not in asked:
                os.kill(pid, signal.SIGHUP)
                asked.add(pid)
        assert running.process.poll() is None
    running.wait_until(lambda: loaded() == 4)
    assert set(children(running.process.pid)) == asked
    assert running.stop() == 0
    alone = serve(sound_bundle, ready=False)
    alone.process.send_signal(signal.SIGHUP)
    alone.wait_until(lambda: sum(line["message"] == "bundle loaded" for line in alone.lines()) == 2)
    assert alone.stop() == 0


@pytest.mark.parametrize("home", [None, "closed"])
def test_a_user_without_a_name_and_a_home_is_served(serve, sound_bundle, tmp_path, home):
    program = [sys.executable, "-m", "tactful.cli"]
    nobody = ["unshare", "--user", "--map-user=12345"]
    if shutil.which("unshare") and not subprocess.run([*nobody, "true"], check=False).returncode:
        program = [*nobody, *program]  # elsewhere: the home alone
    if home == "closed":
        (tmp_path / home).mkdir(0o500)
        home = str(tmp_path / home)
    who = {"HOME": home, "USER": None, "LOGNAME": None, "XDG_CACHE_HOME": None}
    environment = {k: v for k, v in (os.environ | who).items() if v is not None}
    label = [*program, "label", "--json", "--bundle", str(sound_bundle), "so sorry"]
    done = subprocess.run(label, env=environment, cwd="/", capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["labels"]["tone"]
    running = serve(sound_bundle, program=program, **who)
    assert httpx.post(f"{running.url}/v1/label", json=REPLY, timeout=60).status_code == 200
    assert running.stop() == 0


def children(pid):
    found = []
    for number in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{number}/stat") as stat, open(f"/proc/{number}/cmdline") as command:
                parent, line = int(stat.read().rpartition(")")[2].split()[1]), command.read()
        except OSError:
            continue
        if parent == pid and "spawn_main" in line:
            found.append(int(number))
    return sorted(found)


def run(*options, **variables):
    finished = subprocess.run(
        [sys.executable, "-m", "tactful.cli", "serve", *options],
        capture_output=True,
        env=os.environ | variables,
        timeout=120,
        check=False,
    )
    text = finished.stderr.decode()
    assert "Traceback" not in text
    return finished.returncode, text


def test_what_cannot_be_used_ends_with_2_and_says_why(tmp_path, sound_bundle):
    code, text = run("--port", "0", "--bundle", str(tmp_path / "none"))
    assert code == 2
    assert "does not exist" in text
    code, text = run("--port", "0", "--bundle", str(tmp_path / "none"), "--workers", "2")
    assert code == 2
    assert "does not exist" in text
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, text = run("--bundle", str(sound_bundle), TACTFUL_PORT=port)
    assert code == 2
    assert "--port" in text
    code, text = run("--max-items", "0")
    assert code == 2
    assert "--max-items is 0" in text
    code, text = run(TACTFUL_TOKEN="")
    assert code == 2
    assert "TACTFUL_TOKEN" in text
