"""Soft labels by cross-fitting: each row's come from a model that never saw its group.

Of rows that it was trained on a model repeats the labels, mistakes included, which teaches little.
So the rows are parted into folds by group, and for each fold a model is trained on all the others
(Wolpert 1992; for teachers Dao, Kamath, Syrgkanis and Mackey 2021, "Knowledge Distillation as
Semiparametric Inference"). Rows of further data sets train every model and are asked nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from tactful.reading.tasks import Tasks
from tactful_training.config.config_schema import Config
from tactful_training.data.group_folds import group_folds
from tactful_training.data.joined_sets import said
from tactful_training.data.labelled_row import Row
from tactful_training.errors import ConfigError
from tactful_training.fitting.hardware import prepare_process
from tactful_training.fitting.resuming import WorkFolder, open_work_folder
from tactful_training.fitting.soft_labels import SoftLabels
from tactful_training.fitting.softening import Softened, check_target, write
from tactful_training.fitting.teacher import open_teacher
from tactful_training.fitting.training_inputs import TrainingInputs, load_training_inputs
from tactful_training.training_run import fit_weights, introduce, say


def soften_by_folds(config: Config, folds: int, out: Path, *, console: Console) -> Softened:
    """Train a model for each fold, ask it about the fold and write the answers.

    An interrupted call goes on where it was when it is made again.

    Args:
        config: of the models. The soft labels are of the training rows of its first data set.
        folds: how many parts, 2 or more.
        out: the file; an older one is replaced at the end.
        console: for progress.

    Raises:
        ConfigError: the models would start from or learn from another one, which may have seen
            the rows.
        DataError: the data cannot be used, there are fewer groups than folds, or the file cannot be
            written.
        EncoderError: the encoder cannot be used.
        RunError: another process trains the same.
    """
    check_target(out)
    config = _from_labels_alone(config)
    inputs = load_training_inputs(config)
    introduce(config, inputs, console)
    rows = _rows_asked(inputs)
    parts = group_folds(rows, folds, config.seed, inputs.data.members[0].data.folder)
    prepare_process()
    soft: dict[str, SoftLabels] = {}
    digests: dict[str, str] = {}
    with ExitStack() as stack:
        done: list[WorkFolder] = []
        for number, (known, held_out) in enumerate(parts, 1):
            name = f"fold {number} of {folds}"
            identity = {**inputs.identity(config), "fold": name}
            work = stack.enter_context(open_work_folder(identity))
            asked = [rows[place] for place in held_out]
            if work.is_fitted:
                say(console, f"{name}: trained before")
            else:
                rest = _without(inputs, known, asked)
                left = len(rest.rows["train"])
                say(console, f"{name}: {left} rows train, {len(asked)} are asked")
                _train(config, rest, work, console)
            model = open_teacher(str(work.weights), _own_tasks(inputs), inputs.encoding.limits)
            digests[name] = model.source.sha256
            soft |= {row.id: each for row, each in zip(asked, model.read(asked), strict=True)}
            done.append(work)
        answers = [soft[row.id] for row in rows]
        softened = write(out, rows, answers, _own_tasks(inputs), digests)
        for work in done:
            work.clear()
    return softened


def _train(config: Config, inputs: TrainingInputs, work: WorkFolder, console: Console) -> None:
    """Train, and keep the weights alone."""
    work.save_fitted(fit_weights(config, inputs, work, lambda _: None, console), inputs)
    # With the optimiser's state they are several times as large, and folds wait for each other.
    shutil.rmtree(work.checkpoints, ignore_errors=True)


def _from_labels_alone(config: Config) -> Config:
    distill = config.distill
    named = {
        "encoder.init_from": config.encoder.init_from,
        "distill.teacher": distill.teacher,
        "distill.soft_labels": None if distill.soft_labels == "auto" else distill.soft_labels,
    }
    if others := {key: value for key, value in named.items() if value is not None}:
        told = ", ".join(f"{key} is {value}" for key, value in others.items())
        raise ConfigError(
            "the models of the folds start from the pretrained encoder and learn from labels "
            f"alone, for any other model may have seen the rows that are asked; {told}: set "
            f"{' and '.join(others)} to null"
        )
    return config.model_copy(update={"distill": distill.model_copy(update={"soft_labels": None})})


def _own_tasks(inputs: TrainingInputs) -> Tasks:
    """The tasks of the set whose rows are asked."""
    return inputs.data.members[0].data.tasks


def _rows_asked(inputs: TrainingInputs) -> list[Row]:
    """The training rows of the first set, named as in its own file."""
    prefix = inputs.data.members[0].prefix
    rows = inputs.rows["train"][: inputs.sizes["train"][0]]
    if len(inputs.data.members) == 1:
        return rows
    return [
        replace(row, id=row.id.removeprefix(prefix), group=row.group.removeprefix(prefix))
        for row in rows
    ]


def _without(
    inputs: TrainingInputs, known: NDArray[np.intp], asked: Sequence[Row]
) -> TrainingInputs:
    """The same with some training rows of the first set alone, and nothing that says what is asked.

    Args:
        inputs: with all rows.
        known: places of the rows of the first set that are kept.
        asked: the others.
    """
    train, (at, *others) = inputs.rows["train"], inputs.sizes["train"]
    told = {said(row) for row in asked}
    kept = [train[place] for place in known]
    sizes = [len(kept)]
    for size in others:
        further = [row for row in train[at : at + size] if said(row) not in told]
        kept += further
        sizes.append(len(further))
        at += size
    return replace(
        inputs,
        rows={**inputs.rows, "train": kept},
        sizes={**inputs.sizes, "train": tuple(sizes)},
    )
