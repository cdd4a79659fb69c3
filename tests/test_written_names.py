"""Names that documents, docstrings, configs and the Makefile write are of something that exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from tactful.cli import build_app
from tactful_training.config.config_file import flat, load_config

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "data_cards").glob("*/README.md")),
]
MODULES = sorted(
    path for folder in ("serving", "training", "tests") for path in (ROOT / folder).rglob("*.py")
)
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
FILES = {
    f"/{path.relative_to(ROOT)}"
    for folder in ("serving", "training", "tests", "configs", "data_cards", "docs", "deploy")
    for path in (ROOT / folder).rglob("*")
}


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def python_files(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w./…-])(?:[\w-]+/)*\w+\.py\b", text))


def lost_files(text: str) -> list[str]:
    return [name for name in python_files(text) if not any(f.endswith(f"/{name}") for f in FILES)]


WITH_FILES = [*DOCUMENTS, *CONFIGS, ROOT / "pyproject.toml", ROOT / "Makefile"]


@pytest.mark.parametrize("path", WITH_FILES, ids=named)
def test_python_files_that_are_named_exist(path: Path) -> None:
    assert not lost_files(path.read_text("utf-8"))


def inline_code(path: Path) -> list[str]:
    prose = re.sub(r"^```.*?^```$", "", path.read_text("utf-8"), flags=re.M | re.S)
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose)]


def options() -> dict[str, set[str]]:
    """The options of each command, by its name with ``tactful``."""
    found: dict[str, set[str]] = {}

    def walk(name: str, command: Any) -> None:
        found[name] = {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--help"}
        for part, inner in getattr(command, "commands", {}).items():
            walk(f"{name} {part}", inner)

    walk("tactful", typer.main.get_command(build_app()))
    return found


OPTIONS = options()
TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), flags=re.M))
KEYS = set(flat(load_config()))
SECTIONS = {key.partition(".")[0] for key in KEYS if "." in key}


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_commands_options_targets_keys_and_modules_that_are_named_exist(path: Path) -> None:
    lost = [code for code in inline_code(path) if not (
        options_exist(code) and target_exists(code) and key_exists(code) and module_exists(code)
    )]  # fmt: skip
    assert not lost


def options_exist(code: str) -> bool:
    command = re.match(r"tactful(?: data)? [a-z]+", code)
    if command:
        known = OPTIONS.get(command[0], set())
    elif code.startswith("--"):
        known = set().union(*OPTIONS.values())
    else:
        return True
    named = set(re.findall(r"(?<!\S)\[?(--[\w-]+)", code))
    return bool(known) and named <= known


def target_exists(code: str) -> bool:
    target = re.match(r"make ([a-z-]+)(?!\S)", code)
    return target is None or target[1] in TARGETS


def key_exists(code: str) -> bool:
    key = re.match(r"([a-z_]+)\.[a-z_.]+(?=$|[: =])", code)
    is_key = key and key[1] in SECTIONS and not code.endswith((".onnx", ".py", ".safetensors"))
    return not is_key or (key and key[0]) in KEYS


def module_exists(code: str) -> bool:
    """Whether a dotted name is a module, what a module binds, or a text that one writes."""
    if not re.fullmatch(r"tactful(_training)?(\.\w+)+", code):
        return True
    *parents, last = code.split(".")
    homes = ["/".join([*parents, last]), "/".join(parents)]
    if any(f.endswith((f"/{homes[0]}.py", f"/{homes[0]}/__init__.py")) for f in FILES):
        return True
    ends = (f"/{homes[1]}.py", f"/{homes[1]}/__init__.py")
    binds = [f for f in MODULES if str(f).endswith(ends) and re.search(rf"\b{last}\b", read(f))]
    return bool(binds) or any(f'"{code}"' in read(f) for f in MODULES)


@cache
def read(path: Path) -> str:
    return path.read_text("utf-8")


def docstrings(path: Path) -> list[str]:
    tree = ast.parse(read(path))
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, owners)]


def words_of_code() -> set[str]:
    """Every word of the house's code that is no string and no comment, and its modules' names."""
    words = {part for path in MODULES for part in path.with_suffix("").relative_to(ROOT).parts}
    for path in MODULES:
        for node in ast.walk(ast.parse(read(path))):
            for field in ("id", "attr", "arg", "name", "asname", "module"):
                value = getattr(node, field, None)
                if isinstance(value, str):
                    words.update(value.split("."))
    return words


def test_what_docstrings_refer_to_exists() -> None:
    """A single pair of backticks is a reference, two are a literal."""
    words = words_of_code()
    lost = []
    for path in MODULES:
        text = "\n".join(docstrings(path))
        lost += [f"{named(path)}: {name}" for name in lost_files(text)]
        if path.is_relative_to(ROOT / "tests"):
            continue
        for code in re.findall(r"(?<!`)`([A-Za-z_][\w.]*)(?:\(\))?`(?!`)", text):
            if not set(code.split(".")) <= words:
                lost.append(f"{named(path)}: {code}")
    assert not lost
