"""Soft labels of rows by models that never saw them; on a tiny encoder."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from tactful.cli import build_app
from tactful_training import cross_fitting
from tactful_training.config.config_schema import Config
from tactful_training.cross_fitting import soften_by_folds
from tactful_training.data.data_set import load_data_set
from tactful_training.data.joined_sets import said
from tactful_training.data.labelled_row import Row
from tactful_training.errors import ConfigError, DataError
from tactful_training.fitting import softening
from tactful_training.fitting.soft_label_file import read_soft_labels
from tactful_training.fitting.teacher import Teacher

Make = Callable[..., Config]


@pytest.fixture
def further(data_set: Path, tmp_path: Path) -> Path:
    """A second data set; its few rows are in the first one as well."""
    folder = Path(shutil.copytree(data_set, tmp_path / "further"))
    lines = (folder / "train.jsonl").read_text().splitlines(keepends=True)
    (folder / "train.jsonl").write_text("".join(lines[:8]))
    return folder


def test_each_row_is_asked_of_a_model_that_never_saw_its_group(
    make_config: Make,
    data_set: Path,
    further: Path,
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trained: list[list[Row]] = []
    asked: list[list[Row]] = []
    fit, read = cross_fitting.fit_weights, Teacher.read

    def fit_weights(config: Config, inputs: Any, *others: Any) -> Any:
        trained.append(inputs.rows["train"])
        assert len(inputs.weights) == len(inputs.rows["train"])
        return fit(config, inputs, *others)

    def ask(self: Teacher, rows: Sequence[Row]) -> Any:
        asked.append([*rows])
        return read(self, rows)

    monkeypatch.setattr(cross_fitting, "fit_weights", fit_weights)
    monkeypatch.setattr(Teacher, "read", ask)
    config = make_config(data__folder=f"[{data_set}, {further}]", training__epochs=1)
    out, shown = workplace / "soft.jsonl", io.StringIO()
    made = soften_by_folds(config, 3, out, console=Console(file=shown, width=200))

    rows = load_data_set(data_set).split("train")
    assert made.rows == len(rows)
    assert list(made.teachers) == ["fold 1 of 3", "fold 2 of 3", "fold 3 of 3"]
    assert len(set(made.teachers.values())) == 3
    assert "fold 2 of 3: " in shown.getvalue()
    # All rows of the first set once, under their own ids, and none of the second.
    assert sorted(row.id for fold in asked for row in fold) == sorted(row.id for row in rows)
    for seen, fold in zip(trained, asked, strict=True):
        groups = {row.group.partition("/")[2] for row in seen if row.id.startswith(data_set.name)}
        assert not groups & {row.group for row in fold}
        # Rows of the second set train as well, but not those that say what is asked.
        told = {said(row) for row in fold}
        assert not told & {said(row) for row in seen}
        own = [row for row in rows[:8] if said(row) not in told]
        assert sum(row.id.startswith(further.name) for row in seen) == len(own)
    tasks = load_data_set(data_set).tasks
    assert set(read_soft_labels(out, rows, tasks).rows) == {row.id for row in rows}
    assert not (workplace / "runs").exists()


def test_an_interrupted_call_goes_on_with_the_folds_that_are_missing(
    make_config: Make,
    overrides: dict[str, Any],
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = make_config(training__epochs=1)
    quiet = Console(file=io.StringIO())
    whole = workplace / "whole.jsonl"
    settings = {**overrides, "training.epochs": 1}
    options = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    command = ["data", "soften", str(whole), "--folds", "2", *options, "--json"]
    result = CliRunner().invoke(build_app(), command)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["rows"] == 96

    trainings = 0
    fit = cross_fitting.fit_weights

    def second_fails(*given: Any) -> Any:
        nonlocal trainings
        trainings += 1
        if trainings == 2:
            raise KeyboardInterrupt
        return fit(*given)

    monkeypatch.setattr(cross_fitting, "fit_weights", second_fails)
    again = workplace / "again.jsonl"
    with pytest.raises(KeyboardInterrupt):
        soften_by_folds(config, 2, again, console=quiet)
    assert not again.exists()

    def full(*_: Any) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(softening, "write_soft_labels", full)
        with pytest.raises(DataError, match="no space left"):
            soften_by_folds(config, 2, again, console=quiet)
    # What was trained is kept, without its checkpoints.
    assert not [*workplace.glob("runs/*/checkpoints")]
    shown = io.StringIO()
    soften_by_folds(config, 2, again, console=Console(file=shown))
    assert shown.getvalue().count("trained before") == 2
    assert trainings == 3
    assert again.read_bytes() == whole.read_bytes()
    assert not (workplace / "runs").exists()


def test_what_cannot_be_done_is_said_before_anything_is_trained(
    make_config: Make, data_set: Path, workplace: Path
) -> None:
    def refused(kind: type[Exception], folds: int = 2, name: str = "o.jsonl", **keys: Any) -> str:
        config, quiet = make_config(data__folder=data_set, **keys), Console(file=io.StringIO())
        with pytest.raises(kind) as caught:
            soften_by_folds(config, folds, workplace / name, console=quiet)
        assert not (workplace / "runs").exists()
        return str(caught.value)

    assert "96 rows are of 48 groups" in refused(DataError, folds=49)
    assert "allowed: 2 to 48" in refused(DataError, folds=1)
    assert "ends with .jsonl" in refused(DataError, name="o.csv")
    assert "there is no folder" in refused(DataError, name="new/o.jsonl")
    taught = refused(ConfigError, distill__soft_labels=workplace / "numbers.jsonl")
    assert "numbers.jsonl" in taught
    assert "distill.soft_labels to null" in taught
    started = refused(ConfigError, encoder__init_from=workplace, distill__teacher=workplace)
    assert "set encoder.init_from and distill.teacher to null" in started


def test_the_command_takes_teachers_or_folds(workplace: Path) -> None:
    def call(*options: str) -> str:
        result = CliRunner().invoke(build_app(), ["data", "soften", "soft.jsonl", *options])
        assert result.exit_code == 2
        return " ".join(result.output.split())

    assert "either --teacher (once or more) or --folds" in call()
    assert "either --teacher (once or more) or --folds" in call("--folds", "2", "--teacher", "a")
    assert "--folds" in call("--folds", "1")
