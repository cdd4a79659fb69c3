"""The documents are run: their Python, their commands, and the examples in public docstrings.

An example runs in a folder that has a small bundle at ``models/tactful`` and small data where the
documents have theirs; its labels are fewer than the real bundle's, so that of a printed result the
form is compared, not the figures. A command that takes minutes, installs or needs a server stands
in `NOT_RUN` with the reason, and is held against the options that there are. Python that cannot run
here says why in a comment above it: ``<!--- skip: next "…" -->``.
"""

from __future__ import annotations

import ast
import doctest
import importlib
import json
import os
import re
import runpy
import shlex
import shutil
import socket
import subprocess
import sys
import time
import tomllib
import unittest
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import typer
from sybil import Example, Sybil
from sybil.evaluators.python import pad
from sybil.parsers.markdown import CodeBlockParser, SkipParser

from tactful.cli import build_app
from tactful_training.config.config_file import load_config

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "data_cards").glob("*/README.md")),
]
BIN = Path(sys.executable).parent
ADDRESS = "http://127.0.0.1:8000"  # where the documents' service listens
PATIENCE = 60.0  # seconds until a test gives up on a process; never how long something may take

# Commands by their first words, and why they are not run; their arguments are looked at.
NOT_RUN = {
    "make": "makes an environment of its own, and most targets take minutes",
    "pip install": "installs",
    "tactful train": "takes minutes; tests/end_to_end trains",
    "tactful benchmark": "takes minutes; tests/end_to_end measures",
    "tactful label --bundle models/own_labels": "needs the bundle that a line above trains",
    "tactful serve --bundle models/own_labels": "needs the bundle that a line above trains",
    "tactful compare models:": "needs two registered versions; tests/training/registry has them",
    "tactful compare models/tactful models/small": "needs the bundle that the line above trains",
    "tactful promote": "needs two registered versions; tests/training/registry has them",
    "tactful evaluate --bundle models": "needs the bundle that the line above trains",
    "tactful thresholds": "takes its time; tests/training/bundling has it",
    "tactful data soften": "needs trained weights; tests/training/fitting has some",
    "tactful data prepare": "needs the original files; tests/training/data has some",
    "tactful score s3-mount": "needs a cluster; tests/slow/test_batch_ray.py starts one",
    "mlflow models serve": "needs a registered model; tests/slow/test_registered_model.py has one",
    "curl localhost:5001": "asks what the line above would have started",
    "tactful push": "needs a hub; tests/serving/bundle/test_hub_store.py has one",
    "tactful label --bundle hf:": "needs a hub, as the line above",
    "OTEL_EXPORTER_OTLP_ENDPOINT=": "needs a collector; tests/serving/server has one",
}

FEEDBACK = '{"feedback": 1, "id": "f1", "reply": "Done.", "labels": {"topics": ["refund"]}}\n'
REPLIES = [
    ("I am so sorry, friend.", ["apology"], "warm"),
    ("Thank you for your order.", ["gratitude"], "neutral"),
    ("We will call you next.", ["next_step"], "neutral"),
    ("Your parcel is late.", [], "neutral"),
    ("Glad, my friend. Thanks and sorry.", ["gratitude", "apology"], "warm"),
]
CARD = """---
license: cc0-1.0
language: [en]
tasks:
  - {name: strategies, kind: multilabel, labels: {apology: a, gratitude: b, next_step: c}}
  - {name: tone, kind: single, labels: {warm: d, neutral: e}}
---
# Small
"""


def small_data_set(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "README.md").write_text(CARD, encoding="utf-8")
    for split in ("train", "validation", "test"):
        rows = [
            {
                "id": f"{split}-{copy}-{index}",
                "reply": f"{reply} {split} {copy}",
                "labels": {"strategies": strategies, "tone": tone},
                "agent": f"agent {copy % 3}",
                "team": f"team {copy % 2}",
            }
            for copy in range(6)
            for index, (reply, strategies, tone) in enumerate(REPLIES)
        ]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{split}.jsonl").write_text(text, encoding="utf-8")


class Place:
    """The folder that a document's examples run in, and the service that one of them starts."""

    def __init__(self, folder: Path, bundle: Path) -> None:
        shutil.copytree(bundle, folder / "models/tactful")
        small_data_set(folder / "my_set")
        small_data_set(folder / "data_cards/support_replies")
        shutil.copy(folder / "my_set/test.jsonl", folder / "replies.jsonl")
        texts = [f"{reply} It is new." for reply, *_ in REPLIES]
        new = [{"id": f"new-{at}", "reply": text} for at, text in enumerate(texts)]
        labels = {"labels": {"strategies": [], "tone": "warm"}}
        labelled = [{"id": f"row-{at}", "reply": f"{text} And a row.", **labels}
                    for at, text in enumerate(texts)]  # fmt: skip
        for name, rows in (("new_replies", new), ("new_rows", labelled)):
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
        export = runpy.run_path(str(ROOT / "tests/slow/own_labels_export.py"))["write_export"]
        export(folder / "export.csv", rows=60)
        (folder / "feedback.jsonl").write_text(FEEDBACK, encoding="utf-8")
        (folder / ".venv").symlink_to(BIN.parent)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("TACTFUL_", "MLFLOW_"))}
        self.folder = folder
        self.environment = kept | {
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "NO_COLOR": "1",
            "TERM": "dumb",
        }
        self.address = ADDRESS
        self.services: list[subprocess.Popen[bytes]] = []

    def run(self, command: str) -> str:
        """The output of a command that must succeed."""
        if command.startswith("tactful serve"):
            return self.serve(command)
        finished = subprocess.run(
            ["bash", "-euc", command.replace(ADDRESS, self.address)],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert finished.returncode == 0, f"{command}\n{finished.stdout}{finished.stderr}"
        assert "Traceback" not in finished.stderr, f"{command}\n{finished.stderr}"
        return finished.stdout

    def serve(self, command: str) -> str:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        variables = self.environment | {
            "TACTFUL_PORT": str(port),
            "TACTFUL_THREADS": "1",
            "TACTFUL_MODEL_NAME": "tactful",  # the small bundle has another name
        }
        log = self.folder / "service.log"
        with log.open("wb") as file:
            service = subprocess.Popen(
                shlex.split(command, comments=True), cwd=self.folder, env=variables, stderr=file
            )
        self.services.append(service)
        self.address = f"http://127.0.0.1:{port}"
        end = time.monotonic() + PATIENCE
        while True:
            going = service.poll() is None and time.monotonic() < end
            assert going, log.read_text("utf-8")
            try:
                with urllib.request.urlopen(f"{self.address}/readyz"):
                    return ""
            except OSError:  # not there yet, or 503
                time.sleep(0.05)


@pytest.fixture
def place(tmp_path: Path, sound_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    place = Place(tmp_path, sound_bundle)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TACTFUL_BUNDLE", raising=False)
    yield place
    for service in place.services:
        service.kill()
        service.wait()


def run_python(example: Example) -> None:
    """Run a block; where an expression has a literal as its comment, its value has that form."""
    place: Place = example.namespace["place"]
    text = example.parsed.replace(ADDRESS, place.address)
    source = pad(text, example.line + example.parsed.line_offset)
    for statement in ast.parse(source, example.path).body:
        if isinstance(statement, ast.Expr):
            code = compile(ast.Expression(statement.value), example.path, "eval")
            value = eval(code, example.namespace)
            line = source.splitlines()[(statement.end_lineno or 0) - 1]
            comment = line[statement.end_col_offset or 0 :].strip().removeprefix("# ")
            try:
                stated = ast.literal_eval(comment)
            except (SyntaxError, ValueError):
                continue
            assert type(value) is type(stated), f"{line}: {value!r}"
        else:
            exec(compile(ast.Module([statement], []), example.path, "exec"), example.namespace)


def logical_lines(source: str) -> list[str]:
    lines = re.sub(r"\\\n\s*", "", source).splitlines()
    return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


def run_shell(example: Example) -> None:
    for line in logical_lines(example.parsed):
        run_or_look(line, example.namespace["place"])


def run_console(example: Example) -> None:
    """Run what stands behind ``$``, and compare the form of what is printed."""
    for block in re.split(r"^\$ ", example.parsed, flags=re.M)[1:]:
        command, _, stated = re.sub(r"\\\n\s*", "", block).partition("\n")
        printed = run_or_look(command, example.namespace["place"])
        assert printed is not None, f"{command} is not run: show no output"
        assert form(printed) >= form(stated), f"{printed}\nhas not the form of\n{stated}"


def form(printed: str) -> set[str]:
    """The keys of JSON, cut off or not; or the text of a reply and what kinds of lines follow."""
    if printed.startswith("{"):
        return set(re.findall(r'"(\w+)":', printed))
    reply, _, readings = printed.partition("\n\n")
    kinds = {" ".join(reply.split())}
    for line in filter(None, map(str.strip, readings.splitlines())):
        match = re.fullmatch(r"(tone: )?\w+ +[01]\.\d\d( +“.+”)?", line)
        kinds.add("a tone" if match and match[1] else "a label with words" if match else line)
    return kinds


def run_or_look(line: str, place: Place) -> str | None:
    words = shlex.split(line.replace(".venv/bin/", ""), comments=True)
    if any(" ".join(words).startswith(start) for start in NOT_RUN):
        look_at(words)
        return None
    return place.run(line)


def look_at(words: list[str]) -> None:
    """Hold a command that is not run against what its program knows."""
    program, *arguments = words
    if program == "make":
        plain = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
        dry = ["make", "--dry-run", *arguments]
        run = subprocess.run(dry, cwd=ROOT, env=plain, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
    elif program == "pip":
        project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
        named = re.findall(r"\[(.+)\]", " ".join(arguments))
        assert set(",".join(named).split(",")) <= {"", *project["optional-dependencies"]}
    elif program == "tactful":
        name, command, rest = find_command(arguments)
        context = command.make_context(name, list(rest))
        if name == "train":
            settings = [rest[i + 1] for i, word in enumerate(rest) if word == "--set"]
            load_config(context.params["config"], settings)


def find_command(arguments: list[str]) -> tuple[str, click.Command, list[str]]:
    """The command that the first arguments name, and the other arguments."""
    command: Any = typer.main.get_command(build_app())
    name = "tactful"
    while hasattr(command, "commands"):
        name, *arguments = arguments
        assert name in command.commands, f"there is no command {name}"
        command = command.commands[name]
    return name, command, arguments


EVALUATORS: dict[str, Callable[[Example], None]] = {
    "python": run_python,
    "sh": run_shell,
    "console": run_console,
}
SYBIL = Sybil([SkipParser(), *(CodeBlockParser(name, run) for name, run in EVALUATORS.items())])


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_the_examples_of_a_document_run(path: Path, place: Place) -> None:
    document = SYBIL.parse(path)
    document.namespace["place"] = place
    for example in document:
        try:
            example.evaluate()
        except unittest.SkipTest:
            continue
        except AssertionError as error:
            error.add_note(f"{named(path)}:{example.line}")
            raise


PUBLIC = {
    "tactful",
    "tactful.batch",
    "tactful.classifier",
    "tactful.client",
    "tactful.duckdb",
    "tactful.reading.readings",
    "tactful.report",
}
WITH_EXAMPLES = {
    ".".join(path.relative_to(ROOT / "serving").with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "serving").rglob("*.py")
    if ">>> " in path.read_text("utf-8")
}


def test_every_public_module_shows_itself_by_an_example() -> None:
    assert PUBLIC <= WITH_EXAMPLES


@pytest.mark.parametrize("name", sorted(WITH_EXAMPLES))
def test_the_examples_of_a_docstring_run(name: str, place: Place) -> None:
    cases = doctest.DocTestFinder().find(importlib.import_module(name))
    examples = [example for case in cases for example in case.examples]
    if name.startswith("tactful.report"):
        place.run("tactful score replies.jsonl scored.jsonl")
    if any(ADDRESS in example.source for example in examples):
        place.run("tactful serve")
    for example in examples:
        example.source = example.source.replace(ADDRESS, place.address)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for case in cases:
        runner.run(case)
    assert runner.summarize().failed == 0
