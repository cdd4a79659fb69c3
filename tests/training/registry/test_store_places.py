"""Where MLflow's files lie: in working folders of any name, and after a folder was moved."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.tracking import MlflowClient
from rich.console import Console

from tactful import BundleError, Classifier
from tactful.bundle.mlflow_store import shown_uri, sqlite_file, sqlite_uri, tracking_uri
from tactful_training.config.config_schema import Config
from tactful_training.registry.mlflow_tracker import Tracker
from tactful_training.run_summary import print_summary
from tactful_training.training_run import TrainingResult, train


@pytest.fixture
def enter(mlflow_template: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Makes a folder the working folder, with an MLflow database of its own."""
    before = mlflow.get_tracking_uri()
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def work_in(folder: Path) -> None:
        if not folder.exists():
            folder.mkdir()
            shutil.copy(mlflow_template, folder / "mlflow.db")
        monkeypatch.chdir(folder)
        # MLflow keeps what it is told in the environment, for this process's children.
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        mlflow.set_tracking_uri(tracking_uri())

    yield work_in
    mlflow.set_tracking_uri(before)


def trained(config: Config, out: str = "out") -> tuple[TrainingResult, str]:
    said = io.StringIO()
    console = Console(file=said, width=400)
    result = train(config, Path(out), console=console)
    print_summary(result, console)
    return result, said.getvalue()


@pytest.mark.parametrize("name", ["job_feature%2Flogin", "x %41 ?q=1 #[a]"])
def test_all_of_a_run_stays_in_the_working_folder(
    name: str, make_config: Callable[..., Config], enter: Callable[..., None], tmp_path: Path
) -> None:
    folder = tmp_path / name
    enter(folder)
    result, said = trained(make_config(training__epochs=1))
    assert f"in sqlite:///{folder}/mlflow.db" in said
    assert "warning" not in said
    assert [each.name for each in tmp_path.iterdir()] == [name]
    client = MlflowClient(result.tracking_uri)
    run = client.get_run(str(result.tracking_run))
    assert {each.path for each in client.list_artifacts(run.info.run_id)} >= {"bundle", "figures"}
    assert {each.name for each in folder.iterdir()} == {"mlflow.db", "mlruns", "out"}
    assert list(folder.glob("mlruns/*/models/*/artifacts/data/out/model.onnx"))
    assert Classifier.load("models:/tactful@challenger").bundle.id == result.bundle


def test_a_moved_folder_says_so_and_the_old_place_stays_gone(
    make_config: Callable[..., Config], enter: Callable[..., None], tmp_path: Path
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    enter(old)
    result, _ = trained(make_config(training__epochs=1))
    old.rename(new)
    enter(new)
    loaded = Classifier.load("models:/tactful@challenger").bundle
    assert loaded.id == result.bundle
    assert Classifier.load(f"runs:/{result.tracking_run}/bundle").bundle.id == result.bundle

    settings: dict[str, Any] = {"training__epochs": 1, "seed": 2}
    untracked, said = trained(make_config(**settings))
    assert f"keeps its files in {old}/mlruns" in said
    assert f"ln -s '{new}' '{old}'; or begin another experiment" in said
    assert untracked.tracking_run is None
    assert Classifier.load("out").bundle.id == untracked.bundle
    assert not old.exists()

    another = Tracker()
    another.open("another experiment", "run", None)
    another.log_folder(new / "out", "bundle")
    assert another.failure is None
    assert not old.exists()

    os.symlink(new, old)  # the other remedy; the run that was kept is sent now
    sent, said = trained(make_config(**settings))
    assert sent.tracking_run is not None
    assert "epoch 1 of 1" not in said
    assert sent.registration is not None
    old.unlink()

    shutil.rmtree(new / "mlruns")
    with pytest.raises(BundleError) as caught:
        Classifier.load("models:/tactful/1")
    [problem] = caught.value.problems
    assert f"keeps its files in {old}/mlruns" in problem
    assert "which is not there any more: the folder was moved or deleted" in problem
    assert not old.exists()


@pytest.mark.parametrize(
    "path", ["/a/mlflow.db", "/a b#[c]/mlflow.db", "/a%2Fb/m.db", "/x %41 ?q=1/%.db", "/é/m.db"]
)
def test_the_address_of_a_store_gives_its_path_back(path: str) -> None:
    uri = sqlite_uri(Path(path))
    assert sqlite_file(uri) == Path(path)
    assert shown_uri(uri) == f"sqlite:///{path}"
    assert uri == shown_uri(uri) or {"%", "?"} & set(path)  # others are as they always were


def test_other_stores_have_no_file() -> None:
    for uri in ("http://localhost:5000", "postgresql://a@b/c", "databricks"):
        assert sqlite_file(uri) is None
        assert shown_uri(uri) == uri
