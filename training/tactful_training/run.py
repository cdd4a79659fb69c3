"""A training run, from a configuration to a verified bundle; it reads from top to bottom."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from rich.console import Console

from tactful.bundle.writing import check_target
from tactful.classifier import Classifier
from tactful.reading.engine import Engine
from tactful.reading.processor import available_cpus
from tactful_training.bundling.candidate_choice import Choice, as_served, choose_form, exportable
from tactful_training.bundling.manifest_and_goldens import pack
from tactful_training.bundling.model_card import RunRecord
from tactful_training.config.config_schema import Config
from tactful_training.evaluation.bundle_evaluation import evaluate_classifier
from tactful_training.evaluation.evaluation_results import Evaluation
from tactful_training.fitting.encoder import load_encoder
from tactful_training.fitting.epochs import Epoch, ProgressReport, epoch_line
from tactful_training.fitting.features import Collator, TrainingRows, encode_rows
from tactful_training.fitting.hardware import Precision, choose_precision, keep_freed_memory
from tactful_training.fitting.losses import Loss
from tactful_training.fitting.model import LabelAttentionModel, prior_log_odds
from tactful_training.fitting.onnx_export import export_onnx
from tactful_training.fitting.resuming import Fitted, WorkFolder, open_work_folder
from tactful_training.fitting.trainer import device_for_training, fit
from tactful_training.fitting.training_inputs import (
    TrainingInputs,
    check_fit,
    load_training_inputs,
    weights_without_task,
)
from tactful_training.fitting.validation import Validation
from tactful_training.registry.environment import describe_environment, git_commit
from tactful_training.registry.model_registration import Registration
from tactful_training.registry.tracked_training import TrackedRun


@dataclass(frozen=True)
class TrainingResult:
    """What a run made.

    Attributes:
        out: the bundle's folder.
        bundle: its id.
        evaluations: what was measured on ``validation`` and ``test``, and of the fp32 form on
            ``fp32_test`` where another one ships.
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
    keep_freed_memory()
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(available_cpus())
    inputs = load_training_inputs(config)
    with open_work_folder(inputs.identity(config)) as work:
        run = Run(config, inputs, work, TrackedRun(work), console)
        run.begin()
        tracker = run.tracked.tracker
        with tracker.closing():
            result = run.carry_out(out)
        if tracker.failure is None:
            work.clear()
        else:
            run.warn(
                f"the bundle is complete, but MLflow at {tracker.uri} does not have all of the "
                f"run ({tracker.failure}). It is kept in {work.path}: once the server answers, "
                "the same command sends it without training again."
            )
        return result


