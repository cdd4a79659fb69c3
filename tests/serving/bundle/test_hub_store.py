"""Bundles from the hub and to it, by its own library against a server on this machine."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import pytest

from tactful.bundle.manifest_check import FILES

pytest.importorskip("huggingface_hub")

TOKEN = "hf_aTokenOfTheTests"
# One process a question: the library reads its variables when it is imported.
LOAD = """
import sys
from tactful import Classifier, BundleError
for address in sys.argv[1:]:
    try:
        bundle = Classifier.load(address, threads=1).bundle
        print("loaded", bundle.id, bundle.address)
    except BundleError as error:
        print(*error.problems, sep=" | ")
"""


@pytest.fixture
def ask(hub, tmp_path):
    """Runs Python with the hub of this module and a cache of its own: the lines it prints."""

    def run(*words, **environment):
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "TACTFUL_"))}
        told = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "NO_PROXY": "127.0.0.1"}
        finished = subprocess.run(
            [sys.executable, *words],
            env=kept | told | environment, capture_output=True, text=True,
        )  # fmt: skip
        assert "Traceback" not in finished.stderr, finished.stderr
        return finished.returncode, finished.stdout.splitlines(), finished.stderr

    return run


@pytest.fixture(scope="module")
def files(sound_bundle):
    return {name: (sound_bundle / name).read_bytes() for name in FILES}


def test_pushed_and_loaded_again(hub, ask, sound_bundle, classifier):
    push = ("-m", "tactful.cli", "push", str(sound_bundle), "hf://team/tiny", "--private")
    code, lines, errors = ask(*push, HF_TOKEN=TOKEN)
    assert code == 0, errors
    [address] = lines
    commit = address.removeprefix("hf://team/tiny@")
    assert set(hub.repositories["team/tiny"][commit]) == {*FILES, ".gitattributes"}
    assert hub.private == {"team/tiny"}
    named = classifier.bundle.id
    _, lines, _ = ask("-c", LOAD, address, "hf://team/tiny", HF_TOKEN=TOKEN)
    assert lines == [f"loaded {named} {address}", f"loaded {named} hf://team/tiny"]
    # What the cache has needs no hub, and what is private is nobody else's.
    hub.asked.clear()
    _, lines, _ = ask("-c", LOAD, "hf://team/tiny", HF_HUB_OFFLINE="1")
    assert lines == [f"loaded {named} hf://team/tiny"]
    assert not hub.asked
    signed = hub.repositories["team/tiny"]["main"] | {"model.sig": b"of other files"}
    hub.commit("team/tiny", signed)
    assert ask(*push, HF_TOKEN=TOKEN)[0] == 0
    assert "model.sig" not in hub.repositories["team/tiny"]["main"]


def test_what_cannot_be_loaded_is_named(hub, ask, files, sound_bundle):
    hub.commit("team/good", files)
    hub.commit("team/empty", {"README.md": b"# another thing\n"})
    hub.commit("team/changed", files | {"README.md": files["README.md"] + b"\n"})
    hub.damaged.add("model.onnx")
    asked = {
        "hf://team/good@v9": "there is no such revision",
        "hf://team/nothing": "there is no such repository, or the token",
        "hf://team/empty": "no bundle of tactful: the repository has no manifest.json",
        "hf://team/changed": "README.md: changed",
        "hf://team/good": "model.onnx: changed",  # damaged on its way, its size as it was
        "hf://good": "no address of the hub; allowed: hf://owner/name[@revision]",
        "hf://team/good@": "no address of the hub",
        "hf://../good": "hub",
    }
    try:
        code, lines, _ = ask("-c", LOAD, *asked)
    finally:
        hub.damaged.clear()
    assert code == 0
    for line, said in zip(lines, asked.values(), strict=True):
        assert said in line


def test_a_wrong_token_and_no_network_are_named(hub, ask, files, sound_bundle):
    hub.commit("team/here", files)
    _, [line], _ = ask("-c", LOAD, "hf://team/here", HF_TOKEN="hf_wrong")
    assert "set HF_TOKEN" in line
    push = ("-m", "tactful.cli", "push", str(sound_bundle), "hf://team/here")
    for environment in ({}, {"HF_TOKEN": "hf_wrong"}):
        code, _, errors = ask(*push, **environment)
        assert code == 2
        assert "set HF_TOKEN" in errors
    with socket.socket() as nobody:  # bound and not listening: refused at once
        nobody.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        _, [line], _ = ask("-c", LOAD, "hf://team/here", HF_ENDPOINT=dead)
        assert "the hub cannot be reached" in line
        code, _, errors = ask(*push, HF_ENDPOINT=dead)
        assert code == 2
        assert "the hub cannot be reached; check the network" in errors
    _, [line], _ = ask("-c", LOAD, "hf://team/here", HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE is set" in line


def test_the_command_line_loads_from_the_hub_too(hub, ask, files):
    hub.commit("team/served", files)
    label = ("-m", "tactful.cli", "label", "--json", "--bundle", "hf://team/served", "so sorry")
    code, [line], _ = ask(*label)
    assert code == 0
    assert json.loads(line)["bundle"].startswith("tiny@")
