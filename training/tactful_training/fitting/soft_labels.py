"""Soft labels: what a teacher says of a training row, as numbers.

They come of a teacher that is asked, of a file of its answers, of several teachers, or of a row's
own labels; the training learns from them beside the labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tactful.reading.decisions import Floats
from tactful.reading.tasks import Tasks

Offsets = npt.NDArray[np.int32]
Doubles = npt.NDArray[np.float64]
DIGITS, TOKEN_DIGITS = 4, 2
"""Decimals of a probability that are kept, of a label and of a token."""
# A probability of 0 or 1 is one that was rounded.
_LEAST, _LEAST_OF_TOKEN = 0.5 * 10.0**-DIGITS, 0.5 * 10.0**-TOKEN_DIGITS
# A label may be a mistake. The shipped teachers give those that a row has 0.945 in the median, and
# those that it lacks 0.036 in the mean.
_SURE = 0.97


@dataclass(frozen=True, eq=False, slots=True)
class SoftLabels:
    """What a teacher says of one row.

    Attributes:
        logits: float32 ``[L]``, NaN where it says nothing of a label; those of a single task may
            all be shifted by a number.
        offsets: int32 ``[m, 2]``, its tokens in code points of the reply.
        token_scores: float16 ``[m, L]``, logits; NaN where it says nothing.
    """

    logits: Floats
    offsets: Offsets
    token_scores: npt.NDArray[np.float16]

    @classmethod
    def of_probabilities(
        cls,
        probabilities: Doubles,
        offsets: Offsets,
        of_tokens: Doubles,
        tasks: Tasks,
    ) -> SoftLabels:
        """Soft labels of probabilities; a 0 or 1 counts as one that was rounded.

        Args:
            probabilities: float64 ``[L]``, those of a single task with the sum 1; NaN where nothing
                is said of a label.
            offsets: int32 ``[m, 2]``, the tokens in code points of the reply.
            of_tokens: float64 ``[m, L]``, that a token stands for a label; NaN where nothing is
                said.
            tasks: the tasks of the label axis.
        """
        logits = _logits(probabilities, _LEAST).astype(np.float32)
        for task in tasks:
            if task.kind == "single":
                at = tasks.slices[task.name]
                logits[at] = np.log(probabilities[at].clip(_LEAST))
        scores = _logits(of_tokens, _LEAST_OF_TOKEN).astype(np.float16)
        return cls(logits, offsets, scores)

    def probabilities(self, tasks: Tasks) -> Doubles:
        """Of each label, float64 ``[L]``; NaN where nothing is said of it."""
        chances = precise_sigmoid(self.logits)
        for task in tasks:
            if task.kind == "single":
                at = tasks.slices[task.name]
                z = self.logits[at].astype(np.float64)
                powers = np.exp(z - z.max())
                chances[at] = powers / powers.sum()
        return chances

    def at(self, offsets: Offsets) -> npt.NDArray[np.float16]:
        """The token scores for other tokens of the same reply.

        Args:
            offsets: int32 ``[n, 2]``, as for the student.

        Returns:
            float16 ``[n, L]``: of each token the mean over the characters that it shares with the
            teacher's tokens; NaN where it shares none.
        """
        if np.array_equal(offsets, self.offsets):
            return self.token_scores
        if not len(self.offsets):
            return np.full((len(offsets), len(self.logits)), np.nan, dtype=np.float16)
        starts, ends = (
            choose(offsets[:, None, end], self.offsets[None, :, end])
            for end, choose in ((0, np.maximum), (1, np.minimum))
        )
        shared = (ends - starts).clip(0).astype(np.float32)
        with np.errstate(invalid="ignore"):  # 0 / 0: shares no character
            shares = shared / shared.sum(axis=1, keepdims=True)
        mapped: npt.NDArray[np.float16] = (shares @ self.token_scores).astype(np.float16)
        return mapped


def mean_of(teachers: Sequence[SoftLabels], tasks: Tasks) -> SoftLabels:
    """What an ensemble says of a row: the mean of its members' probabilities.

    Args:
        teachers: what each says, for tokens of its own; who says nothing of a label or a token has
            no part in its mean.
        tasks: the tasks of the label axis.

    Returns:
        For the tokens of the first one.
    """
    first, *others = teachers
    if not others:
        return first
    chances = _known_mean([each.probabilities(tasks) for each in teachers])
    scores = [each.at(first.offsets) for each in teachers]
    words = _known_mean([precise_sigmoid(each) for each in scores])
    mean = SoftLabels.of_probabilities(chances, first.offsets, words, tasks)
    # Where the first one alone speaks its logits stay what they are, beyond what a mean may be.
    silent = np.isnan([each.logits for each in others]).all(axis=0)
    silent_of_words = np.isnan(scores[1:]).all(axis=0)
    return SoftLabels(
        np.where(silent, first.logits, mean.logits),
        first.offsets,
        np.where(silent_of_words, first.token_scores, mean.token_scores),
    )


def of_labels(
    targets: Floats, offsets: Offsets, marks: npt.NDArray[np.bool_], tasks: Tasks
) -> SoftLabels:
    """What a teacher would say that thinks as the labels do, `_SURE` of each.

    Args:
        targets: float32 ``[L]``, NaN where a task is unknown.
        offsets: int32 ``[n, 2]``, the tokens in code points of the reply.
        marks: bool ``[n, L]``, whether a token is marked as evidence; a label without a mark says
            nothing of where it stands.
        tasks: the tasks of the label axis.
    """
    held, chances = targets > 0, np.where(np.isnan(targets), np.nan, 1 - _SURE)
    for task in tasks:
        if task.kind == "single":
            chances[tasks.slices[task.name]] /= max(1, len(task.names) - 1)
    chances[held] = _SURE
    words = np.where(marks.any(axis=0), np.where(marks, _SURE, 1 - _SURE), np.nan)
    return SoftLabels.of_probabilities(chances, offsets, words, tasks)


def precise_sigmoid(z: npt.NDArray[np.floating]) -> Doubles:
    """Probabilities of logits, float64 of the same shape.

    `tactful.reading.decisions.sigmoid` gives float32: files that are written again would differ in
    their last digits.
    """
    chances: Doubles = 1 / (1 + np.exp(-z.astype(np.float64)))
    return chances


def _known_mean(values: Sequence[Doubles]) -> Doubles:
    """Mean over the first axis of what is no NaN; NaN where all are."""
    table = np.stack(values)
    known = ~np.isnan(table)
    with np.errstate(invalid="ignore"):  # 0 / 0: nobody says anything
        mean: Doubles = np.where(known, table, 0).sum(axis=0) / known.sum(axis=0)
    return mean


def _logits(chances: Doubles, least: float) -> Doubles:
    clipped = chances.clip(least, 1 - least)
    logits: Doubles = np.log(clipped / (1 - clipped))
    return logits
