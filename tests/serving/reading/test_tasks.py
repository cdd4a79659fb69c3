"""Tasks: what a card may declare, and where each label stands on the axis of scores."""

from __future__ import annotations

import pickle

import pytest

from tactful.reading.tasks import RESERVED, Task, Tasks

ENTRIES = [
    {"name": "strategies", "kind": "multilabel", "labels": {"apology": "says sorry"}},
    {"name": "tone", "kind": "single", "labels": {"warm": "kind", "neutral": "plain"}},
]


def test_the_label_axis_is_the_labels_of_all_tasks_in_order() -> None:
    tasks = Tasks.from_dicts(ENTRIES)

    assert tasks.size == 3
    assert tasks.slices == {"strategies": slice(0, 1), "tone": slice(1, 3)}
    assert tasks.columns["tone", "neutral"] == 2
    assert tasks.named("tone").names == ("warm", "neutral")
    assert [vars(task) for task in tasks] == ENTRIES
    assert pickle.loads(pickle.dumps(tasks)) == tasks == Tasks.from_dicts(ENTRIES)


def test_an_unknown_task_is_answered_with_the_known_ones() -> None:
    with pytest.raises(KeyError, match="no task 'mood'; known: strategies, tone"):
        Tasks.from_dicts(ENTRIES).named("mood")


@pytest.mark.parametrize("name", ["Tone", "1st", "a-b", "", *sorted(RESERVED)])
def test_a_task_name_must_serve_as_attribute_and_column(name: str) -> None:
    with pytest.raises(ValueError, match=f"task name {name!r}"):
        Task(name, "multilabel", {"apology": "says sorry"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "multi"}, "kind 'multi', allowed: multilabel, single"),
        ({"kind": "single"}, "at least 2 names"),
        ({"labels": {}}, "at least 1 names"),
        ({"labels": {True: "yes"}}, "label True must be text"),
        ({"labels": {"a|b": "x"}}, "label 'a|b' must be text without"),
        ({"labels": {"a\x07": "x"}}, "must be text without '|', control characters"),
        (
            {"labels": {"a": None}},
            "the description of 'a' must be text, not NoneType; write labels: {warm: ",
        ),
        ({"labels": ["a"]}, 'labels must map .* write labels: {warm: "kind, friendly", cold: ""}'),
        ({"colour": "red"}, "exactly the keys name, kind and labels"),
    ],
)
def test_a_task_that_cannot_be_used_says_why(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Tasks.from_dicts([{**ENTRIES[0], **change}])


@pytest.mark.parametrize("label", ["Hold/Accept-part", "/", "C++ (é)", "a: b", "[x]"])
def test_a_label_may_have_almost_any_name(label: str) -> None:
    assert Task("acts", "multilabel", {label: ""}).names == (label,)


def test_tasks_are_one_or_more_and_named_once() -> None:
    with pytest.raises(ValueError, match="no task is declared"):
        Tasks.from_dicts([])
    with pytest.raises(ValueError, match="declared twice: tone"):
        Tasks.from_dicts([ENTRIES[1], ENTRIES[1]])
    with pytest.raises(ValueError, match="must be a list, not str"):
        Tasks.from_dicts("tone")


def test_a_label_is_held_in_one_unicode_form() -> None:
    assert Task("acts", "multilabel", {"re\u0301sume\u0301": ""}).names == ("r\u00e9sum\u00e9",)
    with pytest.raises(ValueError, match="label 'é' is declared twice, in two Unicode forms"):
        Task("acts", "multilabel", {"\u00e9": "", "e\u0301": ""})


def test_a_label_that_yaml_reads_as_nothing_needs_quotes() -> None:
    with pytest.raises(ValueError, match=r"label None must be text .*quote numbers, null"):
        Task("acts", "multilabel", {None: ""})  # type: ignore[dict-item]
