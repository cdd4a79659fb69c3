"""The package without extras, in an environment of its own: light, and enough to label."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

from tactful.bundle.loading import Bundle
from tactful_training.bundling.release import release_wheel

Run = Callable[..., subprocess.CompletedProcess[str]]

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "transformers", "datasets", "mlflow", "scikit-learn", "onnx", "pandas")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, trained: Path) -> Path:
    """The ``bin`` folder of a fresh environment that holds a release of this tree and its base."""
    folder = tmp_path_factory.mktemp("base")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
    constraints = str(ROOT / "constraints.txt")
    wheel = release_wheel(Bundle.load(trained / "models" / "tactful"), folder)
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


def test_a_release_reads_at_once(base: Path, trained: Path, tmp_path: Path) -> None:
    shipped = Bundle.load(trained / "models" / "tactful").id
    printed = _run(str(base / "tactful"), "label", "I'm so sorry.", "--json", cwd=tmp_path)
    reading = json.loads(printed)
    assert set(reading["labels"]) == {"strategies", "tone"}
    assert reading["bundle"] == shipped
    program = "from tactful import Classifier; print(Classifier.load().bundle.id)"
    assert _run(str(base / "python"), "-c", program, cwd=tmp_path).strip() == shipped
    (tmp_path / "rows.jsonl").write_text('{"reply": "I am so sorry."}\n')
    _run(str(base / "tactful"), "score", "rows.jsonl", "scored.jsonl", cwd=tmp_path)
    assert json.loads((tmp_path / "scored.jsonl").read_text())["bundle"] == shipped


def test_a_model_in_the_working_folder_goes_before_the_shipped_one(
    base: Path, tmp_path: Path
) -> None:
    (tmp_path / "models" / "tactful").mkdir(parents=True)
    refused = subprocess.run(
        [base / "tactful", "label", "I'm so sorry."], capture_output=True, text=True, cwd=tmp_path
    )
    assert refused.returncode == 2
    assert "manifest.json" in refused.stderr


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
    assert re.search(r"pip install 'tactful\[train(,data)?\]'", refused.stderr)
    assert "Traceback" not in refused.stderr


def test_the_wheel_carries_what_training_needs(base: Path) -> None:
    (packages,) = (base.parent / "lib").glob("python*/site-packages")
    shipped = packages / "tactful_training" / "_shipped"

    assert (shipped / "configs" / "default.yaml").is_file()
    for name in ("train.jsonl", "soft_labels.jsonl.gz"):
        assert (shipped / "data_cards" / "support_replies" / name).is_file()
    for public in ("goemotions", "esconv", "epitome"):
        found = [path.name for path in (shipped / "data_cards" / public).iterdir()]
        assert found == ["README.md"]  # never their data
    assert (packages / "tactful" / "py.typed").is_file()
    assert (packages / "tactful_training" / "py.typed").is_file()


def _run(*command: str, cwd: Path | None = None) -> str:
    finished = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout
