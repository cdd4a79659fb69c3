"""Behind a proxy that shows the service under a path: by itself, and with a real nginx in front.

The latter needs `nginx` on the path (Debian's package of that name): `make test-proxy`.
"""

from __future__ import annotations

import gzip
import re
import shutil
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from urllib.parse import urljoin

import pytest

httpx = pytest.importorskip("httpx")

from tactful.client import Client  # noqa: E402

NGINX = shutil.which("nginx")
CONFIGURATION = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    scgi_temp_path {folder}/scgi;
    uwsgi_temp_path {folder}/uwsgi;
    upstream tactful {{ server {service}; keepalive 8; }}
    server {{
        listen 127.0.0.1:{port};
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        location /stripped/ {{ proxy_pass http://tactful/; }}
        location /kept {{ proxy_pass http://tactful; }}
    }}
}}
"""
REPLY = {"reply": "I am so sorry, friend."}


def addresses(page):
    """Every address that the page names: of links, and what its script asks for."""
    found = []

    class Links(HTMLParser):
        def handle_starttag(self, tag, attributes):
            found.extend(v for k, v in attributes if k in ("href", "src", "action"))

    Links().feed(page)
    found += re.findall(r'ask\("([^"]+)"', page)
    return [address for address in found if not address.startswith(("#", "data:"))]


def test_the_page_names_no_address_from_the_root_of_the_host(service):
    named = addresses(httpx.get(f"{service.url}/").text)
    assert sorted(named) == ["openapi.json", "v1/bundle", "v1/feedback", "v1/label"]


@pytest.mark.parametrize("prefix", ["", "/tactful"])
def test_a_root_path_is_understood_whether_or_not_it_was_stripped(serve, sound_bundle, prefix):
    running = serve(sound_bundle, "--root-path", "/tactful", ready=False)
    running.wait_until(lambda: httpx.get(f"{running.url}{prefix}/readyz").status_code == 200)
    with httpx.Client(base_url=running.url + prefix, timeout=60) as http:
        assert http.post("/v1/label", json=REPLY).status_code == 200
        assert http.get("/openapi.json").json()["servers"] == [{"url": "/tactful"}]
        assert "<textarea" in http.get("/").text
        assert http.get("/tactfulness").status_code == 404
        assert http.get("/v1/label").headers["allow"] == "POST"
    assert "<textarea" in httpx.get(f"{running.url}/tactful").text
    with Client(running.url + prefix) as client:
        assert client.is_ready()
        assert client.label(REPLY["reply"]).tone.label
    routes = {line["route"] for line in running.lines() if line["message"] == "request"}
    # Of probes only those that were refused are logged, while the bundle was being loaded.
    assert routes - {"/readyz"} == {"/v1/label", "/openapi.json", "/", "unmatched"}


@pytest.fixture
def proxy(tmp_path):
    """Starts nginx before a service."""
    if NGINX is None:
        pytest.skip("nginx is not installed")
    started = []

    def start(running):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        settings = {"folder": tmp_path, "port": port, "service": running.url[len("http://") :]}
        (tmp_path / "nginx.conf").write_text(CONFIGURATION.format(**settings))
        command = [NGINX, "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")]
        with (tmp_path / "nginx.log").open("wb") as log:
            started.append(subprocess.Popen(command, stdout=log, stderr=log))
        url = f"http://127.0.0.1:{port}"
        running.wait_until(lambda: answers(url) or started[-1].poll() is not None)
        assert started[-1].poll() is None, (tmp_path / "nginx.log").read_text()
        return url

    yield start
    for process in started:
        process.terminate()
        process.wait()


def answers(url):
    try:
        return httpx.get(url).status_code
    except httpx.TransportError:
        return 0


def test_everything_works_behind_a_prefix_that_nginx_strips(serve, sound_bundle, proxy):
    running = serve(sound_bundle)
    url = f"{proxy(running)}/stripped/"
    with httpx.Client(timeout=60) as http:
        page = http.get(url)
        for address in addresses(page.text):
            if address == "v1/feedback":  # off: the page does not ask it then
                continue
            whole = urljoin(str(page.url), address)
            answer = http.post(whole, json=REPLY) if "label" in address else http.get(whole)
            assert answer.status_code == 200, whole
        for path in ("", "healthz", "readyz", "metrics", "v1/bundle", "openapi.json"):
            answer = http.head(url + path)
            assert (answer.status_code, answer.content) == (200, b"")
        compressed = gzip.compress(b'{"reply": "sorry"}')
        headers = {"content-type": "application/json", "content-encoding": "gzip"}
        answer = http.post(f"{url}v1/label", content=compressed, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (415, "body_compressed")


def test_everything_works_behind_a_prefix_that_nginx_keeps(serve, sound_bundle, proxy):
    running = serve(sound_bundle, "--root-path", "/kept")
    url = proxy(running)
    assert httpx.post(f"{url}/kept/v1/label", json=REPLY, timeout=60).status_code == 200
    for path in ("/kept", "/kept/"):
        assert "<textarea" in httpx.get(url + path).text
    described = httpx.get(f"{url}/kept/openapi.json").json()
    assert described["servers"] == [{"url": "/kept"}]


def test_what_is_in_flight_at_sigterm_is_answered_through_nginx(
    serve, sound_bundle, proxy, tmp_path
):
    limits = ("--max-items", "5000", "--batch-tokens", "1", "--max-queue-tokens", "1000000")
    running = serve(sound_bundle, *limits, "--deadline-ms", "600000", "--drain-ms", "600000")
    url = f"{proxy(running)}/stripped/v1/label"
    items = {"items": [{"reply": f"sorry {number}"} for number in range(2000)]}

    def waits():
        metrics = httpx.get(f"{running.url}/metrics", timeout=60).text
        return float(re.search(r"^tactful_queue_tokens (.*)$", metrics, re.MULTILINE)[1]) > 0

    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(httpx.post, url, json=items, timeout=600) for _ in range(4)]
        running.wait_until(waits)
        assert running.stop() == 0
        got = [each.result() for each in asked]
    [draining] = [line for line in running.lines() if line["message"] == "draining"]
    answered = [answer for answer in got if answer.status_code == 200]
    assert len(answered) >= draining["in_flight"] >= 1
    assert all(len(answer.json()["items"]) == 2000 for answer in answered)
    # Who came after it is told so, by the service or, when that is gone, by nginx.
    assert {answer.status_code for answer in got} <= {200, 502, 503}
    assert "prematurely" not in (tmp_path / "error.log").read_text()
