"""A run that ends in the middle goes on where it was, and ends as if nothing had happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mlflow.tracking import MlflowClient
from transformers import TrainerCallback

from tactful import Classifier
from tactful_training.config.config_schema import Config
from tactful_training.fitting import trainer, weight_averaging
from tactful_training.fitting.encoder import load_encoder
from tactful_training.fitting.epochs import Epoch
from tactful_training.fitting.losses import Loss
from tactful_training.fitting.model import LabelAttentionModel
from tactful_training.fitting.resuming import Fitted, last_complete, open_work_folder, saving
from tactful_training.fitting.trainer import fit
from tactful_training.fitting.training_batches import Collator, TrainingRows, encode_rows
from tactful_training.fitting.training_inputs import load_training_inputs
from tactful_training.fitting.validation_score import Validation
from tactful_training.fitting.weight_averaging import WeightAverage

COMMAND = "import typer; from tactful_training.commands.train import train; typer.run(train)"


class Interruption(TrainerCallback):
    """Ctrl-C after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self.step:
            # As the Trainer saves after the callbacks: the step before is the newest checkpoint.
            raise KeyboardInterrupt


def train_in(folder: Path, config: Config, *callbacks: TrainerCallback) -> tuple[Fitted, list[int]]:
    inputs = load_training_inputs(config)
    rows = TrainingRows(
        inputs.rows["train"],
        inputs.encoding,
        inputs.tasks,
        context_dropout=0.5,
        token_dropout=0.1,
        mask_id=4,
        seed=config.seed,
    )
    torch.manual_seed(config.seed)
    encoder = load_encoder(inputs.encoder, config.model)
    model = LabelAttentionModel(encoder, inputs.tasks.size, dropout=0.3)
    loss = Loss(inputs.tasks, {}, 1.0)
    examples = encode_rows(inputs.rows["validation"], inputs.encoding, inputs.tasks)
    epochs: list[Epoch] = []
    fitted = fit(
        model,
        rows,
        loss,
        Validation(examples, inputs.encoding, loss),
        collator=Collator(inputs.encoding),
        config=config.training,
        seed=config.seed,
        precision="fp32",
        folder=folder,
        on_epoch=epochs.append,
        callbacks=callbacks,
    )
    return fitted, [epoch.number for epoch in epochs]


