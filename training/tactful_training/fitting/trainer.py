"""Training on `transformers.Trainer`: resumable, seeded, the best epoch restored."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    EarlyStoppingCallback,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from tactful_training.config.config_schema import TrainingConfig
from tactful_training.fitting.distillation import Distillation
from tactful_training.fitting.encoder import quiet_transformers
from tactful_training.fitting.epochs import TRAIN_PREFIX, VALIDATION_PREFIX, Epoch, read_epochs
from tactful_training.fitting.hardware import Precision, device_for_training
from tactful_training.fitting.losses import Loss, combine_windows
from tactful_training.fitting.model import LabelAttentionModel
from tactful_training.fitting.resuming import Fitted, last_complete, saving
from tactful_training.fitting.training_batches import Collator, LengthGroups, TrainingRows
from tactful_training.fitting.validation_score import SCORE
from tactful_training.fitting.weight_averaging import WeightAverage

# What is lost at most when a run is killed; a checkpoint of the default model takes 0.3 s.
CHECKPOINT_SECONDS = 60.0


def fit(
    model: LabelAttentionModel,
    rows: TrainingRows,
    loss: Loss,
    validate: Callable[[nn.Module], Mapping[str, float]],
    *,
    collator: Collator,
    config: TrainingConfig,
    seed: int,
    precision: Precision,
    folder: Path,
    on_epoch: Callable[[Epoch], None],
    validate_start: bool = False,
    distillation: Distillation | None = None,
    callbacks: Sequence[TrainerCallback] = (),
) -> Fitted:
    """Train, going on from the last complete checkpoint in ``folder`` if there is one.

    Args:
        model: with its weights at the start; changed in place.
        rows: the training split.
        loss: what to minimise.
        validate: from the model in evaluation mode to metrics, of which ``score`` (greater is
            better) decides about the best epoch and early stopping.
        collator: makes batches of rows.
        config: optimiser and schedule.
        seed: of dropout and the order of rows.
        precision: of autocast.
        folder: where checkpoints go.
        on_epoch: called after each epoch.
        validate_start: whether to validate before the first step, too; as epoch 0.
        distillation: what to learn from a teacher as well; the rows then hold its numbers.
        callbacks: for progress on the screen.
    """
    steps = math.ceil(len(rows) / config.batch_size) * config.epochs
    checkpoint = last_complete(folder)
    average = WeightAverage(model, config.weight_averaging)
    if checkpoint is not None:
        average.load(checkpoint)
    with quiet_transformers():
        trainer = _LabelTrainer(
            model=model,
            args=_arguments(config, seed=seed, precision=precision, folder=folder, steps=steps),
            rows=rows,
            data_collator=collator,
            callbacks=[
                _TimedCheckpoints(),
                average,
                EarlyStoppingCallback(config.early_stopping_patience),
                *callbacks,
            ],
            loss=loss,
            distillation=distillation,
            average=average,
            validate=validate,
            on_epoch=on_epoch,
            head_factor=config.head_learning_rate_factor,
            folder=folder,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.args.eval_on_start = validate_start and checkpoint is None
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    state = trainer.state
    averaged = _better(model, average, validate, state.best_metric)
    best = state.best_global_step or state.global_step
    per_epoch = math.ceil(len(rows) / config.batch_size)
    return Fitted.of(
        {name: value.detach().cpu() for name, value in model.state_dict().items()},
        read_epochs(state.log_history),
        math.ceil(best / per_epoch),
        averaged=averaged,
    )


def _better(
    model: LabelAttentionModel,
    average: WeightAverage,
    validate: Callable[[nn.Module], Mapping[str, float]],
    score: float | None,
) -> float | None:
    """Take the mean weights where they validate better than the best epoch.

    Returns:
        Their score if they are taken.
    """
    mean = average.weights()
    if mean is None:
        return None
    best = {name: value.detach().clone() for name, value in model.state_dict().items()}
    model.load_state_dict(mean)
    model.eval()
    found = validate(model)[SCORE]
    if score is not None and found <= score:
        model.load_state_dict(best)
        return None
    return found


def _arguments(
    config: TrainingConfig, *, seed: int, precision: Precision, folder: Path, steps: int
) -> TrainingArguments:
    on_cpu = device_for_training().type == "cpu"
    arguments = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        lr_scheduler_type="linear",
        warmup_steps=math.ceil(steps * config.warmup_fraction),
        train_sampling_strategy="group_by_length",
        optim="adamw_torch_fused",
        bf16=precision == "bf16",
        use_cpu=on_cpu,
        seed=seed,
        eval_strategy="epoch",
        save_strategy="epoch",
        logging_strategy="epoch",
        # The best and the newest: rotation keeps one whole checkpoint at every moment.
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model=SCORE,
        greater_is_better=True,
        restore_callback_states_from_checkpoint=True,
        remove_unused_columns=False,
        dataloader_pin_memory=not on_cpu,
        disable_tqdm=True,
        report_to="none",
        log_level="error",
    )
    # Several GPUs would make the Trainer split batches by windows, which rows do not survive.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


class _LabelTrainer(Trainer):
    """A Trainer with our loss, parameter groups, order of rows and validation."""

    def __init__(
        self,
        *,
        model: LabelAttentionModel,
        rows: TrainingRows,
        loss: Loss,
        distillation: Distillation | None,
        average: WeightAverage,
        validate: Callable[[nn.Module], Mapping[str, float]],
        on_epoch: Callable[[Epoch], None],
        head_factor: float,
        folder: Path,
        **options: Any,
    ) -> None:
        self._network, self._rows, self._loss = model, rows, loss
        self._distillation, self._average = distillation, average
        self._validate, self._on_epoch = validate, on_epoch
        self._head_factor, self._folder = head_factor, folder
        self._sums: dict[str, Tensor] = {}
        self._batches = 0
        # The Trainer insists on rows to validate on; `evaluate` has its own.
        super().__init__(model=model, train_dataset=rows, eval_dataset=[], **options)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        distillation = self._distillation
        states = None if distillation is None else distillation.student_states()
        window_logits, token_scores = model(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            token_type_ids=inputs["token_type_ids"],
            states=states,
        )
        token_scores = token_scores[inputs["is_reply"]]
        logits = combine_windows(
            window_logits, inputs["row_of_window"], inputs["reply_tokens"], self._loss.tasks
        )
        total, parts = self._loss(
            logits,
            inputs["targets"],
            token_scores,
            inputs["marks"],
            inputs["counts"],
            inputs["weights"],
            inputs["token_weights"],
        )
        if distillation is not None:
            more, learnt = distillation(self._network, inputs, logits, token_scores, states)
            total, parts = distillation.label_weight * total + more, parts | learnt
        for name, part in parts.items():
            self._sums[name] = self._sums.get(name, torch.zeros_like(part)) + part.detach()
        self._batches += 1
        return total

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        if self.optimizer is None:
            groups = parameter_groups(
                self._network,
                learning_rate=self.args.learning_rate,
                head_factor=self._head_factor,
                weight_decay=self.args.weight_decay,
            )
            self.optimizer = torch.optim.AdamW(groups, fused=True)
        return self.optimizer

    def _get_train_sampler(self, train_dataset: Any = None) -> LengthGroups:
        return LengthGroups(self._rows, self.args.train_batch_size)

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Validate through serving's batching instead of a second one."""
        self._network.eval()
        metrics = {
            VALIDATION_PREFIX + name: value for name, value in self._validate(self._network).items()
        }
        self.log(metrics)
        self._on_epoch(read_epochs(self.state.log_history)[-1])
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs and self._batches:
            for name, value in self._sums.items():
                logs[TRAIN_PREFIX + name] = value.item() / self._batches
            self._sums, self._batches = {}, 0
        super().log(logs, start_time)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        with saving(self._folder / f"checkpoint-{self.state.global_step}"):
            super()._save_checkpoint(model, trial)
            self._average.save(self._folder / f"checkpoint-{self.state.global_step}")


def parameter_groups(
    model: nn.Module, *, learning_rate: float, head_factor: float, weight_decay: float
) -> list[dict[str, Any]]:
    """AdamW groups: heads learn ``head_factor`` times as fast; no decay on biases and norms."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            key = (name.startswith("encoder."), parameter.ndim > 1)
            groups.setdefault(key, []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": learning_rate * (1.0 if in_encoder else head_factor),
            "weight_decay": weight_decay if decays else 0.0,
        }
        for (in_encoder, decays), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]


class _TimedCheckpoints(TrainerCallback):
    """Saves within an epoch, too, so that a killed run loses a minute at most."""

    def __init__(self) -> None:
        self._saved = time.monotonic()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        # The last step's checkpoint comes after validation; an earlier one would skip that.
        ends_epoch = state.global_step % (state.max_steps // state.num_train_epochs) == 0
        if time.monotonic() - self._saved > CHECKPOINT_SECONDS and not ends_epoch:
            control.should_save = True

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._saved = time.monotonic()
