from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tactful.reading.tasks import Task, Tasks
from tactful_training.annotation.exchange import export_rows, import_rows, read_labellings
from tactful_training.annotation.label_studio import controls, labelling_config, to_label_studio
from tactful_training.annotation.prodigy import to_prodigy
from tactful_training.data.data_set import load_data_set
from tactful_training.data.labelled_row import EvidenceSpan, Row
from tactful_training.data.row_records import write_table
from tactful_training.errors import DataError

# Names that a tool's own might be taken for, and a label that two tasks have.
TASKS = Tasks(
    (
        Task("moves", "multilabel", {"sorry": "says <sorry>", "no moves": "", "warm": ""}),
        Task("moves_words", "multilabel", {'"a" & b': "", "null": ""}),
        Task("mood", "single", {"warm": "kind", "cold": ""}),
    )
)
TEXT = st.text(min_size=1).filter(str.strip)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(),
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=4,
)


@st.composite
def rows(draw: st.DrawFn, columns: st.SearchStrategy[Any] = VALUES) -> Row:
    reply = draw(TEXT)
    labels = {}
    for task in TASKS:
        said = st.none() | (
            st.sampled_from(task.names)
            if task.kind == "single"
            else st.lists(st.sampled_from(task.names), unique=True).map(tuple)
        )
        labels[task.name] = draw(said)
    spans = []
    for _ in range(draw(st.integers(0, 3))):
        task = draw(st.sampled_from(tuple(TASKS)))
        start = draw(st.integers(0, len(reply) - 1))
        end = draw(st.integers(start + 1, len(reply)))
        spans.append(EvidenceSpan(task.name, draw(st.sampled_from(task.names)), start, end))
    name = draw(TEXT)
    return Row(
        id=name,
        reply=reply,
        context=draw(st.none() | TEXT),
        group=draw(st.just(name) | TEXT),
        labels=labels,
        evidence=tuple(spans),
        columns=draw(st.dictionaries(st.sampled_from(["team", "channel"]), columns, max_size=2)),
    )


def back(path: Path, content: bytes, *, suggested: bool) -> list[Row]:
    path.write_bytes(content)
    found = read_labellings(path, TASKS, suggestions=suggested).labellings
    return [each.row for each in found]


SLOW = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def said(row: Row) -> bool:
    """Whether an annotator's tool has anything to hold of it."""
    return any(each is not None for each in row.labels.values()) or bool(row.evidence)


@SLOW
@given(row=rows(), suggested=st.booleans())
def test_label_studio_loses_nothing(tmp_path: Path, row: Row, suggested: bool) -> None:
    content = to_label_studio([row], TASKS, suggested=suggested)
    assert back(tmp_path / "tasks.json", content, suggested=suggested) == [row]


@SLOW
@given(row=rows(), suggested=st.booleans())
def test_prodigy_loses_nothing(tmp_path: Path, row: Row, suggested: bool) -> None:
    content = to_prodigy([row], TASKS, suggested=suggested)
    assert back(tmp_path / "lines.jsonl", content, suggested=suggested) == [row]


def plain(text: str) -> bool:
    return text.isprintable() and text == text.strip() and not text.startswith("'")


@SLOW
@given(row=rows(st.none()))
def test_a_table_loses_nothing_that_it_can_hold(tmp_path: Path, row: Row) -> None:
    texts = [row.id, row.group, row.reply, row.context or "x"]
    row = replace(row, columns={})
    ambiguous = row.labels["moves_words"] is None  # it has a label "null"
    if all(map(plain, texts)) and not ambiguous:
        path = tmp_path / "rows.csv"
        write_table(path, [(row, {})], TASKS, ())
        assert [each.row for each in read_labellings(path, TASKS).labellings] == [row]


