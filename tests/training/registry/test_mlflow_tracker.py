from __future__ import annotations

import io
import socket
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from rich.console import Console

from tactful import Classifier
from tactful_training.config.config_schema import Config
from tactful_training.fitting.trained_weights import read_start
from tactful_training.registry.mlflow_tracker import Tracker
from tactful_training.training_run import train


@pytest.fixture
def uri(workplace: Path) -> str:
    return f"sqlite:///{workplace / 'mlflow.db'}"


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that is taken and refuses everybody."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_a_run_is_gone_on_with_and_ends_once(uri: str) -> None:
    first = Tracker(uri)
    first.open("tactful", "abc", None)
    first.log_params({"a.b": None, "long": "x" * 10_000})
    first.log_metrics({"train/loss": 0.5}, step=1)
    first.close("KILLED")
    second = Tracker(uri)
    second.open("tactful", "abc", first.run_id)
    assert second.run_id == first.run_id
    assert MlflowClient(uri).get_run(first.run_id).info.status == "RUNNING"
    second.log_params({"a.b": None})
    second.close("FINISHED")
    assert first.failure is second.failure is None
    run = MlflowClient(uri).get_run(first.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["a.b"] == "None"
    assert len(run.data.params["long"]) == 6000
    assert run.data.metrics == {"train/loss": 0.5}


@pytest.mark.parametrize(
    ("error", "status"), [(None, "FINISHED"), (ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")]
)
def test_a_run_ends_as_its_block_does(
    uri: str, error: type[BaseException] | None, status: str
) -> None:
    tracker = Tracker(uri)
    tracker.open("tactful", "abc", None)
    with nullcontext() if error is None else pytest.raises(error), tracker.closing():
        if error is not None:
            raise error
    assert MlflowClient(uri).get_run(tracker.run_id).info.status == status


def test_a_run_that_the_store_has_not_is_begun_anew(uri: str) -> None:
    deleted = Tracker(uri)
    deleted.open("tactful", "abc", None)
    MlflowClient(uri).delete_run(deleted.run_id)
    for unknown in ("0" * 32, deleted.run_id):
        tracker = Tracker(uri)
        tracker.open("tactful", "abc", unknown)
        assert tracker.failure is None
        assert tracker.run_id not in (None, unknown)


def test_labels_of_any_name_and_number_can_be_logged(uri: str) -> None:
    tracker = Tracker(uri)
    tracker.open("tactful", "abc", None)
    metrics = {f"test/task/labels/{name}/f1": 0.5 for name in ("so la la", "C++ (é)", "..", "a.b")}
    metrics |= {f"C{bracket}": float(n) for n, bracket in enumerate("()_")}
    metrics |= {f"many/{number}": 0.0 for number in range(1200)}
    tracker.log_metrics(metrics, step=1)
    tracker.log_params({f"many.{number}": number for number in range(120)})
    tracker.set_tags({f"many.{number}": str(number) for number in range(120)})
    assert tracker.failure is None
    run = MlflowClient(uri).get_run(tracker.run_id)
    assert len(run.data.metrics) == 1207
    assert run.data.metrics["C_"] == 2  # as it was written; the other two get some digits
    assert sorted(v for name, v in run.data.metrics.items() if name.startswith("C_-")) == [0, 1]
    assert run.data.metrics["test/task/labels/_/f1"] == 0.5
    assert len(run.data.params) == 120


def test_a_server_that_is_away_does_not_cost_the_model(
    make_config: Callable[..., Config],
    workplace: Path,
    closed_port: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = make_config(training__epochs=2)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{closed_port}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    said = io.StringIO()
    result = train(config, workplace / "out", console=Console(file=said, width=200))
    text = said.getvalue()
    assert f"warning: MLflow at http://127.0.0.1:{closed_port} cannot be used" in text
    assert "the same command sends it without training again" in text
    assert result.tracking_run is None
    bundle = Classifier.load(workplace / "out").bundle
    assert bundle.id == result.bundle
    assert bundle.manifest["mlflow_run"] is None
    [kept] = (workplace / "runs").glob("*/weights")  # where the next training may start from them
    assert read_start(str(kept), result.inputs.encoder).tasks.size == 6

    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    again = io.StringIO()
    sent = train(config, workplace / "out", console=Console(file=again, width=200))
    assert "epoch 1 of 2" not in again.getvalue()  # nothing is trained again
    run = MlflowClient(sent.tracking_uri).get_run(sent.tracking_run)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["test/n"] == 48
    client = MlflowClient(sent.tracking_uri)
    history = client.get_metric_history(sent.tracking_run, "train/loss")
    assert [point.step for point in history] == [1, 2]
    assert len(client.list_artifacts(sent.tracking_run, "weights")) == 4
    assert not (workplace / "runs").exists()


def test_a_store_that_fails_on_the_way_is_left_alone(uri: str) -> None:
    tracker = Tracker(uri)
    tracker.open("tactful", "abc", None)
    tracker.log_params({"seed": 1})
    tracker.log_params({"seed": 2})  # MLflow does not let a parameter change
    assert tracker.failure is not None
    reason = tracker.failure
    tracker.log_metrics({"train/loss": 0.5}, step=1)
    tracker.close("FINISHED")
    assert tracker.failure == reason
    run = MlflowClient(uri).get_run(tracker.run_id)
    assert run.data.metrics == {}
    assert run.info.status == "RUNNING"
