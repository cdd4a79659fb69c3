from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"torch", "transformers", "datasets", "mlflow", "pandas", "sklearn", "tactful_training"}


def loaded_after(program: str) -> set[str]:
    code = f"{program}\nimport sys\nprint(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in run.stdout.split()}


def test_importing_tactful_is_light() -> None:
    modules = loaded_after("import tactful")
    assert not modules & HEAVY
    assert not modules & {"onnxruntime", "numpy", "tokenizers"}  # half a second together


def test_the_classifier_brings_only_the_base_install() -> None:
    modules = loaded_after("from tactful import *; Classifier")
    assert {"numpy", "tokenizers"} <= modules
    assert not modules & HEAVY


# Stands before every import, as if the packages of the extras were not installed.
WITHOUT_EXTRAS = """
import importlib, pkgutil, sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {extras!r}:
            raise ModuleNotFoundError(f"{{name}} is not installed", name=name)

sys.meta_path.insert(0, Missing())
import tactful

for module in pkgutil.walk_packages(tactful.__path__, "tactful."):
    needing = ("tactful.server.", "tactful.client", "tactful.report.", "tactful.duckdb")
    if not module.name.startswith(needing):
        importlib.import_module(module.name)
"""


def test_every_module_loads_with_the_base_install_alone() -> None:
    """But those of service, client, report and DuckDB, which need theirs at once."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    (light,) = (each for each in contracts if each["id"] == "light")
    code = WITHOUT_EXTRAS.format(extras=set(light["forbidden_modules"]))
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_an_unknown_name_is_an_attribute_error() -> None:
    import tactful

    assert not hasattr(tactful, "Labeller")
    assert sorted(set(tactful.__all__)) == sorted(tactful.__all__)
    assert all(hasattr(tactful, name) for name in tactful.__all__)


CI = ("CI", "GITHUB_ACTIONS", "TF_BUILD")  # where onnxruntime reports nothing anyway


@pytest.mark.parametrize("package", ["tactful", "tactful_training"])
def test_onnxruntime_keeps_and_reports_nothing(package, sound_bundle, tmp_path) -> None:
    if package != "tactful":
        pytest.importorskip("torch")
    told = ("ORT_", "XDG_", *CI)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(told)}
    code = (
        f"import {package}, onnxruntime\nfrom tactful import Classifier\n"
        f"Classifier.load({str(sound_bundle)!r}).classify('sorry')"
    )
    subprocess.run([sys.executable, "-c", code], env=kept | {"HOME": str(tmp_path)}, check=True)
    assert list(tmp_path.iterdir()) == []


def test_who_wants_onnxruntime_to_report_may(monkeypatch) -> None:
    code = "import os, tactful; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "0\n"
