"""From rows to what the model is trained on: windows, targets and marked tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from tactful.reading.decisions import Floats
from tactful.reading.encoding import Encoded, ReplyEncoding, Window
from tactful.reading.tasks import Tasks
from tactful_training.data.labelled_row import Row, targets
from tactful_training.fitting.soft_labels import SoftLabels, of_labels

# Batches of one length are cut from stretches of this many batches, so that which rows meet
# in a batch still differs from epoch to epoch.
_STRETCH = 50


@dataclass(frozen=True, eq=False, slots=True)
class Example:
    """One row, ready for the model.

    Attributes:
        encoded: its windows.
        targets: float32 ``[L]``, NaN where a task is unknown.
        marks: bool ``[n, L]``, whether each reply token is marked as evidence of each label.
        soft_logits: float32 ``[L]``, a teacher's, NaN where it says nothing; None without one.
        soft_scores: float16 ``[n, L]``, its token scores; likewise.
        weight: of the row in the loss.
    """

    encoded: Encoded
    targets: Floats
    marks: npt.NDArray[np.bool_]
    soft_logits: Floats | None = None
    soft_scores: npt.NDArray[np.float16] | None = None
    weight: float = 1.0


def encode_rows(rows: Sequence[Row], encoding: ReplyEncoding, tasks: Tasks) -> list[Example]:
    """Encode rows with their targets and marked tokens."""
    pairs = [(row.reply, row.context) for row in rows]
    table = targets(rows, tasks)
    return [
        Example(encoded, target, mark_tokens(row, encoded.offsets, tasks))
        for row, encoded, target in zip(rows, encoding.encode(pairs), table, strict=True)
    ]


def _taught(example: Example, soft: SoftLabels | None, tasks: Tasks) -> Example:
    """An example with a teacher's numbers.

    Of a row that it was not asked about the labels take their place: one that is learnt from its
    labels alone would otherwise weigh a third of the others (`distill.label_weight`).
    """
    offsets = example.encoded.offsets
    if soft is None:
        soft = of_labels(example.targets, offsets, example.marks, tasks)
    return replace(example, soft_logits=soft.logits, soft_scores=soft.at(offsets))


def mark_tokens(row: Row, offsets: npt.NDArray[np.int32], tasks: Tasks) -> npt.NDArray[np.bool_]:
    """Which reply tokens overlap the row's evidence.

    Args:
        row: the row.
        offsets: int32 ``[n, 2]``, start and end of each token in code points of the reply.
        tasks: the tasks of the label axis.

    Returns:
        bool ``[n, L]``.
    """
    marks = np.zeros((len(offsets), tasks.size), dtype=np.bool_)
    for span in row.evidence:
        inside = (offsets[:, 0] < span.end) & (offsets[:, 1] > span.start)
        marks[:, tasks.columns[span.task, span.label]] |= inside
    return marks


class TrainingRows(Dataset[Example]):
    """The training split; in each epoch some rows come without their context, some tokens masked.

    Which ones depends on the seed and the epoch alone, never on what was drawn before, so that a
    run resumed in the middle of an epoch sees the same rows as one that was never interrupted.

    Args:
        rows: the rows.
        encoding: how they are read.
        tasks: the tasks of the label axis.
        weights: what each row weighs in the loss; None weighs all of them 1.
        context_dropout: share of the rows that are read without it.
        token_dropout: share of the tokens that are read as the mask token.
        mask_id: id of that token.
        seed: of the choices.
        soft: what a teacher says of each row, of all of its tokens and its context; None of those
            that it was not asked about, whose labels take its place. Without a teacher None.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        encoding: ReplyEncoding,
        tasks: Tasks,
        *,
        weights: npt.NDArray[np.float32] | None = None,
        context_dropout: float,
        token_dropout: float = 0.0,
        mask_id: int = 0,
        seed: int,
        soft: Sequence[SoftLabels | None] | None = None,
    ) -> None:
        self.seed = seed
        self._token_dropout = token_dropout
        self._mask_id = mask_id
        self._examples = encode_rows(rows, encoding, tasks)
        if soft is not None:
            pairs = zip(self._examples, soft, strict=True)
            self._examples = [_taught(example, each, tasks) for example, each in pairs]
        if weights is not None:
            self._examples = [
                replace(example, weight=float(weight))
                for example, weight in zip(self._examples, weights, strict=True)
            ]
        self._bare = [example.encoded for example in self._examples]
        self._share = context_dropout
        if self._share:
            self._bare = encoding.encode([(row.reply, None) for row in rows])
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Choose what is left out in this epoch."""
        self.epoch = epoch
        draws = np.random.default_rng((self.seed, epoch)).random(len(self._examples))
        self._without: npt.NDArray[np.bool_] = draws < self._share

    @property
    def lengths(self) -> list[int]:
        """Tokens of each row in all its windows, for batches of one length."""
        return [
            sum(len(window.input_ids) for window in example.encoded.windows)
            for example in self._examples
        ]

    @property
    def targets(self) -> Floats:
        """Float32 ``[R, L]``, NaN where a task is unknown."""
        return np.stack([example.targets for example in self._examples])

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> Example:
        example = self._examples[index]
        if self._without[index]:
            # The same reply tokens, hence the same marks.
            example = replace(example, encoded=self._bare[index])
        if not self._token_dropout:
            return example
        draw = np.random.default_rng((self.seed, self.epoch, 2, index))
        windows = tuple(self._masked(window, draw) for window in example.encoded.windows)
        return replace(example, encoded=replace(example.encoded, windows=windows))

    def _masked(self, window: Window, draw: np.random.Generator) -> Window:
        hidden = draw.random(len(window.input_ids)) < self._token_dropout
        hidden[[0, window.reply_at - 1, -1]] = False  # what holds the window together
        return replace(window, input_ids=np.where(hidden, self._mask_id, window.input_ids))


class LengthGroups(Sampler[int]):
    """Row indices such that the rows of a batch have about one length, batches in random order.

    As transformers' ``group_by_length``, but seeded by epoch (a resumed epoch goes on in the same
    order) and without its descent from long batches to short ones within each stretch.
    """

    def __init__(self, rows: TrainingRows, batch_size: int) -> None:
        self._rows = rows
        self._lengths = np.array(rows.lengths)
        self._batch_size = batch_size

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        random = np.random.default_rng((self._rows.seed, self._rows.epoch, 1))
        order = random.permutation(len(self._lengths))
        size = self._batch_size
        batches: list[npt.NDArray[np.int64]] = []
        for start in range(0, len(order), size * _STRETCH):
            stretch = order[start : start + size * _STRETCH]
            stretch = stretch[np.argsort(-self._lengths[stretch], kind="stable")]
            batches += [stretch[at : at + size] for at in range(0, len(stretch), size)]
        # Batches are cut from one sequence: only the very last may be smaller than the others.
        rest = [batches.pop()] if len(batches[-1]) < size else []
        random.shuffle(batches)
        return iter(np.concatenate(batches + rest).tolist())


@dataclass(frozen=True)
class Collator:
    """Flattens the windows of rows into one batch of tensors.

    The tensors: ``input_ids``, ``attention_mask`` and ``token_type_ids`` int64 ``[W, T]``;
    ``row_of_window`` and ``reply_tokens`` int64 ``[W]``; ``is_reply`` bool ``[W, T]``; ``targets``
    float ``[R, L]``; ``weights`` float ``[R, 1]``; ``marks`` and ``counts`` float ``[N, L]`` and
    ``token_weights`` float ``[N, 1]`` for the ``N`` positions where ``is_reply``, in that order
    (see `tactful_training.fitting.losses.Loss`). With a teacher also ``soft_logits`` float
    ``[R, L]`` and ``soft_scores`` float ``[N, L]``, likewise.
    """

    encoding: ReplyEncoding

    def __call__(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Collate the examples of one batch."""
        windows = [window for example in examples for window in example.encoded.windows]
        batch = self.encoding.collate(windows)
        is_reply = np.zeros(batch.input_ids.shape, dtype=np.bool_)
        for row, window in enumerate(windows):
            is_reply[row, window.reply_at : window.reply_at + window.size] = True
        weights = np.array([[example.weight] for example in examples], dtype=np.float32)
        row_of_window = np.repeat(
            np.arange(len(examples)), [len(example.encoded.windows) for example in examples]
        )
        marks, counts, soft_scores = [], [], []
        for example in examples:
            has_evidence = example.marks.any(axis=0)
            for window in example.encoded.windows:
                at = slice(window.first, window.first + window.size)
                marks.append(example.marks[at])
                if example.soft_scores is not None:
                    soft_scores.append(example.soft_scores[at])
                counts.append(np.broadcast_to(has_evidence, marks[-1].shape))
        arrays = {
            "input_ids": batch.input_ids,
            "attention_mask": batch.attention_mask,
            "token_type_ids": batch.token_type_ids,
            "row_of_window": row_of_window,
            "reply_tokens": np.array([window.size for window in windows]),
            "is_reply": is_reply,
            "targets": np.stack([example.targets for example in examples]),
            "marks": np.concatenate(marks).astype(np.float32),
            "counts": np.concatenate(counts).astype(np.float32),
            "weights": weights,
            "token_weights": weights[row_of_window].repeat([w.size for w in windows], axis=0),
        }
        taught = [each.soft_logits for each in examples if each.soft_logits is not None]
        if taught:
            arrays["soft_logits"] = np.stack(taught)
            arrays["soft_scores"] = np.concatenate(soft_scores).astype(np.float32)
        return {name: torch.from_numpy(array) for name, array in arrays.items()}