def test_the_labelling_config_names_what_the_tasks_speak_of() -> None:
    root = ElementTree.fromstring(labelling_config(TASKS))
    named = controls(TASKS)
    for task in TASKS:
        part = named[task.name]
        [choices] = root.findall(f".//Choices[@name='{part.choices}']")
        values = [each.get("value") for each in choices]
        assert values == [*task.names, *([part.none] if part.none else [])]
        assert choices.get("choice") == ("single" if task.kind == "single" else "multiple")
        [words] = root.findall(f".//Labels[@name='{part.words}']")
        assert [each.get("value") for each in words] == list(task.names)
    names = [each.get("name") for each in root.iter() if each.get("name")]
    assert len(set(names)) == len(names)
    assert named["moves"].none == "(no moves)"


def annotation(*results: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"result": list(results), **more}


def choice(name: str, *labels: str) -> dict[str, Any]:
    return {"from_name": name, "to_name": "reply", "type": "choices", "value": {"choices": labels}}


def words(name: str, label: str, start: int, end: int, text: str) -> dict[str, Any]:
    value = {"start": start, "end": end, "text": text, "labels": [label]}
    return {"from_name": name, "to_name": "reply", "type": "labels", "value": value}


def test_what_annotators_did_in_label_studio_is_read(tmp_path: Path) -> None:
    reply = "🙂 so sorry"
    done = [
        annotation(
            choice("mood", "warm"),
            words("moves_words_", "sorry", 3, 11, "so sorry"),  # an older one counts UTF-16 units
            completed_by={"id": 7, "email": "kim@example.org"},
            updated_at="2026-11-20T10:00:00Z",
        ),
        annotation(choice("moves", "no moves"), completed_by=8, was_cancelled=True),
        annotation(choice("moves", "(no moves)"), completed_by=8),
    ]
    path = tmp_path / "project.json"
    path.write_text(json.dumps([{"id": 5, "data": {"reply": reply}, "annotations": done}]), "utf-8")
    first, second = read_labellings(path, TASKS).labellings
    assert (first.who, first.when) == ("kim@example.org", "2026-11-20T10:00:00Z")
    assert first.row.id == "5"
    assert first.row.labels == {"moves": ("sorry",), "moves_words": None, "mood": "warm"}
    assert [reply[span.start : span.end] for span in first.row.evidence] == ["so sorry"]
    assert (second.who, second.row.labels["moves"]) == ("8", ())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("min.json", [{"reply": "x", "mood": "warm"}], "not JSON-MIN or CSV"),
        ("a.json", {"data": {"text": "x"}}, "with a text 'reply' in its 'data'"),
        (
            "b.json",
            [{"data": {"reply": "so sorry"}, "annotations": [
                annotation(words("moves_words_", "sorry", 0, 5, "sorry"))]}],
            "marked words 0 to 5 are 'so so' in the reply, not 'sorry'; was the text changed",
        ),
        (
            "c.json",
            [{"data": {"reply": "x"}, "annotations": [annotation(choice("tone", "happy"))]}],
            r"'tone' with \['happy'\] is no task of the card; the tasks are: moves",
        ),
        (
            "d.json",
            [{"data": {"reply": "x"}, "annotations": [annotation(choice("mood", "warm", "cold"))]}],
            "mood: exactly one choice is allowed",
        ),
        (
            "e.json",
            [{"data": {"reply": "x"}, "annotations": [
                annotation(choice("moves", "sorry", "(no moves)"))]}],
            "chosen beside labels",
        ),
        ("f.json", [{"data": {"reply": "x"}, "annotations": []}], "nothing that somebody has"),
    ],
)  # fmt: skip
def test_a_file_of_the_wrong_kind_or_that_does_not_fit_is_explained(
    tmp_path: Path, name: str, content: Any, message: str
) -> None:
    path = tmp_path / name
    path.write_text(json.dumps(content), "utf-8")
    with pytest.raises(DataError, match=message):
        read_labellings(path, TASKS)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([{"text": "x", "accept": ["tone"]}], "'tone' is no label; there are: sorry"),
        ([{"text": "x", "accept": ["mood/warm", "cold"]}], "mood: one label is allowed"),
        ([{"text": "x", "accept": [], "spans": [{"start": 0, "end": 5, "label": "sorry"}]}],
         "end 5 must be whole numbers"),
        ([{"text": "x", "accept": []}, ["x"]], "not a line of Prodigy's JSONL"),
    ],
)  # fmt: skip
def test_lines_of_prodigy_that_do_not_fit_are_explained(
    tmp_path: Path, lines: list[Any], message: str
) -> None:
    path = tmp_path / "lines.jsonl"
    answered = [each | {"answer": "accept"} if isinstance(each, dict) else each for each in lines]
    path.write_text("".join(json.dumps(each) + "\n" for each in answered), "utf-8")
    with pytest.raises(DataError, match=message):
        read_labellings(path, TASKS)


