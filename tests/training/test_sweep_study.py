from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from mlflow.tracking import MlflowClient
from rich.console import Console

from tactful_training import sweep_study
from tactful_training.config.config_file import digest, flat, load_config
from tactful_training.config.config_schema import Config
from tactful_training.errors import ConfigError
from tactful_training.sweep_study import RETRIES, VALIDATION_SCORE, SweepResult, sweep


@pytest.fixture
def config(workplace: Path, overrides: dict[str, Any]) -> Path:
    """A config of trainings of a second, with a space of two settings."""
    content: dict[str, Any] = {"extends": "default.yaml"}
    for key, value in {**overrides, "training.epochs": 2}.items():
        section, _, name = key.partition(".")
        content.setdefault(section, {})[name] = (
            None if value == "null" else yaml.safe_load(str(value))
        )
    content["sweep"] = {
        "trials": 3,
        "space": {
            "training.learning_rate": {"low": 1.0e-4, "high": 1.0e-2, "log": True},
            "training.batch_size": {"choices": [8, 16]},
        },
    }
    path = workplace / "small.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def swept(config: Path, **options: Any) -> tuple[SweepResult, str]:
    said = io.StringIO()
    return sweep(str(config), console=Console(file=said, width=200), **options), said.getvalue()


def test_a_sweep_resumes_nests_its_runs_and_writes_the_best_as_a_diff(
    config: Path, workplace: Path
) -> None:
    first, _ = swept(config, trials=1)
    assert first.trials == 1
    # What was best so far need not stay so.
    earlier = MlflowClient(f"sqlite:///{workplace}/mlflow.db")
    for key in first.best:
        earlier.set_tag(str(first.tracking_run), f"best.{key}", "another")
    # As a killed sweep leaves it: a trial that runs for ever.
    study = optuna.load_study(study_name=first.study, storage=f"sqlite:///{workplace}/sweeps.db")
    cut = study.ask()
    rate = cut.suggest_float("training.learning_rate", 1.0e-4, 1.0e-2, log=True)
    cut.suggest_categorical("training.batch_size", [8, 16])
    result, said = swept(config)
    assert (result.study, result.trials) == (first.study, 3)
    assert "trial 2 of 3" in said
    assert "trial 1 of 3" not in said
    tried = [trial.params["training.learning_rate"] for trial in study.get_trials()]
    assert tried.count(rate) == 2  # the cut one, and again
    client = MlflowClient(f"sqlite:///{workplace}/mlflow.db")
    experiment = client.get_experiment_by_name("tactful")
    assert experiment is not None
    children = client.search_runs(
        [experiment.experiment_id], f"tags.mlflow.parentRunId = '{result.tracking_run}'"
    )
    assert len(children) == 3
    assert {run.info.status for run in children} == {"FINISHED"}
    best = load_config(result.out)
    assert yaml.safe_load(result.out.read_text())["extends"] == "small.yaml"
    assert best.training.batch_size == result.best["training.batch_size"]
    assert best.training.learning_rate == result.best["training.learning_rate"]
    parent = client.get_run(str(result.tracking_run))
    assert parent.data.metrics[f"best/{VALIDATION_SCORE}"] == pytest.approx(result.score)
    for key, value in result.best.items():
        assert parent.data.tags[f"best.{key}"] == str(value)
    assert not (workplace / "runs").exists()


def test_a_space_that_makes_no_config_is_refused_before_anything_runs(
    config: Path, workplace: Path
) -> None:
    content = yaml.safe_load(config.read_text())
    for space, words in (
        ({}, "empty sweep.space"),
        ({"training.learning_rat": {"choices": [1.0]}}, "training.learning_rat"),
        ({"model.dropout": {"low": 0.0, "high": 1.5}}, "model.dropout"),
        ({"model.dropout": {"low": 0.5, "high": 0.1}}, "low must be below high"),
    ):
        content["sweep"]["space"] = space
        config.write_text(yaml.safe_dump(content))
        with pytest.raises(ConfigError, match=words):
            swept(config)
    assert not (workplace / "sweeps.db").exists()


POISONED = """
import os, pathlib, signal, sys
import mlflow
from rich.console import Console
from tactful_training import sweep_study

def fit(config, inputs, work, on_epoch, console):
    # The first settings that are tried are too much for the machine, whenever they are tried.
    poison, rate = pathlib.Path("poison"), str(config.training.learning_rate)
    if not poison.exists():
        poison.write_text(rate)

    def told(epoch):
        if poison.read_text() == rate:
            os.kill(os.getpid(), signal.SIGKILL)
        on_epoch(epoch)

    return fitted(config, inputs, work, told, console)

fitted, sweep_study.fit_weights = sweep_study.fit_weights, fit
for _ in range(int(sys.argv[2])):  # the same command again, in a process of its own
    child = os.fork()
    if child == 0:
        print(sweep_study.sweep(sys.argv[1], console=Console(width=400)).trials, flush=True)
        os._exit(0)
    print("ended by", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def set_trials(config: Path, trials: int) -> None:
    content = yaml.safe_load(config.read_text())
    content["training"]["epochs"] = 1
    content["sweep"]["trials"] = trials
    config.write_text(yaml.safe_dump(content))


def test_a_training_that_kills_its_process_is_given_up_and_the_others_go_on(
    config: Path, workplace: Path
) -> None:
    set_trials(config, 2)
    command = [sys.executable, "-c", POISONED, str(config), str(RETRIES + 2)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *_, last, end = parts = done.stdout.split("ended by ")
    assert [each.split()[0] for each in parts[1:]] == ["-9"] * (RETRIES + 1) + ["0"], done.stderr
    assert end == "0\n"
    poison = (workplace / "poison").read_text()
    assert f"training.learning_rate {poison}" in last
    assert f": the process died {RETRIES + 1} times in this training" in last
    assert "it counts as failed and is not tried again" in last
    assert last.endswith("\n2\n")
    assert done.stdout.count("is not tried again") == 1


def test_a_training_that_runs_out_of_memory_fails_alone(
    config: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_trials(config, 2)
    fit = sweep_study.fit_weights
    failed: list[float] = []

    def too_large(config: Config, *arguments: Any) -> Any:
        if not failed:
            failed.append(config.training.learning_rate)
            raise MemoryError("cannot allocate 3 GB")
        return fit(config, *arguments)

    monkeypatch.setattr(sweep_study, "fit_weights", too_large)
    result, said = swept(config)
    assert result.trials == 2
    assert "warning: MemoryError: cannot allocate 3 GB" in said


def test_what_ctrl_c_stops_is_never_given_up(
    config: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_trials(config, 1)

    def stop(*arguments: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sweep_study, "fit_weights", stop)
        for _ in range(RETRIES + 3):
            with pytest.raises(KeyboardInterrupt):
                swept(config)
    result, said = swept(config)
    assert result.trials == 1
    assert "given up" not in said
    assert "not tried again" not in said


def test_the_space_is_no_part_of_a_training(make_config: Callable[..., Config]) -> None:
    plain, other = make_config(), make_config(sweep__trials=7)
    assert digest(plain) == digest(other)
    assert not [key for key in flat(plain) if key.startswith("sweep")]
