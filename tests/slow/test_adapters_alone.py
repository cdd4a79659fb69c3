"""Each adapter with its real client, in an environment of the base install and its extra alone.

`make test-adapters`; installs what constraints.txt pins, an environment for each extra.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"torch", "transformers", "datasets", "mlflow", "mlflow-skinny", "onnx", "scikit-learn"}
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
PINS = str(ROOT / "constraints.txt")

SERVED = """
import os, re, signal, subprocess, sys, time
log = open("service.log", "w+")
words = [sys.executable, "-m", "tactful.cli", "serve", "--port", "0", "--log-format", "json"]
service = subprocess.Popen(words, stderr=log)
try:
    while not (found := re.search(r'"url": "http://([^"]+)"', open("service.log").read())):
        assert service.poll() is None, open("service.log").read()
        time.sleep(0.1)
    {ask}
    service.send_signal(signal.SIGTERM)
    assert service.wait(120) == 0
finally:
    service.kill()
"""
TRITON = SERVED.replace(
    "{ask}",
    """
    import numpy as np
    from tritonclient.http import InferenceServerClient, InferInput
    client = InferenceServerClient(found[1], network_timeout=120)
    while not client.is_model_ready("tiny"):
        time.sleep(0.1)
    reply = InferInput("reply", [1], "BYTES")
    reply.set_data_from_numpy(np.array(["so sorry"], object))
    assert client.infer("tiny", [reply]).as_numpy("strategies")[0] == b"apology"
""",
)
TRACED = SERVED.replace(
    "{ask}",
    """
    import urllib.request
    while True:
        try:
            urllib.request.urlopen(f"http://{found[1]}/readyz")
            break
        except OSError:
            time.sleep(0.1)
    body = b'{"reply": "so sorry"}'
    head = {"Content-Type": "application/json"}
    urllib.request.urlopen(urllib.request.Request(f"http://{found[1]}/v1/label", body, head))
""",
)
COLLECTED = """
import http.server, os, subprocess, sys, threading
got = []
class Collector(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        got.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200); self.send_header("Content-Length", "0"); self.end_headers()
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{server.server_address[1]}"
subprocess.run([sys.executable, "-c", sys.argv[1]], check=True)
assert {path for path, _ in got} == {"/v1/traces", "/v1/metrics"}, got
assert b"POST /v1/label" in b"".join(body for _, body in got)
"""
MCP = """
import asyncio, os, sys
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
async def main():
    words = ["-m", "tactful.cli", "mcp", "--bundle", os.environ["TACTFUL_BUNDLE"]]
    async with Client(stdio_client(StdioServerParameters(command=sys.executable, args=words))) as c:
        read = await c.call_tool("label_reply", {"reply": "so sorry"})
        assert read.structured_content["labels"]["strategies"][0]["label"] == "apology", read
asyncio.run(main())
"""
DUCKDB = """
import duckdb, tactful.duckdb
with duckdb.connect() as con:
    tactful.duckdb.register(con)
    read = con.sql("SELECT tactful_label('so sorry', NULL).strategies").fetchall()
    assert read == [(["apology"],)]
"""
SIGN = """
import subprocess, sys, os
from cryptography.hazmat.primitives import serialization as s
from cryptography.hazmat.primitives.asymmetric import ec
from pathlib import Path
key = ec.generate_private_key(ec.SECP256R1())
form = s.PrivateFormat.PKCS8, s.NoEncryption()
Path("key.pem").write_bytes(key.private_bytes(s.Encoding.PEM, *form))
form = s.PublicFormat.SubjectPublicKeyInfo
Path("key.pub").write_bytes(key.public_key().public_bytes(s.Encoding.PEM, form))
bundle = os.environ["TACTFUL_BUNDLE"]
run = lambda *words: subprocess.run([sys.executable, "-m", "tactful.cli", *words, "--key"] + [
    {"sign": "key.pem", "verify": "key.pub"}[words[0]]]).returncode
assert run("verify", bundle) == 1
assert run("sign", bundle) == 0
assert run("verify", bundle) == 0
"""
HUB = """
import os, subprocess, sys
cli = [sys.executable, "-m", "tactful.cli"]
push = [*cli, "push", os.environ["TACTFUL_BUNDLE"], "hf://team/tiny"]
address = subprocess.run(push, check=True, capture_output=True, text=True).stdout.strip()
subprocess.run([*cli, "label", "--bundle", address, "so sorry"], check=True)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = (
        "wheel",
        "--quiet",
        "--no-deps",
        "--build-constraint",
        PINS,
        "-w",
        str(folder),
        str(ROOT),
    )
    subprocess.run([*PIP, *build], check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture
def alone(wheel: Path, bundle_copy: Path, tmp_path: Path) -> Callable[..., None]:
    """Runs a program in an environment of the base install, some extras and their clients."""

    def run(extras: str, program: str, *arguments: str, clients: tuple[str, ...] = (), **variables):
        venv.create(tmp_path / "venv", with_pip=False)
        python = str(tmp_path / "venv/bin/python")
        wanted = (f"{wheel}[{extras}]", *clients)
        subprocess.run(
            [*PIP, "--python", python, "install", "--no-compile", "-q", "-c", PINS, *wanted],
            check=True,
        )
        listed = [*PIP, "--python", python, "list", "--format=json"]
        told = subprocess.run(listed, check=True, capture_output=True, text=True).stdout
        assert not {each["name"].lower() for each in json.loads(told)} & HEAVY
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "OTEL_", "PYTHON"))}
        environment = kept | {"TACTFUL_BUNDLE": str(bundle_copy)} | variables
        subprocess.run(
            [python, "-c", program, *arguments], check=True, cwd=tmp_path, env=environment
        )

    return run


def test_triton_asks_the_service(alone) -> None:
    alone("server", TRITON, clients=("tritonclient[http]",))


def test_the_service_sends_traces_and_metrics(alone) -> None:
    alone("server,otel", COLLECTED, TRACED)


def test_an_assistant_has_its_draft_checked(alone) -> None:
    alone("mcp", MCP)


def test_sql_labels_a_column(alone) -> None:
    alone("duckdb", DUCKDB)


def test_a_bundle_is_signed_and_verified(alone) -> None:
    alone("sign", SIGN)


def test_a_bundle_goes_to_the_hub_and_back(alone, tmp_path: Path) -> None:
    place = ROOT / "tests/serving/bundle/conftest.py"
    spec = importlib.util.spec_from_file_location("hub_server", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["hub_server"] = module
    spec.loader.exec_module(module)
    with module.running_hub() as hub:
        told = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HF_TOKEN": module.TOKEN}
        alone("hub", HUB, **told)
    assert "manifest.json" in hub.repositories["team/tiny"]["main"]
