from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tactful.reading.tasks import Task, Tasks
from tactful_training.data.labelled_row import Row
from tactful_training.errors import DataError
from tactful_training.evaluation.bundle_evaluation import evaluate_answers
from tactful_training.evaluation.decisions_on_rows import Answers
from tactful_training.evaluation.evaluation_results import Evaluation
from tactful_training.evaluation.slices import NO_VALUE, slice_columns, worst_slice
from tactful_training.registry.tracked_training import flat_metrics

TASKS = Tasks(
    (
        Task("strategies", "multilabel", {"apology": "", "gratitude": ""}),
        Task("tone", "single", {"warm": "", "cold": ""}),
    )
)


def rows_of(count: int = 240) -> list[Row]:
    """A third is chat, a third e-mail, a few are letters; tone is known in every other row."""
    random = np.random.default_rng(5)
    channels = ["chat", "email", "letter"]
    rows = []
    for index in range(count):
        columns: dict[str, Any] = {
            "channel": channels[2 if index % 20 == 0 else index % 2],
            "number": float(index),
            "free_text": f"note {index}",
        }
        labels = tuple(name for name in ("apology", "gratitude") if random.random() < 0.5)
        tone = ("warm", "cold")[index % 3 == 0] if index % 2 else None
        reply = " ".join(["word"] * int(random.integers(3, 90)))
        context = "please help" if index % 4 else None
        known = {"strategies": labels, "tone": tone}
        rows.append(Row(f"r{index}", reply, context, f"g{index // 3}", known, (), columns))
    return rows


def measured(rows: list[Row], **options: Any) -> Evaluation:
    """Right everywhere, except that strategies of e-mails are guessed."""
    answers = Answers(rows, TASKS, np.zeros((len(rows), 4)), np.zeros((len(rows), 4), bool))
    right = np.nan_to_num(answers.truth)
    guess = np.random.default_rng(6).random(right.shape) < 0.5
    for index, row in enumerate(rows):
        if row.columns["channel"] == "email":
            right[index, :2] = guess[index, :2]
    decisions = right == 1
    decisions[:, 3] = ~decisions[:, 2]
    answers = Answers(rows, TASKS, decisions.astype(float), decisions)
    return evaluate_answers(answers, resamples=200, **options)


def test_the_worst_slice_is_named_and_its_gap_is_real() -> None:
    rows = rows_of()
    evaluation = measured(rows)
    assert list(evaluation.slices["strategies"]) == ["context", "reply_length", "channel"]
    assert worst_slice(evaluation.slices["strategies"]) == ("channel", "email")
    email = evaluation.slices["strategies"]["channel"]["email"]
    assert email.value is not None
    assert email.gap is not None
    assert email.gap.high < 0
    rest = evaluation.slices["strategies"]["channel"]["chat"]
    assert rest.value is not None
    assert rest.value.value == 1
    content = evaluation.to_dict()["slices"]
    assert content["worst"]["strategies"] == {"column": "channel", "value": "email"}
    assert content["tasks"]["strategies"]["channel"]["email"]["score"]["value"] < 0.7
    assert flat_metrics(evaluation)["slices/strategies/channel/chat"] == 1


def test_a_slice_is_the_metric_on_its_rows_alone() -> None:
    rows = rows_of()
    whole = measured(rows).slices["strategies"]["channel"]["email"].value
    mask = np.array([row.columns["channel"] == "email" for row in rows])
    every = measured(rows).answers
    alone = Answers(
        [row for row in rows if row.columns["channel"] == "email"],
        TASKS,
        every.scores[mask],
        every.decisions[mask],
    )
    assert whole is not None
    only = evaluate_answers(alone, slices=(), resamples=0).tasks["strategies"].headline["micro_f1"]
    assert whole.value == pytest.approx(only.value)


def test_small_slices_are_listed_as_too_small_and_never_ranked() -> None:
    evaluation = measured(rows_of())
    letters = evaluation.slices["strategies"]["channel"]["letter"]
    assert letters.n == 12
    assert letters.too_small
    content = evaluation.to_dict()["slices"]["tasks"]["strategies"]["channel"]["letter"]
    assert content == {"n": 12, "too_small": True}
    # Tone is known in chats only: no second slice is left to be worse than.
    assert evaluation.slices["tone"]["channel"]["email"].too_small or (
        evaluation.slices["tone"]["channel"]["chat"].too_small
    )


