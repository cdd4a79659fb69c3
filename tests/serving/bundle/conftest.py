"""A small real server of the Hugging Face hub's HTTP API, on this machine.

It holds repositories in memory and speaks what huggingface_hub asks of it here: who a repository
is, the tree of a revision, files of a revision, and commits with their files inline.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import pytest

TOKEN = "hf_aTokenOfTheTests"
Files = dict[str, bytes]


@dataclass
class Hub:
    """The server's repositories: name to branch or commit to files."""

    url: str = ""
    repositories: dict[str, dict[str, Files]] = field(default_factory=dict)
    private: set[str] = field(default_factory=set)
    damaged: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    def commit(self, name: str, files: Files, branch: str = "main") -> str:
        digest = hashlib.sha1()  # as git names commits
        for path in sorted(files):
            digest.update(path.encode() + hashlib.sha1(files[path]).digest())
        revisions = self.repositories.setdefault(name, {})
        revisions[branch] = revisions[digest.hexdigest()] = dict(files)
        return digest.hexdigest()


def blob_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Nothing: tests look at `Hub.asked`."""

    def answer(self, status: int, content: object = None, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def allowed(self, name: str) -> bool:
        """As the hub: a wrong token is refused at once; what is private is not there for others."""
        given = self.headers.get("Authorization")
        if given not in (None, f"Bearer {TOKEN}"):
            told = "Invalid credentials in Authorization header"
            self.answer(401, {"error": told}, X_Error_Message=told)
        elif name not in self.hub.repositories or (name in self.hub.private and given is None):
            status = 404 if given else 401
            self.answer(status, {"error": "Repository not found"}, X_Error_Code="RepoNotFound")
        else:
            return True
        return False

    def revision(self, name: str, revision: str) -> tuple[str, Files] | None:
        files = self.hub.repositories[name].get(revision)
        if files is None:
            self.answer(404, {"error": "no revision"}, X_Error_Code="RevisionNotFound")
            return None
        [commit] = [
            each for each, held in self.hub.repositories[name].items()
            if len(each) == 40 and held == files
        ][:1]  # fmt: skip
        return commit, files

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{self.command} {path}")
        parts = path.strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            name, rest = "/".join(parts[2:4]), parts[4:]
            if not self.allowed(name):
                return
            kind, revision = rest[:2] if rest else ("revision", "main")
            found = self.revision(name, revision)
            if found is None:
                return
            commit, files = found
            if kind == "revision":
                listed = [{"rfilename": each} for each in files]
                told = {"id": name, "sha": commit, "private": False, "siblings": listed}
                self.answer(200, {"_id": "1", "downloads": 0, "likes": 0, "tags": [], **told})
            else:
                self.answer(200, [
                    {"type": "file", "path": each, "size": len(content), "oid": blob_id(content)}
                    for each, content in files.items()
                ])  # fmt: skip
            return
        name, revision, file = "/".join(parts[:2]), parts[3], "/".join(parts[4:])
        if not self.allowed(name) or (found := self.revision(name, revision)) is None:
            return
        commit, files = found
        if file not in files:
            self.answer(404, {"error": "no file"}, X_Error_Code="EntryNotFound")
            return
        content = files[file]
        etag = f'"{blob_id(content)}"'
        if file in self.hub.damaged:
            content = bytes([content[0] ^ 1]) + content[1:]
        self.answer(200, content, ETag=etag, X_Repo_Commit=commit)

    def do_POST(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"POST {path}")
        size = self.headers.get("Content-Length")
        body = self.rfile.read(int(size)) if size else self.chunked()
        if path == "/api/validate-yaml":
            self.answer(200, {"errors": [], "warnings": []})
            return
        if path == "/api/repos/create":
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self.answer(401, {"error": "Invalid username or password."})
                return
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            if asked.get("private") or asked.get("visibility") == "private":
                self.hub.private.add(name)
            self.hub.commit(name, {".gitattributes": b"*.onnx filter=lfs\n"})
            self.answer(200, {"url": f"{self.hub.url}/{name}"})
            return
        parts = path.strip("/").split("/")
        name, kind, branch = "/".join(parts[2:4]), parts[4], parts[5]
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.answer(401, {"error": "Invalid username or password."})
        elif kind == "preupload":
            asked = json.loads(body)["files"]
            self.answer(200, {"files": [
                {"path": each["path"], "uploadMode": "regular", "shouldIgnore": False}
                for each in asked
            ]})  # fmt: skip
        else:
            files = dict(self.hub.repositories[name][branch])
            for line in map(json.loads, body.decode().splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "deletedFile":
                    del files[value["path"]]
            commit = self.hub.commit(name, files, branch)
            url = f"{self.hub.url}/{name}/commit/{commit}"
            self.answer(200, {"success": True, "commitOid": commit, "commitUrl": url})

    def chunked(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body


@contextlib.contextmanager
def running_hub() -> Iterator[Hub]:
    """A hub without repositories."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("H", (Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    """A hub that a module's tests share, each with names of its own."""
    with running_hub() as hub:
        yield hub
