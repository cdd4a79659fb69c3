from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from mlflow.tracking import MlflowClient
from rich.console import Console

from tactful_training.config.config_file import digest, flat, load_config
from tactful_training.config.config_schema import Config
from tactful_training.errors import ConfigError
from tactful_training.sweep_study import VALIDATION_SCORE, SweepResult, sweep


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


def test_the_space_is_no_part_of_a_training(make_config: Callable[..., Config]) -> None:
    plain, other = make_config(), make_config(sweep__trials=7)
    assert digest(plain) == digest(other)
    assert not [key for key in flat(plain) if key.startswith("sweep")]