def test_what_prodigys_annotators_did_is_read(tmp_path: Path) -> None:
    lines = [
        {"text": "so sorry", "spans": [{"start": 3, "end": 8, "label": "sorry"}],
         "answer": "accept", "_annotator_id": "kim", "_timestamp": 1764237600, "_input_hash": 12},
        {"text": "no", "accept": ["sorry"], "answer": "reject"},
        {"text": "hm", "accept": [], "answer": "ignore"},
    ]  # fmt: skip
    path = tmp_path / "lines.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in lines), "utf-8")
    [found] = read_labellings(path, TASKS).labellings
    assert (found.who, found.when) == ("kim", "2025-11-27T10:00:00+00:00")
    assert (found.row.id, found.row.labels["moves"]) == ("12", ("sorry",))


@pytest.mark.parametrize("form", ["label-studio", "prodigy", "csv", "jsonl"])
def test_a_data_set_goes_out_and_comes_back(tmp_path: Path, data_set: Path, form: str) -> None:
    suffix = {"label-studio": ".json", "csv": ".csv"}.get(form, ".jsonl")
    out, again = tmp_path / f"out{suffix}", tmp_path / "again.jsonl"
    count = export_rows(data_set, out, form, splits=["test"])
    assert import_rows(out, data_set, again) == count == 48
    data = load_data_set(data_set)
    expected = {row.id: row for row in data.split("test")}
    for each in read_labellings(again, data.tasks).labellings:
        row = expected.pop(each.row.id)
        assert each.row.columns == {"split": "test"}
        assert (each.row.reply, each.row.context, each.row.group) == (
            row.reply, row.context, row.group,
        )  # fmt: skip
        assert (each.row.labels, each.row.evidence) == (row.labels, row.evidence)
    assert not expected
    if form == "label-studio":
        assert ElementTree.parse(out.with_suffix(".xml")).getroot().tag == "View"


def test_a_form_or_name_that_does_not_fit_is_refused(
    tmp_path: Path, data_set: Path, data_set_writer: Callable[..., Path]
) -> None:
    tasks = [{"name": "mood", "kind": "single", "labels": {"null": "", "cold": ""}}]
    with pytest.raises(DataError, match="by which a table means unknown; export as jsonl"):
        export_rows(data_set_writer(tmp_path / "null", {}, tasks), tmp_path / "out.csv", "csv")
    with pytest.raises(DataError, match="known: label-studio, prodigy, csv, jsonl"):
        export_rows(data_set, tmp_path / "out.json", "doccano")
    with pytest.raises(DataError, match=r"prodigy ends in \.jsonl"):
        export_rows(data_set, tmp_path / "out.json", "prodigy")


def test_several_people_on_one_row_are_no_rows_yet(
    tmp_path: Path, data_set_writer: Callable[..., Path]
) -> None:
    tasks = [{"name": "mood", "kind": "single", "labels": {"warm": "", "cold": ""}}]
    card = data_set_writer(tmp_path / "set", {}, tasks)
    both = [annotation(choice("mood", name), completed_by=name) for name in ("warm", "cold")]
    path = tmp_path / "two.json"
    path.write_text(json.dumps([{"data": {"reply": "x"}, "annotations": both}]), "utf-8")
    with pytest.raises(DataError, match="agreement --consensus"):
        import_rows(path, card, tmp_path / "out.jsonl")
