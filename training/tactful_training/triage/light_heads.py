"""Light models of the labels, trained in seconds: logistic regression on words.

A label that comes with evidence is looked for sentence by sentence: the sentences that its evidence
touches have it, the others have not, and a reply has it as surely as its surest sentence. So a head
learns what carries a label, not what stands beside it. Any other label is looked for in the reply
as a whole, the context beside it.

Words were chosen over vectors of a frozen encoder because they cost no pass of an encoder, and
because a person can be shown which of them speak for a label.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from tactful.reading.tasks import Tasks
from tactful_training.data.labelled_row import Row, targets
from tactful_training.errors import DataError

Doubles = NDArray[np.float64]
Rows = NDArray[np.int64]

# As for the keyword baseline, which is made of the same stuff.
_C = 10.0
# A word, or a mark that often says more than one.
_WORDS = r"(?u)\b\w+\b|[!?]"
_HAS_WORD = re.compile(_WORDS)
_CONTEXT_WEIGHT = 0.5
# In a set this large a word that stands in one row only is noise and time.
_LARGE = 200
_SENTENCE = re.compile(r"[^.!?\n]*(?:[.!?]+[\"')\]]*|\n|$)\s*")


@dataclass(frozen=True)
class _Pieces:
    """What a head looks at: sentences, or whole replies.

    Attributes:
        x: a row for each piece.
        owner: ``[P]``, the reply of each piece, never decreasing.
        words: what the columns of ``x`` stand for; empty for our own signs, none for contexts.
    """

    x: Any
    owner: Rows
    words: tuple[str, ...]


class ReplyWords:
    """The words of some replies, as heads look at them.

    Args:
        rows: all replies that will be learnt from or asked about. What is learnt from them here is
            how frequent words are, nothing of their labels.
        tasks: the tasks of the label axis ``L``.

    Raises:
        DataError: there are no words.
    """

    def __init__(self, rows: Sequence[Row], tasks: Tasks) -> None:
        self.rows, self.tasks = rows, tasks
        self.truth: Doubles = targets(rows, tasks).astype(np.float64)
        marked = {span.task for row in rows for span in row.evidence}
        self._by_sentence = [task.name in marked for task in tasks for _ in task.labels]
        self._whole = self._replies()
        self._sentences = self._parts() if any(self._by_sentence) else None

    def _replies(self) -> _Pieces:
        options: dict[str, Any] = {
            "token_pattern": _WORDS,
            "sublinear_tf": True,
            "min_df": 2 if len(self.rows) >= _LARGE else 1,
        }
        try:
            vectorizer = TfidfVectorizer(ngram_range=(1, 2), **options)
            x = vectorizer.fit_transform([row.reply.lower() for row in self.rows])
        except ValueError as error:
            raise DataError(f"there are no words to learn from: {error}") from error
        if any(_HAS_WORD.search(row.context or "") for row in self.rows):
            contexts = [(row.context or "").lower() for row in self.rows]
            beside = TfidfVectorizer(**options | {"min_df": 1}).fit_transform(contexts)
            x = hstack([x, _CONTEXT_WEIGHT * beside]).tocsr()
        return _Pieces(x, np.arange(len(self.rows)), tuple(vectorizer.get_feature_names_out()))

    def _parts(self) -> _Pieces:
        texts, owner, spans = [], [], []
        for number, row in enumerate(self.rows):
            found = [span for match in _SENTENCE.finditer(row.reply) if (span := match.span())[0]
                     < span[1]] or [(0, len(row.reply))]  # fmt: skip
            for place, (start, end) in enumerate(found):
                # Greetings begin a reply and wishes end it.
                sign = (" zzfirst" if place == 0 else "") + (
                    " zzlast" if place == len(found) - 1 else ""
                )
                texts.append(row.reply[start:end].lower() + sign)
                owner.append(number)
                spans.append((start, end))
        least = 2 if len(self.rows) >= _LARGE else 1
        vectorizer = TfidfVectorizer(
            ngram_range=(1, 3), token_pattern=_WORDS, sublinear_tf=True, min_df=least
        )
        x = vectorizer.fit_transform(texts)
        self._marks = self._marked(np.array(owner), spans)
        names = tuple("" if "zz" in word else word for word in vectorizer.get_feature_names_out())
        return _Pieces(x, np.array(owner), names)

    def _marked(self, owner: Rows, spans: Sequence[tuple[int, int]]) -> Doubles:
        """Which sentences carry which label, ``[P, L]``.

        NaN where that is unknown: of a label that the row has without evidence, it is somewhere.
        """
        shown = np.zeros_like(self.truth, dtype=np.bool_)
        marks = np.zeros((len(spans), self.tasks.size))
        starts = np.searchsorted(owner, np.arange(len(self.rows) + 1))
        for number, row in enumerate(self.rows):
            for span in row.evidence:
                column = self.tasks.columns[span.task, span.label]
                shown[number, column] = True
                for piece in range(starts[number], starts[number + 1]):
                    start, end = spans[piece]
                    if span.start < end and span.end > start:
                        marks[piece, column] = 1
        truth = self.truth[owner]
        somewhere = (truth == 1) & ~shown[owner]
        return np.where(np.isnan(truth) | somewhere, np.nan, np.where(truth == 1, marks, 0.0))

    def learn_and_ask(self, known: Rows, asked: Rows) -> tuple[Doubles, list[Head]]:
        """Train a head for each label on some rows, and ask them about others.

        Args:
            known: indices of rows to learn from; of each task those that say something of it.
            asked: indices of the rows to answer.

        Returns:
            float64 ``[asked, L]``: probabilities, those of a single task summing to 1; and a head
            for each label.
        """
        scores = np.zeros((len(asked), self.tasks.size))
        heads = []
        for column in range(self.tasks.size):
            head = self._head(known, column)
            heads.append(head)
            scores[:, column] = head.ask(asked)
        for task in self.tasks:
            if task.kind == "single":
                at = self.tasks.slices[task.name]
                scores[:, at] /= np.maximum(scores[:, at].sum(axis=1, keepdims=True), 1e-12)
        return scores, heads

    def _head(self, known: Rows, column: int) -> Head:
        if self._sentences is None or not self._by_sentence[column]:
            rows = known[~np.isnan(self.truth[known, column])]
            return Head(self._whole, rows, self.truth[rows, column])
        marks = self._marks[:, column]
        places = np.flatnonzero(np.isin(self._sentences.owner, known) & ~np.isnan(marks))
        return Head(self._sentences, places, marks[places])


class Head:
    """One label's logistic regression.

    Args:
        pieces: what it looks at.
        places: indices of the pieces to learn from.
        truth: 1 where a piece has the label, else 0.
    """

    def __init__(self, pieces: _Pieces, places: Rows, truth: Doubles) -> None:
        self._pieces = pieces
        self._constant = None if 0 < truth.sum() < len(truth) else float(truth[:1].sum())
        if self._constant is None:
            self._model = LogisticRegression(C=_C, solver="liblinear", random_state=0)
            self._model.fit(pieces.x[places], truth)

    def ask(self, asked: Rows) -> Doubles:
        """Probability of each reply: that of its surest piece."""
        if self._constant is not None:
            return np.full(len(asked), self._constant)
        wanted = np.isin(self._pieces.owner, asked)
        said = self._model.predict_proba(self._pieces.x[wanted])[:, 1]
        owner = self._pieces.owner[wanted]
        best: Doubles = np.zeros(self._pieces.owner.max() + 1)
        np.maximum.at(best, owner, said)
        return best[asked]

    def words_for(self, row: int, most: int = 5) -> list[str]:
        """The words of a reply that speak most for the label."""
        if self._constant is not None:
            return []
        pieces = np.flatnonzero(self._pieces.owner == row)
        x = self._pieces.x[pieces]
        best = x[int(self._model.decision_function(x).argmax())]
        weights = best.multiply(self._model.coef_[0]).tocoo()
        order = np.argsort(-weights.data)[:most]
        words = self._pieces.words
        return [
            words[column]
            for column in weights.col[order].tolist()
            if self._model.coef_[0][column] > 0 and column < len(words) and words[column]
        ]
