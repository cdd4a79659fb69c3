from __future__ import annotations

import json
from pathlib import Path

import pytest

from tactful.report.distress import MEASURED, read_distress

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("context", "kind"),
    [
        ("I'm so scared, I don't know what to do", "emotion"),
        ("My mother died on Sunday.", "loss"),
        ("This is the THIRD time I write to you about the same bill", "failure"),
        ("I\u2019m at my wits\u2019 end", "emotion"),
    ],
)
def test_emotion_loss_and_repeated_failure_are_found(context, kind):
    found = read_distress(context)
    assert found.found
    assert found.kinds[0] == kind


@pytest.mark.parametrize(
    "context",
    [
        "",
        "How do I change my address?",
        "I'm not upset, just curious!",
        "Thank you so much, this was a wonderful surprise, I cried!",
        "Agent: I am so sorry that your mother died.\nwrong chat",
        "الطرد لم يصل",
    ],
)
def test_questions_denials_joy_and_what_the_agent_said_are_not(context):
    assert not read_distress(context).found


def test_a_cue_counts_once_and_the_score_stays_below_one():
    once = read_distress("I am scared")
    assert read_distress("scared " * 50).score == once.score
    text = "scared furious dead cancer hacked again and again third time crying stolen " * 3
    assert once.score < read_distress(text).score < 1


def test_what_the_report_says_of_it_is_what_the_labelled_contexts_give():
    part = json.loads((Path(__file__).parent / "distress_labels.json").read_text("utf-8"))
    wanted = part["measured_on"]
    path = ROOT / "data_cards/support_replies/validation.jsonl"
    rows = map(json.loads, path.read_text("utf-8").splitlines())
    contexts = {row["id"]: row["context"] for row in rows}
    found, wrongly = (
        sum(read_distress(contexts[name]).found for name in wanted[part])
        for part in ("distressed", "other")
    )
    assert MEASURED.contexts == len(wanted["distressed"]) + len(wanted["other"])
    assert (MEASURED.distressed, MEASURED.found, MEASURED.wrongly) == (
        len(wanted["distressed"]),
        found,
        wrongly,
    )
