"""What keywords alone reach: TF-IDF and logistic regression, to read a model's figures beside.

Features are words and word pairs of the reply, its character 3- to 5-grams, and words of the
context apart from those of the reply. Each label of a multi-label task has a logistic regression of
its own and a threshold from the validation split, chosen as the model's are; a single task has a
multinomial one. A baseline finds no evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion

from tactful.reading.tasks import Tasks
from tactful_training.bundling.threshold_choice import choose_thresholds
from tactful_training.data.data_set import DataSet
from tactful_training.data.labelled_row import Row, targets
from tactful_training.errors import DataError
from tactful_training.evaluation.bootstrap import RESAMPLES
from tactful_training.evaluation.bundle_evaluation import evaluate_answers
from tactful_training.evaluation.decisions_on_rows import Answers
from tactful_training.evaluation.evaluation_results import Evaluation

# Inverse strength of the regularisation: on the validation split of the shipped data 10 is better
# than 1 for both tasks; 30 gains nothing for strategies and one point of macro F1 for tone.
_C = 10.0
_ITERATIONS = 500
# Positive rows that a label needs for a threshold of its own, as in the default config.
_MIN_POSITIVES = 20
# In a set this large a word that stands in one row only is noise and time.
_LARGE = 200
# A word, or a mark that often says more than one.
_WORDS = r"(?u)\b\w+\b|[!?]"


def evaluate_baseline(
    data_set: DataSet,
    tasks: Tasks,
    rows: Sequence[Row],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Evaluation:
    """Train a baseline and evaluate it: 20 seconds for 7,000 replies on one core.

    Args:
        data_set: gives the splits ``train`` and ``validation``.
        tasks: the tasks of the label axis ``L``, all of them declared by the data set.
        rows: what to evaluate on.
        resamples: as for `evaluate_answers`.
        seed: as for `evaluate_answers`.

    Raises:
        DataError: the data set lacks one of the two splits, or has too little to learn from.
    """
    train, validation = data_set.split("train"), data_set.split("validation")
    features = _features(train)
    try:
        known_x = features.fit_transform(train)
    except ValueError as error:
        raise DataError(
            f"the baseline finds no words in the train split of {data_set.folder}: {error}"
        ) from error
    # Validation rows and the rows to evaluate are answered together, then parted.
    asked_x = features.transform([*validation, *rows])
    truth, validation_truth = targets(train, tasks), targets(validation, tasks)
    scores = np.zeros((len(validation) + len(rows), tasks.size))
    decisions = np.zeros((len(rows), tasks.size), dtype=np.bool_)
    thresholds: dict[tuple[str, str], float] = {}
    for task in tasks:
        at = tasks.slices[task.name]
        known = ~np.isnan(truth[:, at.start])
        if not known.any():
            raise DataError(
                f"no row in the train split of {data_set.folder} has a label of {task.name!r}; "
                "a baseline cannot learn it"
            )
        answers, x = truth[known, at].astype(np.int64), known_x[known]
        if task.kind == "single":
            classes = answers.argmax(axis=1)
            scores[:, at] = _probabilities(x, classes, asked_x, len(task.labels))
            chosen = scores[len(validation) :, at].argmax(axis=1)
            decisions[np.arange(len(rows)), at.start + chosen] = True
            continue
        for label in range(len(task.labels)):
            scores[:, at.start + label] = _probabilities(x, answers[:, label], asked_x, 2)[:, 1]
        least = choose_thresholds(
            validation_truth[:, at], scores[: len(validation), at], min_positives=_MIN_POSITIVES
        )
        decisions[:, at] = scores[len(validation) :, at] >= least
        for label_name, threshold in zip(task.labels, least, strict=True):
            thresholds[task.name, label_name] = float(str(threshold))
    measured = Answers(rows, tasks, scores[len(validation) :], decisions, thresholds=thresholds)
    return evaluate_answers(measured, slices=(), resamples=resamples, seed=seed)


def _features(train: Sequence[Row]) -> FeatureUnion:
    """From rows to a sparse matrix; not yet fitted."""
    shared: dict[str, Any] = {"sublinear_tf": True, "min_df": 2 if len(train) >= _LARGE else 1}
    words = {"token_pattern": _WORDS, **shared}
    parts = [
        ("words", TfidfVectorizer(preprocessor=_reply, ngram_range=(1, 2), **words)),
        (
            "characters",
            TfidfVectorizer(preprocessor=_reply, analyzer="char_wb", ngram_range=(3, 5), **shared),
        ),
    ]
    if any(row.context for row in train):
        parts.append(("context", TfidfVectorizer(preprocessor=_context, **words)))
    return FeatureUnion(parts)


def _reply(row: Row) -> str:
    return row.reply.lower()


def _context(row: Row) -> str:
    return (row.context or "").lower()


def _probabilities(
    x: Any, classes: NDArray[np.int64], asked: Any, size: int
) -> NDArray[np.float64]:
    """Train on rows of known class and answer others: ``[rows of asked, size]``."""
    probabilities = np.zeros((asked.shape[0], size))
    present = np.unique(classes)
    if len(present) == 1:
        probabilities[:, present] = 1.0
    else:
        model = LogisticRegression(C=_C, max_iter=_ITERATIONS).fit(x, classes)
        probabilities[:, present] = model.predict_proba(asked)
    return probabilities
