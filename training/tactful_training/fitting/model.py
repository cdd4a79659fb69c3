"""The model: an encoder with label-wise attention heads (cf. Mullenbach et al. 2018, CAML).

Every label looks at the reply's tokens with an attention of its own and gives every token a score
of its own; its logit is the attention-weighted sum of the token scores. The same token scores,
supervised with marked words, are the evidence.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tactful.reading.batches import Forward
from tactful.reading.decisions import Floats
from tactful.reading.encoding import Batch
from tactful.reading.tasks import Tasks

# Far below any attention logit, and finite, so that a softmax over masked positions has no NaN.
_MASKED = -1e4


@dataclass
class States:
    """What an encoder has inside for one batch, where somebody asks for it.

    Attributes:
        hidden: float ``[W, T, D]`` after each layer.
        attention: float ``[W, heads, T, T]`` of each layer, after the softmax; empty unless the
            encoder was loaded with eager attention.
    """

    hidden: tuple[Tensor, ...] = ()
    attention: tuple[Tensor, ...] = ()


class LabelAttentionModel(nn.Module):
    """An encoder and, for each of ``L`` labels, an attention and a token score.

    Attention starts at zero, which is the mean over the reply.

    Args:
        encoder: gives hidden states ``[W, T, D]``.
        labels: length of the label axis ``L``.
        dropout: share of the hidden states that the heads do not see in training.
    """

    def __init__(self, encoder: PreTrainedModel, labels: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        width = int(encoder.config.hidden_size)
        self.encoder = encoder
        self.dropout = Dropout(dropout)
        replace_dropout(encoder)
        self.attention = nn.Linear(width, labels, bias=False)
        self.scores = nn.Linear(width, labels)
        nn.init.zeros_(self.attention.weight)
        nn.init.normal_(self.scores.weight, std=0.02)
        nn.init.zeros_(self.scores.bias)
        self._feeds_types = takes_token_types(encoder)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor,
        states: States | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Score windows.

        Args:
            input_ids: int64 ``[W, T]``.
            attention_mask: int64 ``[W, T]``, 0 on padding.
            token_type_ids: int64 ``[W, T]``, 1 on the reply and its closing separator.
            states: filled with what the encoder has inside; None where nobody asks.

        Returns:
            Logits ``[W, L]`` and token scores ``[W, T, L]``, both fp32.
        """
        options: dict[str, Any] = {"token_type_ids": token_type_ids} if self._feeds_types else {}
        if states is not None:
            options["output_hidden_states"] = True
            options["output_attentions"] = self.encoder.config._attn_implementation == "eager"
        output = self.encoder(input_ids=input_ids, attention_mask=attention_mask, **options)
        hidden = output.last_hidden_state
        if states is not None:
            states.hidden = output.hidden_states[1:]  # the first is the embedding
            states.attention = output.attentions or ()
        # Under autocast, too, the heads compute in fp32: they are cheap, and their sums are long.
        with torch.autocast(hidden.device.type, enabled=False):
            hidden = self.dropout(hidden.float())
            scores = self.scores(hidden)
            elsewhere = (token_type_ids * attention_mask) == 0
            attention = self.attention(hidden).masked_fill(elsewhere.unsqueeze(-1), _MASKED)
            logits = (attention.softmax(dim=1) * scores).sum(dim=1)
        return logits, scores

    def start_at(self, log_odds: Floats) -> None:
        """Set the biases of the token scores, so that training starts at the labels' base rates.

        Args:
            log_odds: float32 ``[L]``, see `prior_log_odds`.
        """
        with torch.no_grad():
            self.scores.bias.copy_(torch.from_numpy(log_odds))

    def freeze_word_embeddings(self) -> None:
        """Keep the embedding table as it was pretrained."""
        self.encoder.get_input_embeddings().weight.requires_grad_(False)


def takes_token_types(encoder: PreTrainedModel) -> bool:
    """Whether the encoder tells context and reply apart by segment ids."""
    known = int(getattr(encoder.config, "type_vocab_size", 0) or 0)
    return known >= 2 and "token_type_ids" in inspect.signature(encoder.forward).parameters


def prior_log_odds(targets: Floats, tasks: Tasks) -> Floats:
    """Base rates as biases: log-odds of multilabel labels, log shares of single ones.

    Half a count is added on either side, so that a label which is always or never there stays
    finite and one whose task is unknown everywhere starts in the middle.

    Args:
        targets: float32 ``[R, L]``, NaN where unknown.
        tasks: the tasks of the label axis.

    Returns:
        float32 ``[L]``.
    """
    known = ~np.isnan(targets)
    positives = np.where(known, targets, 0).sum(axis=0, dtype=np.float64) + 0.5
    priors: Floats = np.log(positives / (known.sum(axis=0) + 1 - positives)).astype(np.float32)
    for task in tasks:
        if task.kind == "single":
            at = tasks.slices[task.name]
            priors[at] = np.log(positives[at] / positives[at].sum())
    return priors


def torch_forward(model: nn.Module) -> Forward:
    """Make the model usable by `run_rows`; put it in evaluation mode first."""
    device = next(model.parameters()).device

    def forward(batch: Batch) -> tuple[Floats, Floats]:
        inputs = (batch.input_ids, batch.attention_mask, batch.token_type_ids)
        with torch.inference_mode():
            logits, scores = model(*(torch.from_numpy(array).to(device) for array in inputs))
        return logits.float().cpu().numpy(), scores.float().cpu().numpy()

    return forward


_STEPS = 256  # of a byte


class Dropout(nn.Dropout):
    """`torch.nn.Dropout` that draws one random byte for each value.

    On a processor PyTorch draws these numbers one after the other from 32-bit words: at two cores
    a seventh of a training step of the default model. Eight values share a 64-bit draw here. The
    rate is rounded to 1/256, and kept values are scaled by the rounded one, so that the expected
    output is the input, as ever (Srivastava et al. 2014).
    """

    def forward(self, input: Tensor) -> Tensor:
        """Zero a share ``p`` of the values, of any shape, and scale up the others."""
        dropped = round(self.p * _STEPS)
        if not self.training or not dropped:
            return input
        draws = torch.empty((input.numel() + 7) // 8, dtype=torch.int64, device=input.device)
        draws.random_(torch.iinfo(torch.int64).min, None)
        values = draws.view(torch.uint8)[: input.numel()].view(input.shape)
        scale = _STEPS / (_STEPS - dropped)
        return input * (values >= dropped).to(input.dtype).mul_(scale)


def replace_dropout(module: nn.Module) -> None:
    """Put `Dropout` in the place of every `torch.nn.Dropout` within a module."""
    for name, child in module.named_children():
        if type(child) is nn.Dropout:
            setattr(module, name, Dropout(child.p))
        else:
            replace_dropout(child)