@pytest.mark.parametrize("step", [9, 7], ids=["within an epoch", "at its first step"])
def test_an_interrupted_training_ends_with_the_same_weights(
    make_config: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", 0)  # a checkpoint at each step
    config = make_config()  # 96 rows in batches of 16: 6 steps an epoch
    straight, _ = train_in(tmp_path / "straight", config)

    with pytest.raises(KeyboardInterrupt):
        train_in(tmp_path / "broken", config, Interruption(step))
    assert (tmp_path / "broken" / f"checkpoint-{step - 1}").is_dir()
    resumed, epochs = train_in(tmp_path / "broken", config)

    assert epochs == [2, 3]
    assert [epoch.number for epoch in resumed.epochs] == [1, 2, 3]
    assert resumed.best == straight.best
    for name, weights in straight.weights.items():
        assert torch.equal(weights, resumed.weights[name]), name
    last = straight.epochs[-1].metrics
    assert resumed.epochs[-1].metrics == pytest.approx(last, rel=1e-5)


def test_half_a_checkpoint_is_not_resumed_from(
    make_config: Callable[..., Config], tmp_path: Path
) -> None:
    config = make_config(training__epochs=2)
    with pytest.raises(KeyboardInterrupt):
        train_in(tmp_path, config, Interruption(8))
    whole = tmp_path / "checkpoint-6"
    half = tmp_path / "checkpoint-7"
    half.mkdir()
    (half / "model.safetensors").write_bytes((whole / "model.safetensors").read_bytes()[:100])
    (half / "trainer_state.json").write_text("{")
    _, epochs = train_in(tmp_path, config)
    assert epochs == [2]
    assert not half.exists()


def test_the_result_of_training_survives(
    make_config: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = make_config(training__epochs=1)
    fitted, _ = train_in(tmp_path / "checkpoints", config)
    with open_work_folder({"config": "x"}) as work:
        assert work.load_fitted() is None
        work.save_fitted(fitted, load_training_inputs(config))
    with open_work_folder({"config": "x"}) as work:
        loaded = work.load_fitted()
    assert loaded is not None
    assert (loaded.epochs, loaded.best) == (fitted.epochs, fitted.best)
    assert all(torch.equal(loaded.weights[name], value) for name, value in fitted.weights.items())


@pytest.fixture
def command(overrides: dict[str, Any], workplace: Path) -> Callable[[], subprocess.Popen[str]]:
    """Starts ``tactful train`` on a run of twelve epochs."""
    settings = {**overrides, "training.epochs": 12, "training.early_stopping_patience": 12}
    arguments = [text for key, value in settings.items() for text in ("--set", f"{key}={value}")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", COMMAND, "--out", "models/moves", *arguments],
            cwd=workplace,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def test_a_killed_command_goes_on_and_ends_with_one_bundle_and_one_run(
    command: Callable[[], subprocess.Popen[str]], workplace: Path
) -> None:
    with command() as first:
        try:
            while not list(workplace.glob("runs/*/checkpoints/*/complete.json")):
                assert first.poll() is None, first.communicate()[1]
                time.sleep(0.02)
        finally:
            first.kill()
    assert first.returncode == -signal.SIGKILL
    assert not (workplace / "models").exists()

    with command() as second:
        shown, said = second.communicate()
    assert "resuming the interrupted run in runs/" in said
    assert "epoch 1 of 12" not in said
    assert "epoch 12 of 12" in said
    assert "warning" not in said.lower()
    bundle = Classifier.load(workplace / "models" / "moves").bundle
    assert bundle.id in shown
    assert [path.name for path in (workplace / "models").iterdir()] == ["moves"]
    assert not (workplace / "runs").exists()

    client = MlflowClient(f"sqlite:///{workplace / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("tactful")
    [run] = client.search_runs([experiment.experiment_id])
    assert run.info.run_id == bundle.manifest["mlflow_run"]
    assert run.info.status == "FINISHED"
    history = client.get_metric_history(run.info.run_id, "validation/score")
    assert [point.step for point in history] == list(range(1, 13))


def write_checkpoint(folder: Path, step: int) -> Path:
    checkpoint = folder / f"checkpoint-{step}"
    for size in (100, 100 + step):  # saved twice, as may happen at the end of an epoch
        with saving(checkpoint):
            checkpoint.mkdir(parents=True, exist_ok=True)
            for name in ("model.safetensors", "optimizer.pt", "trainer_state.json"):
                (checkpoint / name).write_bytes(b"x" * size)
    return checkpoint


def test_the_newest_by_number_is_taken(tmp_path: Path) -> None:
    assert last_complete(tmp_path / "nowhere") is None
    for step in (90, 100, 9):
        write_checkpoint(tmp_path, step)
    assert last_complete(tmp_path) == tmp_path / "checkpoint-100"


@pytest.mark.parametrize("damage", ["unmarked", "truncated", "deleted", "garbled", "empty"])
def test_half_a_checkpoint_is_passed_over_and_removed(tmp_path: Path, damage: str) -> None:
    whole = write_checkpoint(tmp_path, 10)
    half = write_checkpoint(tmp_path, 20)
    if damage == "unmarked":
        (half / "complete.json").unlink()
    elif damage == "truncated":
        (half / "optimizer.pt").write_bytes(b"x")
    elif damage == "deleted":
        (half / "model.safetensors").unlink()
    elif damage == "garbled":
        (half / "complete.json").write_bytes(b'{"model.sa')
    else:
        for path in half.iterdir():
            path.unlink()
    assert last_complete(tmp_path) == whole
    assert not half.exists()


def test_a_save_that_fails_leaves_no_mark(tmp_path: Path) -> None:
    whole = write_checkpoint(tmp_path, 10)
    with pytest.raises(KeyboardInterrupt), saving(whole):
        raise KeyboardInterrupt
    assert last_complete(tmp_path) is None


PROGRAM = """
import tactful_training.registry.promotion
from tactful_training.errors import RunError
from tactful_training.fitting.resuming import open_work_folder

with open_work_folder({"config": "x"}) as work:
    work.state.tracked_epochs = 3
    work.save()
    try:
        with open_work_folder({"config": "x"}):
            pass
    except RunError as error:
        print(error)
with open_work_folder({"config": "x"}) as work:
    print(work.resumed, work.state.tracked_epochs)
    work.clear()
"""


def test_a_work_folder_is_locked_kept_and_removed_without_fcntl(
    tmp_path: Path, without_fcntl: Callable[..., list[str]]
) -> None:
    refused, resumed = without_fcntl(PROGRAM, cwd=tmp_path)
    assert "is already running in runs" in refused
    assert resumed == "True 3"
    assert list(tmp_path.iterdir()) == []


def test_runs_that_begin_and_end_side_by_side_are_not_in_each_others_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # all of them remove `runs` when they are the last one there

    def come_and_go(number: int) -> None:
        for _ in range(60):
            with open_work_folder({"config": str(number)}) as work:
                assert not work.resumed
                work.clear()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(come_and_go, range(4)))
    assert list(tmp_path.iterdir()) == []


def test_the_mean_of_the_last_weights_is_taken_where_it_reads_better(
    make_config: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weight_averaging, "_EVERY", 2)
    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", 0)
    config = make_config(training__weight_averaging=0.5)  # the last 9 of 18 steps: 10, 12, … 18
    straight, _ = train_in(tmp_path / "straight", config)
    plain, _ = train_in(tmp_path / "plain", make_config())
    same = all(torch.equal(value, plain.weights[name]) for name, value in straight.weights.items())
    assert same == (straight.averaged is None)
    if straight.averaged is not None:
        best = max(epoch.metrics["validation/score"] for epoch in straight.epochs)
        assert straight.averaged > best

    with pytest.raises(KeyboardInterrupt):
        train_in(tmp_path / "broken", config, Interruption(14))
    resumed, _ = train_in(tmp_path / "broken", config)
    assert resumed.averaged == straight.averaged
    for name, weights in straight.weights.items():
        torch.testing.assert_close(weights, resumed.weights[name], rtol=1e-6, atol=1e-7)


def test_weights_are_averaged_over_the_last_steps() -> None:
    model = torch.nn.Linear(2, 1)
    average = WeightAverage(model, 0.5)
    assert average.weights() is None
    seen = []
    for step in range(1, 65):
        with torch.no_grad():
            model.weight.fill_(step)
        state: Any = SimpleNamespace(global_step=step, max_steps=64)
        average.on_step_end(None, state, None)  # type: ignore[arg-type]
        if step > 32 and step % 8 == 0:
            seen.append(step)
    mean = average.weights()
    assert mean is not None
    assert mean["weight"].tolist() == [[sum(seen) / len(seen)] * 2]
