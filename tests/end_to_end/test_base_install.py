"""The package without extras, in an environment of its own: light, and enough to label."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "transformers", "datasets", "mlflow", "scikit-learn", "onnx", "pandas")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` folder of a fresh environment that holds a wheel of this tree and its base."""
    folder = tmp_path_factory.mktemp("base")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
    constraints = str(ROOT / "constraints.txt")
    _run(
        *pip, "wheel", "--no-deps", "--build-constraint", constraints, "-w", str(folder), str(ROOT)
    )
    (wheel,) = folder.glob("tactful-*.whl")
    venv.create(folder / "venv", with_pip=False)
    bin_folder = folder / "venv" / "bin"
    _run(*pip, "--python", str(bin_folder / "python"), "install", "-c", constraints, str(wheel))
    return bin_folder


def test_the_base_install_is_light_and_labels(base: Path, trained: Path) -> None:
    listed = json.loads(
        _run(sys.executable, "-m", "pip", "--python", str(base / "python"), "list", "--format=json")
    )
    names = {entry["name"].lower() for entry in listed}
    assert names >= {"tactful", "numpy", "onnxruntime", "tokenizers", "typer"}
    assert not names & set(HEAVY)

    bundle = str(trained / "models" / "tactful")
    printed = _run(str(base / "tactful"), "label", "--bundle", bundle, "I'm so sorry.", "--json")
    assert set(json.loads(printed)["labels"]) == {"strategies", "tone"}


@pytest.mark.parametrize(
    "command",
    [
        ["train"],
        ["evaluate", "--data", "x"],
        ["data", "check", "x"],
        ["data", "prepare", "esconv", "--source", "x"],
    ],
)
def test_training_commands_name_the_missing_extra(base: Path, command: list[str]) -> None:
    refused = subprocess.run([base / "tactful", *command], capture_output=True, text=True)

    assert refused.returncode == 2
    assert "pip install 'tactful[train]'" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_the_wheel_carries_what_training_needs(base: Path) -> None:
    (packages,) = (base.parent / "lib").glob("python*/site-packages")
    shipped = packages / "tactful_training" / "_shipped"

    assert (shipped / "configs" / "default.yaml").is_file()
    assert (shipped / "data_cards" / "support_replies" / "train.jsonl").is_file()
    for public in ("goemotions", "esconv", "epitome"):
        found = [path.name for path in (shipped / "data_cards" / public).iterdir()]
        assert found == ["README.md"]  # never their data
    assert (packages / "tactful" / "py.typed").is_file()
    assert (packages / "tactful_training" / "py.typed").is_file()


def _run(*command: str) -> str:
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout
