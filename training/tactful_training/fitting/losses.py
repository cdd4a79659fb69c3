"""What training minimises: a loss for each task and one for the evidence."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from tactful.reading.tasks import Tasks

EVIDENCE = "evidence"
"""Name of the evidence loss among the parts."""


class Loss:
    """The weighted sum of the tasks' losses and the evidence loss.

    Args:
        tasks: the tasks of the label axis ``L``.
        task_weights: task name to factor; a task that is not named weighs 1, a name that is no
            task of this data set is of no consequence (configs extend each other).
        evidence_weight: factor of the evidence loss.
        label_smoothing: share of each single task's target that is spread over all its labels
            (Szegedy et al. 2016); 0 to measure.
    """

    def __init__(
        self,
        tasks: Tasks,
        task_weights: Mapping[str, float],
        evidence_weight: float,
        label_smoothing: float = 0.0,
    ) -> None:
        self.tasks = tasks
        self.weights = {task.name: task_weights.get(task.name, 1.0) for task in tasks}
        self.evidence_weight = evidence_weight
        self.label_smoothing = label_smoothing

    def __call__(
        self,
        logits: Tensor,
        targets: Tensor,
        token_scores: Tensor,
        marks: Tensor,
        counts: Tensor,
        weights: Tensor | float = 1.0,
        token_weights: Tensor | float = 1.0,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss of rows.

        Args:
            logits: float ``[R, L]``, windows combined.
            targets: float ``[R, L]``, NaN where a task is unknown.
            token_scores: float ``[N, L]``, of reply tokens only.
            marks: float ``[N, L]``, 1 where a token is marked as evidence of the label.
            counts: float ``[N, L]``, 1 where the token's row has evidence of the label.
            weights: float ``[R, 1]``, what each row weighs; 1 on average over the training rows.
            token_weights: float ``[N, 1]``, that of each token's row.

        Returns:
            The scalar to minimise, and its unweighted parts by task name and ``evidence``.
        """
        parts = task_losses(logits, targets, self.tasks, self.label_smoothing, weights)
        total = torch.stack([self.weights[name] * part for name, part in parts.items()]).sum()
        parts[EVIDENCE] = evidence_loss(token_scores, marks, counts, token_weights)
        return total + self.evidence_weight * parts[EVIDENCE], parts


def combine_windows(
    window_logits: Tensor, row_of_window: Tensor, reply_tokens: Tensor, tasks: Tasks
) -> Tensor:
    """As serving's `combine_windows`, for the windows of many rows and with gradients.

    Args:
        window_logits: float ``[W, L]``.
        row_of_window: int64 ``[W]``, 0 … R-1 without a gap, never decreasing.
        reply_tokens: ``[W]``, number of reply tokens in each window.
        tasks: the tasks of the label axis.

    Returns:
        float ``[R, L]``.
    """
    windows, rows = len(row_of_window), int(row_of_window[-1]) + 1
    if windows == rows:
        return window_logits
    index = row_of_window.unsqueeze(1)
    largest = window_logits.new_zeros(rows, window_logits.shape[1]).scatter_reduce(
        0, index.expand_as(window_logits), window_logits, "amax", include_self=False
    )
    tokens = reply_tokens.to(window_logits.dtype).clamp(min=1)
    total = tokens.new_zeros(rows).index_add(0, row_of_window, tokens)
    share = (tokens / total[row_of_window]).unsqueeze(1)
    mean = torch.zeros_like(largest).index_add(0, row_of_window, share * window_logits)
    stretches = [
        (mean if task.kind == "single" else largest)[:, tasks.slices[task.name]] for task in tasks
    ]
    return torch.cat(stretches, dim=1)


def task_losses(
    logits: Tensor,
    targets: Tensor,
    tasks: Tasks,
    label_smoothing: float = 0.0,
    weights: Tensor | float = 1.0,
) -> dict[str, Tensor]:
    """Mean loss of each task over what is known of it; 0 where nothing is.

    Binary cross-entropy for a multilabel task, cross-entropy for a single one.

    Args:
        logits: float ``[R, L]``.
        targets: float ``[R, L]``, NaN where a task is unknown.
        tasks: the tasks of the label axis.
        label_smoothing: as for `Loss`.
        weights: as for `Loss`.
    """
    losses = {}
    for task in tasks:
        at = tasks.slices[task.name]
        z, known = logits[:, at], ~targets[:, at].isnan()
        y = targets[:, at].nan_to_num()
        if task.kind == "single":
            y = (1 - label_smoothing) * y + label_smoothing / y.shape[1]
            each = -(y * z.log_softmax(dim=1)).sum(dim=1, keepdim=True)
            counted = known.all(dim=1, keepdim=True)
        else:
            each, counted = binary_cross_entropy_with_logits(z, y, reduction="none"), known
        losses[task.name] = _mean(each * weights, counted.to(z.dtype))
    return losses


def evidence_loss(
    token_scores: Tensor, marks: Tensor, counts: Tensor, weights: Tensor | float = 1.0
) -> Tensor:
    """Mean binary cross-entropy of token scores against marked words; all ``[N, L]``.

    Args:
        token_scores: of reply tokens only.
        marks: 1 where a token is marked as evidence of the label.
        counts: 1 where the loss counts: the row has evidence of the label. Tokens of a row that
            lacks the label teach nothing about where its words stand.
        weights: ``[N, 1]``, of each token's row.
    """
    each = binary_cross_entropy_with_logits(token_scores, marks, reduction="none")
    return _mean(each * weights, counts)


def _mean(values: Tensor, counted: Tensor) -> Tensor:
    return (values * counted).sum() / counted.sum().clamp(min=1)
