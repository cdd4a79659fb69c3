"""Tables give way to the width of a terminal without losing a figure or breaking a word."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console, RenderableType

from tactful.reading.tasks import Task, Tasks
from tactful_training.data.labelled_row import EvidenceSpan, Row
from tactful_training.evaluation.bundle_evaluation import evaluate_answers
from tactful_training.evaluation.decisions_on_rows import Answers
from tactful_training.evaluation.evaluation_results import Evaluation
from tactful_training.evaluation.figure_table import INTERVAL, FigureTable
from tactful_training.evaluation.result_tables import render_evaluation

MOVES = ["acknowledge_feelings", "clarifying_question", "warm_greeting", "apology"]
TONES = ["irritated", "dismissive", "sympathetic", "reassuring", "cheerful", "warm", "neutral"]


def measured(tones: list[str]) -> Evaluation:
    """Every figure that a table can show: thresholds, evidence, slices, a confusion matrix."""
    tasks = Tasks(
        (
            Task("strategies", "multilabel", dict.fromkeys(MOVES, "")),
            Task("tone", "single", dict.fromkeys(tones, "")),
        )
    )
    random = np.random.default_rng(3)
    rows = [
        Row(
            f"r{i}",
            "We are so sorry for all of this.",
            "Where is it?" if i % 2 else None,
            f"g{i // 2}",
            {"strategies": (MOVES[i % 4],), "tone": tones[i % len(tones)]},
            (EvidenceSpan("strategies", MOVES[i % 4], 0, 15),),
            {"industry": ("telecommunications", "retail")[i % 3 == 0]},
        )
        for i in range(400)
    ]
    scores = random.random((len(rows), tasks.size))
    decisions = scores > 0.5
    at = tasks.slices["tone"]
    decisions[:, at] = scores[:, at] == scores[:, at].max(axis=1, keepdims=True)
    spans = [{("strategies", name): [(0, 6)] for name in MOVES} for _ in rows]
    thresholds = {("strategies", name): 0.5 for name in MOVES}
    answers = Answers(rows, tasks, scores, decisions, spans, thresholds)
    return evaluate_answers(answers, resamples=50)


def shown(table: RenderableType, width: int) -> str:
    said = io.StringIO()
    Console(file=said, width=width).print(table)
    assert max(map(len, said.getvalue().splitlines())) <= width
    return said.getvalue()


@pytest.mark.parametrize("width", [80, 100, 200])
@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside a baseline"])
def test_no_word_of_an_evaluation_is_broken(width: int, beside: bool) -> None:
    evaluation = measured(TONES)
    text = shown(render_evaluation(evaluation, evaluation if beside else None), width)
    assert "…" not in text
    words = text.split()
    assert {*MOVES, *TONES, "reply_length", "telecommunications", "strategies"} <= set(words)
    assert "without context" in text
    for task in evaluation.tasks.values():
        for label in task.labels.values():
            f1 = label.estimates["f1"]
            assert f"{f1.low:.2f}-{f1.high:.2f}" in words


def test_a_matrix_that_is_too_wide_is_numbered_then_a_list() -> None:
    long = [f"a rather long name of a class {letter}" for letter in "abcdefgh"]
    text = shown(render_evaluation(measured(long)), 80)
    assert "1 a rather long name of a class a" in text
    assert "what was decided (across)" in text
    longer = [f"{name} that no terminal of today has room for" for name in long]
    text = shown(render_evaluation(measured(longer)), 60)
    assert "most frequent mistakes" in text


def test_intervals_go_below_their_values_where_there_is_no_room_beside() -> None:
    table = FigureTable("t", ["label"], ["of all rows", INTERVAL, "of others"])
    table.add("apology", "0.50", "0.41-0.59", "0.40")
    table.add("[x]", "0.60", "", "0.30")
    assert "0.50   0.41-0.59" in shown(table, 80)
    assert "0.50\n" not in shown(table, 80)
    narrow = shown(table, 26)
    assert "[x]" in narrow
    [value, interval] = [n for n, line in enumerate(narrow.splitlines()) if "0.5" in line]
    assert interval == value + 1
    assert "0.40" in narrow.splitlines()[value]


def test_what_steers_a_terminal_is_made_visible() -> None:
    table = FigureTable("t", ["value"], ["rows"])
    table.add("\x1b[2Jx", "1")
    assert "␛[2Jx" in shown(table, 80)
