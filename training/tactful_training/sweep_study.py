"""A sweep: an Optuna study over the ``sweep:`` section of a config, each trial a nested MLflow run.

The study is kept in SQLite in the working folder. An interrupted sweep goes on with the same
command; the training that was cut off goes on from its checkpoint. One that takes the whole process
with it again and again (no memory …) is given up after `RETRIES` more attempts.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console

from tactful.bundle.mlflow_store import sqlite_uri
from tactful.errors import TactfulError
from tactful.storage import write_file
from tactful.strict_json import canonical_json, sha256_hex
from tactful_training.config.config_file import digest, load_config
from tactful_training.config.config_schema import Config, SweepChoices, SweepRange
from tactful_training.config.shipped_files import find_config
from tactful_training.errors import ConfigError, RunError
from tactful_training.fitting.epochs import Epoch
from tactful_training.fitting.resuming import WorkFolder, open_work_folder
from tactful_training.fitting.training_inputs import TrainingInputs, load_training_inputs
from tactful_training.registry.mlflow_tracker import RUN_KIND, Tracker
from tactful_training.registry.tracked_training import TrackedRun
from tactful_training.training_run import begin, fit_weights, warn

DATABASE = Path("sweeps.db")
"""Holds the studies, in the working folder."""
VALIDATION_SCORE = "validation/score"
# Trainings before pruning begins, and epochs of each that are never pruned.
_STARTUP_TRIALS, _STARTUP_EPOCHS = 4, 1
RETRIES = 2
"""How often a training that was cut off is tried again; one that Ctrl-C ends may be without end."""
_PARENT, _INTERRUPTED = "mlflow_run", "interrupted"
# Of a trial: how many attempts at the same settings were cut off before, and whether by Ctrl-C.
_CUT_OFF, _BY_HAND = "cut_off_before", "by_hand"
_OVER = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


@dataclass(frozen=True)
class SweepResult:
    """What a sweep found.

    Attributes:
        study: its name.
        trials: trainings that ended, pruned and failed ones included.
        score: the best validation score.
        best: its settings, by dotted path.
        out: the config file with them.
        tracking_run: the MLflow run that holds the trials; None where none could be opened.
    """

    study: str
    trials: int
    score: float
    best: Mapping[str, Any]
    out: Path
    tracking_run: str | None

    def __str__(self) -> str:
        lines = [f"best validation score {self.score:.4f} of {self.trials} trials:"]
        lines += [f"  {key}: {value}" for key, value in self.best.items()]
        return "\n".join([*lines, f"to train with it: tactful train {self.out}"])


def sweep(
    name: str,
    overrides: Sequence[str] = (),
    *,
    trials: int | None = None,
    out: Path | None = None,
    console: Console,
) -> SweepResult:
    """Search the space of a config for the best validation score; an interrupted one is resumed.

    Args:
        name: the config.
        overrides: ``key.path=value`` on top, as for `load_config`.
        trials: trainings in all; None takes the config's.
        out: where the best settings go, a diff against the config; by default beside the working
            folder's files, named after the config.
        console: for progress.

    Raises:
        ConfigError: the config has no space, or one of its values is not allowed.
        RunError: no training ended well.
    """
    path = find_config(name)
    config = load_config(name, overrides)
    _check_space(name, overrides, config)
    wanted = trials or config.sweep.trials
    out = out or Path(f"{path.stem}-best.yaml")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = _open_study(path.stem, config)
    parent = Tracker()
    parent.open(
        config.tracking.experiment,
        f"sweep {study.study_name}",
        study.user_attrs.get(_PARENT),
        {RUN_KIND: "sweep", "mlflow.source.name": "tactful sweep"},
    )
    if parent.run_id is not None:
        study.set_user_attr(_PARENT, parent.run_id)
    _requeue_interrupted(study, console)
    while _ended(study) < wanted:
        trial = study.ask()
        console.print(
            f"trial {_ended(study) + 1} of {wanted}: ", end="", highlight=False, markup=False
        )
        _try(name, overrides, config, study, trial, parent.run_id, console)
    if not study.get_trials(states=(TrialState.COMPLETE,)):
        parent.close("FAILED")
        raise RunError("no training of the sweep ended well; see the messages above")
    best = study.best_trial
    _write_best(out, path, overrides, best, study)
    # Tags, since MLflow takes no second value of a parameter, and a later part of the sweep may
    # find a better one.
    parent.set_tags({f"best.{key}": str(value) for key, value in best.params.items()})
    parent.log_metrics({f"best/{VALIDATION_SCORE}": best.value or 0.0}, step=_ended(study))
    parent.attempt(lambda client, run: client.log_artifact(run, str(out)))
    parent.close("FINISHED")
    return SweepResult(
        study.study_name, _ended(study), best.value or 0.0, best.params, out, parent.run_id
    )


def _score(
    config: Config,
    inputs: TrainingInputs,
    work: WorkFolder,
    tracked: TrackedRun,
    trial: optuna.Trial,
    console: Console,
) -> float | None:
    """The best validation score of a training that its study may end; None where it did."""

    def on_epoch(epoch: Epoch) -> None:
        tracked.send_epoch(epoch)
        trial.report(epoch.metrics[VALIDATION_SCORE], epoch.number)
        if trial.should_prune():
            raise optuna.TrialPruned

    try:
        fitted = fit_weights(config, inputs, work, on_epoch, console)
    except optuna.TrialPruned:
        tracked.tracker.set_tags({"sweep.pruned": "true"})
        return None
    tracked.after_training(fitted)
    return max(epoch.metrics[VALIDATION_SCORE] for epoch in fitted.epochs)


def _try(
    name: str,
    overrides: Sequence[str],
    config: Config,
    study: optuna.Study,
    trial: optuna.Trial,
    parent: str | None,
    console: Console,
) -> None:
    settings = {key: _suggest(trial, key, each) for key, each in config.sweep.space.items()}
    console.print(", ".join(f"{key} {_text(value)}" for key, value in settings.items()))
    try:
        chosen = load_config(name, [*overrides, *_assignments(settings)])
        inputs = load_training_inputs(chosen)
        with open_work_folder({**inputs.identity(chosen), "sweep": study.study_name}) as work:
            tags = {RUN_KIND: "trial", "mlflow.source.name": "tactful sweep"}
            if parent is not None:
                tags["mlflow.parentRunId"] = parent
            tracked = TrackedRun(work, tags)
            begin(chosen, inputs, work, tracked, console)
            with tracked.tracker.closing():
                score = _score(chosen, inputs, work, tracked, trial, console)
            work.clear()
        if score is None:
            console.print("pruned: behind the median of the others")
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, score)
    except KeyboardInterrupt:
        trial.set_user_attr(_BY_HAND, True)
        raise
    except (Exception, SystemExit) as error:  # no memory, a library's own: other settings may do
        said = str(error) if isinstance(error, TactfulError) else f"{type(error).__name__}: {error}"
        warn(console, said)
        study.tell(trial, state=TrialState.FAIL)


def _open_study(stem: str, config: Config) -> optuna.Study:
    """The study of exactly this config and space, made where it is not there yet."""
    space = {key: each.model_dump() for key, each in config.sweep.space.items()}
    identity = sha256_hex(canonical_json({"config": digest(config), "space": space}))
    storage = sqlite_uri(DATABASE.resolve())
    pruner: optuna.pruners.BasePruner = optuna.pruners.NopPruner()
    if config.sweep.pruning:
        pruner = optuna.pruners.MedianPruner(_STARTUP_TRIALS, _STARTUP_EPOCHS)
    study = optuna.create_study(
        study_name=f"{stem}-{identity[:12]}",
        storage=storage,
        direction="maximize",
        pruner=pruner,
        load_if_exists=True,
    )
    # Seeded by what there is: a resumed study must not suggest its first values again.
    study.sampler = optuna.samplers.TPESampler(seed=config.seed + len(study.trials))
    return study


def _requeue_interrupted(study: optuna.Study, console: Console) -> None:
    """Trials that were cut off are tried again with the same settings, but not for ever."""
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        before = trial.user_attrs.get(_CUT_OFF, 0) + (not trial.user_attrs.get(_BY_HAND))
        if before > RETRIES:  # it counts as one that ended
            settings = ", ".join(f"{key} {_text(value)}" for key, value in trial.params.items())
            warn(
                console,
                f"{settings}: the process died {before} times in this training (is there enough "
                "memory?); it counts as failed and is not tried again",
            )
        else:
            interrupted = study.user_attrs.get(_INTERRUPTED, [])
            study.set_user_attr(_INTERRUPTED, [*interrupted, trial.number])
            if trial.params:
                study.enqueue_trial(trial.params, user_attrs={_CUT_OFF: before})
        study.tell(trial.number, state=TrialState.FAIL)


def _ended(study: optuna.Study) -> int:
    """How many trials are over, those that were cut off not counted."""
    interrupted = set(study.user_attrs.get(_INTERRUPTED, []))
    return sum(each.number not in interrupted for each in study.get_trials(states=_OVER))


def _suggest(trial: optuna.Trial, key: str, space: SweepRange | SweepChoices) -> Any:
    if isinstance(space, SweepChoices):
        return trial.suggest_categorical(key, space.choices)
    low, high, step = space.low, space.high, space.step
    if isinstance(low, int) and isinstance(high, int) and not isinstance(step, float):
        return trial.suggest_int(key, low, high, step=step or 1, log=space.log)
    return trial.suggest_float(key, low, high, step=step, log=space.log)


def _check_space(name: str, overrides: Sequence[str], config: Config) -> None:
    """Every key and its extremes must make a config."""
    if not config.sweep.space:
        raise ConfigError(
            f"{name} has an empty sweep.space; name there what to vary, for example "
            "training.learning_rate: {low: 3e-5, high: 3e-4, log: true}"
        )
    for key, space in config.sweep.space.items():
        values = space.choices if isinstance(space, SweepChoices) else [space.low, space.high]
        for value in values:
            load_config(name, [*overrides, *_assignments({key: value})])


def _assignments(settings: Mapping[str, Any]) -> list[str]:
    return [f"{key}={_text(value)}" for key, value in settings.items()]


def _text(value: Any) -> str:
    """A value as YAML on one line."""
    return yaml.safe_dump(value, default_flow_style=True).split("\n")[0]


def _write_best(
    out: Path, config: Path, overrides: Sequence[str], best: FrozenTrial, study: optuna.Study
) -> None:
    content: dict[str, Any] = {"extends": os.path.relpath(config, out.absolute().parent)}
    fixed = [text.partition("=") for text in overrides]
    settings = {key: yaml.safe_load(value) for key, _, value in fixed} | best.params
    for key, value in settings.items():
        place = content
        *parents, last = key.split(".")
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    note = (
        f"# Best of {_ended(study)} trials of the sweep {study.study_name}: {VALIDATION_SCORE} "
        f"{best.value:.4f} (trial {best.number}).\n"
    )
    write_file(out, (note + yaml.safe_dump(content, sort_keys=False)).encode())