@dataclass(frozen=True)
class Run:
    """One run; its methods are the steps.

    Attributes:
        config: all settings.
        inputs: what is read.
        work: the open work folder.
        tracked: its run in MLflow.
        console: for progress.
    """

    config: Config
    inputs: TrainingInputs
    work: WorkFolder
    tracked: TrackedRun
    console: Console

    def carry_out(self, out: Path) -> TrainingResult:
        """Every step from training to the bundle in its place."""
        config, inputs = self.config, self.inputs
        loss, validation = self.objective()
        precision = self.precision()
        fitted = self.work.load_fitted()
        if fitted is None:
            fitted = self.fit(loss, validation, precision)
            self.work.save_fitted(fitted)
        self.tracked.after_training(fitted.epochs)
        choice, parity = choose_form(config, inputs, fitted, validation, say=self.say)
        engine = as_served(choice.shipped, inputs)
        self.say("evaluating on the validation and test splits")
        evaluations = self.evaluate(engine, choice)
        record = RunRecord(
            config=config,
            data=inputs.data,
            rows={split: len(rows) for split, rows in inputs.rows.items()},
            encoder=inputs.encoder,
            fitted=fitted,
            precision=precision,
            parity=parity,
            choice=choice,
            evaluations=evaluations,
            environment=describe_environment(),
            commit=git_commit(),
            tracking_run=self.tracked.tracker.run_id,
        )
        bundle = pack(out, record, engine, inputs.rows["validation"])
        self.tracked.send_result(record, out, bundle)
        tracker = self.tracked.tracker
        return TrainingResult(
            out,
            bundle,
            evaluations,
            inputs,
            tracker.uri,
            tracker.run_id,
            self.tracked.registration,
        )

    def begin(self) -> None:
        """Say what is trained on what, and open the MLflow run."""
        inputs = self.inputs
        sizes = ", ".join(f"{len(rows)} {split}" for split, rows in inputs.rows.items())
        tasks = ", ".join(f"{task.name} ({len(task.labels)} labels)" for task in inputs.tasks)
        self.say(f"data set {inputs.data.folder}: {sizes} rows; {tasks}")
        self.say(f"encoder {inputs.encoder.name}, weights {inputs.encoder.sha256[:12]}")
        for line in weights_without_task(self.config, inputs.tasks):
            self.warn(line)
        if self.work.resumed:
            self.say(f"resuming the interrupted run in {self.work.path}")
        self.tracked.open(self.config, inputs)
        tracker = self.tracked.tracker
        if tracker.failure is not None:
            self.warn(
                f"MLflow at {tracker.uri} cannot be used ({tracker.failure}); training goes on"
            )

    def objective(self) -> tuple[Loss, Validation]:
        """What training minimises, and what it is validated by."""
        config, inputs = self.config, self.inputs
        weights, evidence = config.loss.task_weights, config.loss.evidence_weight
        encoded = encode_rows(inputs.rows["validation"], inputs.encoding, inputs.tasks)
        measured = Validation(encoded, inputs.encoding, Loss(inputs.tasks, weights, evidence))
        return Loss(inputs.tasks, weights, evidence, config.loss.label_smoothing), measured

    def precision(self) -> Precision:
        """The precision of this run; a resumed one keeps its own."""
        state = self.work.state
        if state.precision is None:
            state.precision = choose_precision(
                self.config.training.precision, device_for_training()
            )
            self.work.save()
        return state.precision

    def fit(self, loss: Loss, validation: Validation, precision: Precision) -> Fitted:
        """Train from the pretrained encoder, or on from the last checkpoint."""
        config, inputs = self.config, self.inputs
        rows = TrainingRows(
            inputs.rows["train"],
            inputs.encoding,
            inputs.tasks,
            context_dropout=config.training.context_dropout,
            token_dropout=config.training.token_dropout,
            mask_id=inputs.mask_id(config),
            seed=config.seed,
        )
        encoder = load_encoder(inputs.encoder, config.model)
        check_fit(encoder, inputs)
        # An encoder or an opset that cannot be exported is found out now, not after training.
        export_onnx(exportable(config, inputs), opset=config.export.opset)
        transformers.set_seed(config.seed)  # the heads' first weights
        model = LabelAttentionModel(encoder, inputs.tasks.size, dropout=config.model.dropout)
        model.start_at(prior_log_odds(rows.targets, inputs.tasks))
        if config.model.freeze_word_embeddings:
            model.freeze_word_embeddings()
        device, threads = device_for_training().type, torch.get_num_threads()
        self.say(f"training in {precision} on {device}, {threads} threads")
        with ProgressReport(self.console) as report:
            return fit(
                model,
                rows,
                loss,
                validation,
                collator=Collator(inputs.encoding),
                config=config.training,
                seed=config.seed,
                precision=precision,
                folder=self.work.checkpoints,
                on_epoch=self.on_epoch,
                callbacks=[report],
            )

    def on_epoch(self, epoch: Epoch) -> None:
        """Say how it goes, and send it."""
        self.say(epoch_line(epoch, self.config.training.epochs))
        self.tracked.send_epochs((epoch,))

    def evaluate(self, engine: Engine, choice: Choice) -> dict[str, Evaluation]:
        """Measure the model as it will be served, with its decisions and evidence.

        Where it is quantised, ``fp32_test`` says what that costs. The resamples are those of
        ``tactful evaluate``, whatever seed the training has.
        """
        measured = {"validation": self.read_split(engine, "validation")}
        fp32 = choice.measured[0]
        if choice.shipped is not fp32:
            measured["fp32_test"] = self.read_split(as_served(fp32, self.inputs), "test")
        measured["test"] = self.read_split(engine, "test")  # last: what the model card speaks of
        return measured

    def read_split(self, engine: Engine, split: str) -> Evaluation:
        """Read a split with an engine, as serving does."""
        return evaluate_classifier(
            Classifier(engine),
            self.inputs.rows[split],
            resamples=self.config.evaluation.resamples,
        )

    def say(self, line: str) -> None:
        """Print a line of progress."""
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def warn(self, line: str) -> None:
        """Print a line that somebody should read."""
        self.console.print(
            f"warning: {line}", style="yellow", highlight=False, markup=False, soft_wrap=True
        )
