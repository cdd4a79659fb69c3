"""Paired differences where labels are too rare for macro F1."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from tactful.reading.tasks import Task, Tasks
from tactful_training.data.labelled_row import Row
from tactful_training.evaluation.bootstrap import Estimate, Resamples
from tactful_training.evaluation.bundle_comparison import Comparison
from tactful_training.evaluation.bundle_evaluation import evaluate_answers
from tactful_training.evaluation.decisions_on_rows import Answers
from tactful_training.evaluation.paired_differences import Cost, Costs, compare_tasks
from tactful_training.evaluation.result_tables import render_comparison

INTENT = Task("intent", "single", dict.fromkeys(["common", "usual", "rare"], ""))
TASKS = Tasks((INTENT,))


def answers(rare: int, seed: int) -> Answers:
    """Right in most rows; of the rare class only by chance."""
    right = ["common"] * 40 + ["usual"] * 20 + ["rare"] * rare
    rows = [Row(f"{i}", "a", None, f"{i}", {"intent": c}, (), {}) for i, c in enumerate(right)]
    scores = np.random.default_rng(seed).random((len(rows), 3))
    for index, label in enumerate(right):
        scores[index, INTENT.names.index(label)] += 0.6 if label != "rare" else 0
    scores /= scores.sum(axis=1, keepdims=True)
    return Answers(rows, TASKS, scores, scores == scores.max(axis=1, keepdims=True))


@pytest.mark.parametrize("rare", [3, 10])
def test_macro_f1_of_all_labels_is_compared_and_shown_where_it_differs(rare: int) -> None:
    a, b = answers(rare, 1), answers(rare, 2)
    drawn = Resamples([row.group for row in a.rows], count=50, seed=0)
    tasks = compare_tasks(a, b, drawn)
    found = tasks["intent"].headline
    for side, each in (("a", a), ("b", b)):
        alone = evaluate_answers(each, slices=(), resamples=0).tasks["intent"].headline
        for key in ("accuracy", "macro_f1", "macro_f1_all"):
            assert getattr(found[key], side) == pytest.approx(alone[key].value)
    assert (found["macro_f1"] == found["macro_f1_all"]) == (rare == 10)
    cost = Cost(1.0, 1.0, 1.0)
    compared = Comparison(
        *(("a@1", "b@2"), len(a.rows), drawn.size, 50, tasks, {}, [], {}, {}, []),
        costs=Costs(cost, cost, Estimate(1.0, 0.9, 1.1)),
        answers=(a, b),
    )
    assert "macro_f1_all" in compared.to_dict()["tasks"]["intent"]
    said = io.StringIO()
    Console(file=said, width=120).print(render_comparison(compared))
    assert ("intent macro_f1_all" in said.getvalue()) == (rare == 3)
