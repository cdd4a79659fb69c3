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

from rich.console import Console

from tactful.reading.tasks import Tasks
from tactful.strict_json import sha256_hex
from tactful_training.config.config_schema import Config
from tactful_training.data.joined_sets import said
from tactful_training.data.labelled_row import Row
from tactful_training.errors import ConfigError, DataError
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
    fold_of = _folds(rows, config.seed, folds)
    prepare_process()
    soft: dict[str, SoftLabels] = {}
    digests: dict[str, str] = {}
    with ExitStack() as stack:
        done: list[WorkFolder] = []
        for fold in range(folds):
            name = f"fold {fold + 1} of {folds}"
            identity = {**inputs.identity(config), "fold": name}
            work = stack.enter_context(open_work_folder(identity))
            asked = [row for row in rows if fold_of[row.group] == fold]
            rest = _without(inputs, rows, [fold_of[row.group] == fold for row in rows])
            if work.is_fitted:
                say(console, f"{name}: trained before")
            else:
                number = len(rest.rows["train"])
                say(console, f"{name}: {number} rows train, {len(asked)} are asked")
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
    first = inputs.data.members[0]
    rows = inputs.rows["train"][: inputs.sizes["train"][0]]
    if len(inputs.data.members) == 1:
        return rows
    prefix = f"{first.name}/"
    return [
        replace(row, id=row.id.removeprefix(prefix), group=row.group.removeprefix(prefix))
        for row in rows
    ]


def _folds(rows: Sequence[Row], seed: int, folds: int) -> dict[str, int]:
    """Group to fold: groups are shuffled by a digest and dealt out."""
    groups = sorted(
        {row.group for row in rows}, key=lambda group: sha256_hex(f"{seed}/{group}".encode())
    )
    if not 2 <= folds <= len(groups):
        raise DataError(
            f"{folds} folds: the {len(rows)} rows are of {len(groups)} groups, which stay "
            f"together; allowed: 2 to {len(groups)} folds"
        )
    return {group: number % folds for number, group in enumerate(groups)}


def _without(
    inputs: TrainingInputs, rows: Sequence[Row], held_out: Sequence[bool]
) -> TrainingInputs:
    """The same without some training rows of the first set, and without what says the same."""
    train, (own, *others) = inputs.rows["train"], inputs.sizes["train"]
    asked = {said(row) for row, out in zip(rows, held_out, strict=True) if out}
    kept = [row for row, out in zip(train[:own], held_out, strict=True) if not out]
    sizes = [len(kept)]
    for size in others:
        further = train[own : own + size]
        kept += [row for row in further if said(row) not in asked]
        sizes.append(len(kept) - sum(sizes))
        own += size
    return replace(
        inputs,
        rows={**inputs.rows, "train": kept},
        sizes={**inputs.sizes, "train": tuple(sizes)},
    )
