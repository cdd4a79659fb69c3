"""A training run, from a configuration to a verified bundle; it reads from top to bottom."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from rich.console import Console

from tactful.bundle.writing import check_target
from tactful_training.bundling.candidate_choice import choose_candidate
from tactful_training.bundling.final_evaluation import evaluate_beside, evaluate_splits
from tactful_training.bundling.manifest_and_goldens import pack
from tactful_training.bundling.run_record import RunRecord
from tactful_training.config.config_schema import Config
from tactful_training.data.data_set import load_labelled
from tactful_training.evaluation.evaluation_results import Evaluation
from tactful_training.fitting.distillation import Distillation
from tactful_training.fitting.encoder import load_encoder
from tactful_training.fitting.epochs import Epoch, ProgressReport, epoch_line
from tactful_training.fitting.hardware import (
    choose_attention,
    choose_precision,
    device_for_training,
    prepare_process,
)
from tactful_training.fitting.losses import Loss
from tactful_training.fitting.model import LabelAttentionModel, prior_log_odds
from tactful_training.fitting.onnx_export import check_exportable, export_fitted
from tactful_training.fitting.resuming import Fitted, WorkFolder, open_work_folder
from tactful_training.fitting.teacher import check_student
from tactful_training.fitting.trained_weights import take_over
from tactful_training.fitting.trainer import fit
from tactful_training.fitting.training_batches import Collator, TrainingRows
from tactful_training.fitting.training_inputs import (
    TrainingInputs,
    check_fit,
    load_training_inputs,
    weights_without_task,
)
from tactful_training.fitting.validation_score import Validation
from tactful_training.registry.environment import describe_environment, git_commit
from tactful_training.registry.model_registration import Registration
from tactful_training.registry.tracked_training import TrackedRun

_ANSWERS = "teacher.safetensors"


@dataclass(frozen=True)
class TrainingResult:
    """What a run made.

    Attributes:
        out: the bundle's folder.
        bundle: its id.
        evaluations: what was measured on ``validation`` and ``test``, of the fp32 form on
            ``fp32_test`` where another one ships, and on ``test_NAME`` of each of several sets.
        inputs: what it was trained on.
        tracking_uri: the MLflow store.
        tracking_run: the MLflow run; None where none could be opened.
        registration: what became of the bundle in the registry; None where it could not be sent.
    """

    out: Path
    bundle: str
    evaluations: Mapping[str, Evaluation]
    inputs: TrainingInputs
    tracking_uri: str
    tracking_run: str | None
    registration: Registration | None = None


def train(config: Config, out: Path, *, console: Console) -> TrainingResult:
    """Train, export, calibrate, evaluate and pack; an interrupted run of the same is resumed.

    Args:
        config: all settings.
        out: folder of the bundle; an older bundle there is replaced at the very end.
        console: for progress, a few lines.

    Raises:
        TactfulError: of the kind that fits what cannot be used or done.
    """
    check_target(out)
    prepare_process()
    inputs = load_training_inputs(config)
    further = {
        name: load_labelled(path, "test", inputs.tasks)
        for name, path in config.evaluation.further.items()
    }
    with open_work_folder(inputs.identity(config)) as work:
        tracked = TrackedRun(work)
        begin(config, inputs, work, tracked, console)
        environment, commit = describe_environment(), git_commit()
        with tracked.tracker.closing():
            fitted = work.load_fitted()
            if fitted is None:
                fitted = fit_weights(config, inputs, work, tracked.send_epoch, console)
                work.save_fitted(fitted, inputs)
            exported = export_fitted(config, inputs, fitted)
            choice = choose_candidate(config, inputs, exported, say=lambda line: say(console, line))
            for line in choice.warnings:
                warn(console, line)
            say(console, "evaluating on the validation and test splits")
            engine = choice.shipped.as_served(inputs.encoder.tokenizer)
            evaluations = evaluate_splits(config, inputs, choice, engine)
            beside = evaluate_beside(config, inputs, evaluations["test"], engine, further)
            record = RunRecord(
                config=config,
                inputs=inputs,
                fitted=fitted,
                precision=str(work.state.precision),
                choice=choice,
                evaluations=evaluations,
                beside=beside,
                environment=environment,
                commit=commit,
                tracking_run=tracked.tracker.run_id,
            )
            bundle = pack(out, record, engine)
            tracked.send_result(record, out, bundle)
        tracker = tracked.tracker
        if tracker.failure is None:
            work.clear()
        else:
            warn(
                console,
                f"the bundle is complete, but MLflow at {tracker} does not have all of the "
                f"run ({tracker.failure}). It is kept in {work.path}: once the server answers, "
                "the same command sends it without training again.",
            )
    return TrainingResult(
        out, bundle, evaluations, inputs, tracker.uri, tracker.run_id, tracked.registration
    )


def begin(
    config: Config, inputs: TrainingInputs, work: WorkFolder, tracked: TrackedRun, console: Console
) -> None:
    """Say what is trained on what, and open the MLflow run."""
    introduce(config, inputs, console)
    if work.resumed:
        say(console, f"resuming the interrupted run in {work.path}")
    tracked.open(config, inputs)
    tracker = tracked.tracker
    if tracker.failure is not None:
        warn(
            console,
            f"MLflow at {tracker} cannot be used ({tracker.failure}); training goes on",
        )


def introduce(config: Config, inputs: TrainingInputs, console: Console) -> None:
    """Say what data and encoder there are, and what of the config has no effect on them."""
    sizes = ", ".join(f"{len(rows)} {split}" for split, rows in inputs.rows.items())
    tasks = ", ".join(f"{task.name} ({len(task.labels)} labels)" for task in inputs.tasks)
    say(console, f"data set {inputs.data.places}: {sizes} rows; {tasks}")
    if inputs.left_out:
        warn(
            console,
            f"{len(inputs.left_out)} train rows are left out, since another data set measures on "
            f"the same words; the first: {inputs.left_out[0]}",
        )
    say(console, f"encoder {inputs.encoder.name}, weights {inputs.encoder.sha256[:12]}")
    for line in weights_without_task(config, inputs.tasks):
        warn(console, line)


def fit_weights(
    config: Config,
    inputs: TrainingInputs,
    work: WorkFolder,
    on_epoch: Callable[[Epoch], None],
    console: Console,
) -> Fitted:
    """Train from the pretrained encoder or earlier weights, or on from the last checkpoint.

    Args:
        config: all settings.
        inputs: what is trained on.
        work: remembers the precision and holds the checkpoints.
        on_epoch: called after each epoch, which is also said.
        console: for progress.
    """
    device = device_for_training()
    if work.state.precision is None:
        work.state.precision = choose_precision(config.training.precision, device)
        work.save()
    attention = choose_attention(work.state.precision, device)
    if inputs.teacher is not None and config.distill.attention_weight:
        attention = "eager"  # the faster ways do not tell what it looked at
    encoder = load_encoder(inputs.encoder, config.model, attention=attention)
    check_fit(encoder, inputs)
    if inputs.teacher is not None:
        check_student(inputs.teacher, encoder.config, config.distill)
    check_exportable(config, inputs)
    transformers.set_seed(config.seed)  # the heads' first weights
    model = LabelAttentionModel(encoder, inputs.tasks.size, dropout=config.model.dropout)
    for line in learning(inputs):
        say(console, line)
    rows = TrainingRows(
        inputs.rows["train"],
        inputs.encoding,
        inputs.tasks,
        weights=inputs.weights,
        context_dropout=config.training.context_dropout,
        token_dropout=config.training.token_dropout,
        mask_id=inputs.mask_id(config),
        seed=config.seed,
        soft=inputs.soft(Path(config.distill.cache or work.path / _ANSWERS)),
    )
    model.start_at(prior_log_odds(rows.targets, inputs.tasks))
    if inputs.start is not None:
        fresh = take_over(model, inputs.tasks, inputs.start, inputs.encoder)
        say(
            console,
            f"starting from {inputs.start.address} (weights {inputs.start.sha256[:12]}); labels "
            f"that start fresh: {', '.join(fresh) or 'none'}",
        )
    if config.model.freeze_word_embeddings:
        model.freeze_word_embeddings()
    say(
        console,
        f"training in {work.state.precision} on {device.type}, {torch.get_num_threads()} threads",
    )

    def tell(epoch: Epoch) -> None:
        say(console, epoch_line(epoch, config.training.epochs))
        on_epoch(epoch)

    weights, evidence = config.loss.task_weights, config.loss.evidence_weight
    distillation = None
    if inputs.learnt_from() is not None:
        distillation = Distillation(inputs.tasks, weights, config.distill, inputs.teacher)
    with ProgressReport(console) as report:
        fitted = fit(
            model,
            rows,
            Loss(inputs.tasks, weights, evidence, config.loss.label_smoothing),
            Validation(inputs.validation, inputs.encoding, Loss(inputs.tasks, weights, evidence)),
            collator=Collator(inputs.encoding),
            config=config.training,
            seed=config.seed,
            precision=work.state.precision,
            folder=work.checkpoints,
            on_epoch=tell,
            validate_start=inputs.start is not None,
            distillation=distillation,
            callbacks=[report],
        )
    if fitted.averaged is not None:
        say(console, f"mean of the last weights taken: validation score {fitted.averaged:.4f}")
    return fitted


def learning(inputs: TrainingInputs) -> list[str]:
    """A line about each source that is learnt from beside the labels."""
    lines = []
    if inputs.teacher is not None:
        source = inputs.teacher.source
        lines.append(f"learning from {source.address} as well (weights {source.sha256[:12]})")
    if inputs.soft_labels is not None:
        path, known = inputs.soft_labels.path, inputs.soft_labels.rows
        rows = inputs.rows["train"]
        count = sum(row.id in known for row in rows)
        lines.append(f"learning from {path} as well: soft labels of {count} of {len(rows)} rows")
    return lines


def say(console: Console, line: str) -> None:
    """Print a line of progress."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def warn(console: Console, line: str) -> None:
    """Print a line that somebody should read."""
    console.print(f"warning: {line}", style="yellow", highlight=False, markup=False, soft_wrap=True)
