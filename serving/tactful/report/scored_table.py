"""What was read of SCORED as columns: some hundred bytes a row, no texts but those that count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tactful.report.distress import Kind
from tactful.report.intake import Intake
from tactful.report.intervals import Bools, Codes, Floats, any_of
from tactful.report.label_roles import STRATEGIES, TONE
from tactful.report.wording import Wordings

KINDS: tuple[Kind, ...] = ("emotion", "loss", "failure")


@dataclass(frozen=True, eq=False)
class Coded:
    """A column of names.

    Attributes:
        codes: of each row the index of its name, negative where it has none; ``[R]``.
        names: the names.
    """

    codes: Codes
    names: tuple[str, ...]

    def rows_of(self, code: int) -> NDArray[np.int64]:
        """The rows that have a name."""
        return np.flatnonzero(self.codes == code)

    def taken(self, rows: NDArray[np.int64]) -> Coded:
        """The column of some of the rows."""
        return Coded(self.codes[rows], self.names)


@dataclass(frozen=True, eq=False)
class ScoredTable:
    """What was read of SCORED; ``R`` rows, ``S`` strategies, ``T`` tones.

    Attributes:
        intake: what was read and what was left out.
        numbers: of each row its place in SCORED; ``[R]``.
        strategies: names of the strategies.
        tones: names of the tones; empty where the bundle reads none.
        has: which strategies a reply has; ``[R, S]``.
        tone: index of its tone, negative where it has none; ``[R]``.
        scores: task to scores, NaN where they are not given; ``[R, S]`` and ``[R, T]``.
        words: words of the reply; ``[R]``.
        context_words: words of the context; ``[R]``.
        distress: the score of the context; ``[R]``.
        kinds: what its cues speak of, by `KINDS`; ``[R, 3]``.
        names: role (agent, team, channel, conversation) to column; a column that was not asked for
            is not there.
        time: when the reply was sent, seconds since 1970, NaN where that is not known; ``[R]``.
        response: seconds from the customer's message to the reply, likewise; ``[R]``.
        outcome: likewise; ``[R]``.
        wordings: the sentences that carry labels.
        reply_vocabulary: word without capitals to number of its uses in replies.
        context_vocabulary: likewise in contexts.
    """

    intake: Intake
    numbers: NDArray[np.int64]
    strategies: tuple[str, ...]
    tones: tuple[str, ...]
    has: Bools
    tone: Codes
    scores: dict[str, NDArray[np.float32]]
    words: NDArray[np.int64]
    context_words: NDArray[np.int64]
    distress: Floats
    kinds: Bools
    names: dict[str, Coded]
    time: Floats
    response: Floats
    outcome: Floats
    wordings: Wordings
    reply_vocabulary: Counter[str]
    context_vocabulary: Counter[str]

    def __len__(self) -> int:
        return len(self.numbers)

    @cached_property
    def conversations(self) -> Codes:
        """Of each row its conversation; negative: one of its own."""
        column = self.names.get("conversation")
        return np.full(len(self), -1, np.int64) if column is None else column.codes

    @cached_property
    def tone_hits(self) -> Bools:
        """Which tone a reply has, ``[R, T]``."""
        return np.equal.outer(self.tone, np.arange(len(self.tones)))

    def taken(self, rows: NDArray[np.int64]) -> ScoredTable:
        """Some of the rows, in ascending order."""
        arrays = ["numbers", "has", "tone", "words", "context_words", "distress", "kinds"]
        arrays += ["time", "response", "outcome"]
        return replace(
            self,
            **{name: getattr(self, name)[rows] for name in arrays},
            scores={task: scores[rows] for task, scores in self.scores.items()},
            names={role: column.taken(rows) for role, column in self.names.items()},
            wordings=self.wordings.taken(rows),
        )

    def any_of(self, labels: tuple[str, ...]) -> Bools | None:
        """Which replies have one of some strategies, ``[R]``; None where the bundle knows none."""
        known = [self.strategies.index(label) for label in labels if label in self.strategies]
        return any_of(self.has[:, known]) if known else None


def labels_of(table: ScoredTable) -> Iterator[tuple[str, tuple[str, ...], Bools]]:
    """Task, its labels, and which replies have them."""
    yield STRATEGIES, table.strategies, table.has
    if table.tones:
        yield TONE, table.tones, table.tone_hits
