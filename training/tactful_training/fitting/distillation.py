"""What a student learns from its teacher, beside the labels.

Of the logits of each task: binary cross-entropy with the teacher's probabilities, for a single task
the divergence at a temperature (Hinton et al. 2015). Of the token scores: binary cross-entropy too,
where the teacher thinks that the label is there. Of what is inside, layer by layer: mean squared
error of hidden states (TinyBERT, Jiao et al. 2020) and divergence of attention distributions
(MiniLM, Wang et al. 2020). The least that a cross-entropy can be is taken off, so that a student
which says what its teacher says has no loss; gradients are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss

from tactful.reading.tasks import Tasks
from tactful_training.config.config_schema import DistillConfig
from tactful_training.fitting.encoder_layers import depth
from tactful_training.fitting.model import LabelAttentionModel, States
from tactful_training.fitting.teacher import Teacher, layers_of_teacher

_PREFIX = "teacher_"
"""Of the names of the parts."""
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class Distillation:
    """The loss against a teacher.

    Args:
        tasks: the tasks of the label axis.
        task_weights: factor on each task's part, 1 where there is none.
        config: weights of the parts, the temperature.
        teacher: who is asked in each step where the config wants its hidden states or attention.
    """

    def __init__(
        self,
        tasks: Tasks,
        task_weights: Mapping[str, float],
        config: DistillConfig,
        teacher: Teacher | None = None,
    ) -> None:
        self._tasks, self._task_weights, self._config = tasks, task_weights, config
        self._teacher = teacher if config.reads_states else None

    @property
    def label_weight(self) -> float:
        """Factor on the loss against the labels."""
        return self._config.label_weight

    def student_states(self) -> States | None:
        """What the student's states are to be put in; None where they are of no interest."""
        return None if self._teacher is None else States()

    def __call__(
        self,
        model: LabelAttentionModel,
        inputs: Mapping[str, Tensor],
        logits: Tensor,
        token_scores: Tensor,
        states: States | None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss of a batch.

        Args:
            model: the student.
            inputs: the batch, with ``soft_logits`` and ``soft_scores``.
            logits: the student's, ``[R, L]``.
            token_scores: the student's, ``[N, L]``.
            states: the student's.

        Returns:
            The scalar to add, and its unweighted parts.
        """
        soft = inputs["soft_logits"]
        config, total = self._config, logits.new_zeros(())
        parts = {}
        for name, part in logit_losses(logits, soft, self._tasks, config.temperature).items():
            parts[_PREFIX + name] = part
            total = total + config.logits_weight * self._task_weights.get(name, 1.0) * part
        if config.token_weight:
            rows = _row_of_token(inputs)
            chances = presence(soft, self._tasks)[rows]
            parts[f"{_PREFIX}tokens"] = token_loss(token_scores, inputs["soft_scores"], chances)
            total = total + config.token_weight * parts[f"{_PREFIX}tokens"]
        if self._teacher is not None and states is not None:
            theirs = self._teacher.states({name: inputs[name] for name in _INPUTS})
            layers = layers_of_teacher(config, *self._depths(model, self._teacher))
            mask = inputs["attention_mask"]
            if config.hidden_weight:
                part = hidden_loss(states.hidden, [theirs.hidden[at] for at in layers], mask)
                parts[f"{_PREFIX}hidden"] = part
                total = total + config.hidden_weight * part
            if config.attention_weight:
                chosen = [theirs.attention[at] for at in layers]
                parts[f"{_PREFIX}attention"] = attention_loss(states.attention, chosen, mask)
                total = total + config.attention_weight * parts[f"{_PREFIX}attention"]
        return total, parts

    @staticmethod
    def _depths(model: LabelAttentionModel, teacher: Teacher) -> tuple[int, int]:
        return depth(model.encoder.config), depth(teacher.model.encoder.config)


def logit_losses(
    logits: Tensor, soft: Tensor, tasks: Tasks, temperature: float
) -> dict[str, Tensor]:
    """Mean loss of each task over what the teacher says of it; 0 where it says nothing.

    Args:
        logits: the student's, float ``[R, L]``.
        soft: the teacher's, NaN where it says nothing.
        tasks: the tasks of the label axis.
        temperature: divides the logits of single tasks; their loss is scaled by its square, so that
            gradients keep their size.
    """
    losses = {}
    for task in tasks:
        at = tasks.slices[task.name]
        z, known = logits[:, at], ~soft[:, at].isnan()
        t = soft[:, at].nan_to_num()
        if task.kind == "single":
            theirs = (t / temperature).log_softmax(dim=1)
            ours = (z / temperature).log_softmax(dim=1)
            each = (theirs.exp() * (theirs - ours)).sum(dim=1) * temperature**2
            losses[task.name] = _mean(each, known.all(dim=1))
        else:
            losses[task.name] = _mean(_divergence(z, t), known)
    return losses


def presence(soft: Tensor, tasks: Tasks) -> Tensor:
    """The teacher's probability of each label, ``[R, L]``, NaN where it says nothing."""
    stretches = []
    for task in tasks:
        z = soft[:, tasks.slices[task.name]]
        stretches.append(z.softmax(dim=1) if task.kind == "single" else z.sigmoid())
    return torch.cat(stretches, dim=1)


def token_loss(token_scores: Tensor, soft: Tensor, chances: Tensor) -> Tensor:
    """Mean loss of token scores; all ``[N, L]``.

    Args:
        token_scores: the student's, of reply tokens only.
        soft: the teacher's, NaN where it says nothing.
        chances: the teacher's probability that the token's row has the label, which is what the
            token weighs: where a label is not, the words say nothing of where it stands.
    """
    known = ~(soft.isnan() | chances.isnan())
    return _mean(_divergence(token_scores, soft.nan_to_num()), chances.nan_to_num() * known)


def hidden_loss(ours: Sequence[Tensor], theirs: Sequence[Tensor], mask: Tensor) -> Tensor:
    """Mean squared error of hidden states ``[W, T, D]``, over layers and tokens, no padding."""
    parts = []
    for student, teacher in zip(ours, theirs, strict=True):
        gaps = mse_loss(student.float(), teacher.float(), reduction="none").mean(dim=-1)
        parts.append(_mean(gaps, mask))
    return torch.stack(parts).mean()


def attention_loss(ours: Sequence[Tensor], theirs: Sequence[Tensor], mask: Tensor) -> Tensor:
    """Mean divergence of attention ``[W, heads, T, T]``, over layers, heads and tokens."""
    parts = []
    for student, teacher in zip(ours, theirs, strict=True):
        least = torch.finfo(torch.float32).tiny
        p, q = teacher.float(), student.float()
        each = (p * (p.clamp(min=least).log() - q.clamp(min=least).log())).sum(dim=-1)
        parts.append(_mean(each.mean(dim=1), mask))
    return torch.stack(parts).mean()


def _divergence(z: Tensor, t: Tensor) -> Tensor:
    """Kullback-Leibler divergence of two coins, from their log-odds: ours and the teacher's."""
    chances = t.sigmoid()
    cross = binary_cross_entropy_with_logits(z, chances, reduction="none")
    return cross - binary_cross_entropy_with_logits(t, chances, reduction="none")


def _row_of_token(inputs: Mapping[str, Tensor]) -> Tensor:
    return torch.repeat_interleave(inputs["row_of_window"], inputs["reply_tokens"])


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    weights = weights.to(values.dtype)
    return (values * weights).sum() / weights.sum().clamp(min=1)