def test_any_column_can_be_asked_for_and_numbers_are_cut_at_quartiles() -> None:
    rows = rows_of()
    found = slice_columns(rows, ["number"])["number"]
    assert len(found) == 4
    assert [int(mask.sum()) for mask in found.values()] == [60, 60, 60, 60]
    assert next(iter(found)).startswith("0 to ")
    with pytest.raises(DataError, match=r"no column 'chanel'.*context, reply_length, channel"):
        slice_columns(rows, ["chanel"])
    assert slice_columns(rows, []) == {}


def test_lengths_are_in_words_and_every_row_has_one() -> None:
    rows = rows_of()
    lengths = slice_columns(rows)["reply_length"]
    assert list(lengths) == ["1 to 15 words", "16 to 30 words", "31 to 60 words", "over 60 words"]
    assert np.sum(list(lengths.values()), axis=0).tolist() == [1] * len(rows)
    for row, short in zip(rows, lengths["1 to 15 words"], strict=True):
        assert short == (len(row.reply.split()) <= 15)


def numbered(values: list[Any]) -> list[Row]:
    known = {"strategies": (), "tone": "warm"}
    return [
        Row(f"r{i}", "a reply", None, f"g{i}", known, (), {"price": value})
        for i, value in enumerate(values)
    ]


BEYOND = [math.nan, math.inf, -math.inf, None, "", 10**400]


@pytest.mark.parametrize(
    "numbers",
    [
        [float(n) for n in range(100)],
        [2**63 + 2**20 * n for n in range(100)],
        [2**70 * n for n in range(100)],
        [(n - 50) * 3.5e306 for n in range(100)],
        [1.7e9 + n for n in range(100)],
    ],
    ids=["plain", "past 2**63", "far past it", "to the ends of floats", "alike in six digits"],
)
def test_numbers_beyond_all_bounds_have_no_value_and_edges_are_finite(numbers: list[Any]) -> None:
    rows = numbered([*BEYOND, *numbers, *BEYOND])
    found = slice_columns(rows, ["price"])["price"]
    assert NO_VALUE in found
    assert int(found[NO_VALUE].sum()) == 2 * len(BEYOND)
    ranges = {name: mask for name, mask in found.items() if name != NO_VALUE}
    assert len(ranges) == 4
    assert [int(mask.sum()) for mask in ranges.values()] == [25, 25, 25, 25]
    for name in ranges:
        low, high = name.split(" to ")
        assert -math.inf < float(low) < float(high) < math.inf
    assert np.sum(list(found.values()), axis=0).tolist() == [1] * len(rows)


def test_whole_numbers_that_are_one_float_are_one_slice() -> None:
    found = slice_columns(numbered([2**63 + n for n in range(100)]), ["price"])["price"]
    assert {name: int(mask.sum()) for name, mask in found.items()} == {"9.22337e+18": 100}


def test_few_numbers_are_values_of_their_own() -> None:
    found = slice_columns(numbered([*BEYOND, 2**64, 2**64, 3, 3.5]), ["price"])["price"]
    assert {name: int(mask.sum()) for name, mask in found.items()} == {
        "3": 1,
        "3.5": 1,
        str(2**64): 2,
        NO_VALUE: len(BEYOND),
    }
    texts = slice_columns(numbered(["nan", "inf", "b", 4, math.nan]), ["price"])["price"]
    assert list(texts) == ["4", NO_VALUE, "b", "inf", "nan"]


def test_numbers_in_csv_are_numbers_too() -> None:
    texts = [*(f" {n}.5" for n in range(100)), "nan", "-inf", "Infinity", "", str(10**400)]
    found = slice_columns(numbered(texts), ["price"])["price"]
    assert {name: int(mask.sum()) for name, mask in found.items()} == {
        "0.5 to 25.25": 25,
        "25.25 to 50": 25,
        "50 to 74.75": 25,
        "74.75 to 99.5": 25,
        NO_VALUE: 5,
    }


def test_text_that_is_no_number_stays_as_it_is() -> None:
    for texts in (["007", "7"], ["nan", "inf"], ["1", "x", "nan"]):
        assert set(slice_columns(numbered(texts), ["price"])["price"]) == set(texts)
