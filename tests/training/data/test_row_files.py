from __future__ import annotations

import csv
import hashlib
import json
import os
import unicodedata

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tactful.reading.tasks import Tasks
from tactful_training.data.data_set import check_allowed, load_data_set, load_labelled
from tactful_training.data.labelled_row import EvidenceSpan, targets
from tactful_training.data.row_files import scan_rows
from tactful_training.errors import DataError

TASKS = Tasks.from_dicts(
    [
        {"name": "strategies", "kind": "multilabel", "labels": {"apology": "", "gratitude": ""}},
        {"name": "tone", "kind": "single", "labels": {"warm": "", "cold": ""}},
        {"name": "praise", "kind": "multilabel", "labels": {"gratitude": "", "delight": ""}},
    ]
)
REPLY = "I'm so sorry 😔, Ana.\nThanks"
ROW = {
    "id": "a-1",
    "group": "a",
    "context": "It never came",
    "reply": REPLY,
    "labels": {"strategies": ["apology", "gratitude"], "tone": "warm"},
    "evidence": [
        {"label": "apology", "start": 0, "end": 14},
        {"label": "gratitude", "task": "strategies", "start": 21, "end": 27, "text": "Thanks"},
    ],
    "channel": "chat",
}


def read_rows(path, tasks, **options):
    return scan_rows(path, tasks, **options).usable()


def jsonl(folder, *rows):
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def table(folder, *rows, encoding="utf-8"):
    path = folder / "rows.csv"
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def the_row(rows):
    [row] = rows
    return row


def test_a_row_keeps_everything_it_says(tmp_path):
    row = the_row(read_rows(jsonl(tmp_path, ROW), TASKS))
    assert (row.id, row.group, row.context, row.reply) == ("a-1", "a", "It never came", REPLY)
    assert row.labels == {"strategies": ("apology", "gratitude"), "tone": "warm", "praise": None}
    assert row.evidence == (
        EvidenceSpan("strategies", "apology", 0, 14),
        EvidenceSpan("strategies", "gratitude", 21, 27),
    )
    assert row.columns == {"channel": "chat"}


def test_only_id_reply_and_labels_are_needed(tmp_path):
    row = the_row(read_rows(jsonl(tmp_path, {"id": "1", "reply": "ok", "labels": {}}), TASKS))
    assert (row.group, row.context, row.evidence, row.columns) == ("1", None, (), {})
    assert row.labels == {"strategies": None, "tone": None, "praise": None}


def test_labels_may_be_absent_where_none_are_required(tmp_path):
    path = jsonl(tmp_path, {"id": "1", "reply": "ok"})
    assert the_row(read_rows(path, TASKS, require_labels=False)).labels["tone"] is None
    with pytest.raises(DataError, match=r"rows\.jsonl:1: no labels; the tasks are: strategies"):
        read_rows(path, TASKS)


def test_byte_order_mark_blank_lines_and_line_separators_inside_text(tmp_path):
    path = tmp_path / "rows.jsonl"
    first = json.dumps({**ROW, "reply": REPLY + "\u2028\x85"}, ensure_ascii=False)
    second = json.dumps({**ROW, "id": "a-2"})
    path.write_bytes(f"\r\n{first}\r\n\n{second}".encode("utf-8-sig"))
    assert [row.id for row in read_rows(path, TASKS)] == ["a-1", "a-2"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": None}, "id and reply must not be empty"),
        ({"id": 7.5}, "id must be text, not 7.5 (float)"),
        ({"id": True}, "id must be text, not True (bool)"),
        ({"reply": " \n"}, "id and reply must not be empty"),
        ({"reply": ["x"]}, "reply must be text"),
        ({"context": 3}, "context must be text"),
        ({"group": [3]}, "group must be text"),
        ({"labels": ["apology"]}, "labels must map tasks to labels"),
        ({"labels": {"strategy": []}}, "unknown task 'strategy'; did you mean 'strategies'?"),
        ({"labels": {"strategies": "apology"}}, "strategies: a list of labels is needed"),
        (
            {"labels": {"strategies": ["apologie"]}},
            "unknown label 'apologie'; did you mean 'apology'?",
        ),
        ({"labels": {"strategies": ["apology"] * 2}}, "a label is given twice"),
        ({"labels": {"strategies": [None]}}, "unknown label None; allowed: apology, gratitude"),
        ({"labels": {"tone": ["warm"]}}, "tone: unknown label ['warm']"),
        ({"labels": {"tone": True}}, "tone: unknown label True; allowed: warm, cold"),
        ({"evidence": {}}, "evidence must be a list"),
        ({"evidence": "[]"}, "evidence must be a list"),
        ({"evidence": [{"label": "apology"}]}, "evidence needs label, start and end"),
        ({"evidence": [{"label": "warmth", "start": 0, "end": 1}]}, "unknown label 'warmth'"),
        ({"evidence": [{"label": None, "start": 0, "end": 1}]}, "unknown label None"),
        ({"evidence": [{"label": [1], "start": 0, "end": 1}]}, "unknown label [1]"),
        (
            {"evidence": [{"label": [1], "task": "tone", "start": 0, "end": 1}]},
            "unknown label [1]",
        ),
        ({"evidence": [{"label": "warm", "task": ["x"], "start": 0, "end": 1}]}, "unknown task"),
        ({"evidence": [{"label": "gratitude", "start": 0, "end": 1}]}, "belongs to the tasks"),
        (
            {"evidence": [{"label": "delight", "task": "tone", "start": 0, "end": 1}]},
            "tone: unknown label 'delight'",
        ),
        ({"evidence": [{"label": "apology", "start": 0, "end": 28}]}, "0 <= start < end <= 27"),
        ({"evidence": [{"label": "apology", "start": -1, "end": 3}]}, "0 <= start < end"),
        ({"evidence": [{"label": "apology", "start": 3, "end": 3}]}, "0 <= start < end"),
        ({"evidence": [{"label": "apology", "start": False, "end": True}]}, "whole numbers"),
        ({"evidence": [{"label": "apology", "start": 0.0, "end": 3}]}, "whole numbers"),
        (
            {"evidence": [{"label": "apology", "start": 0, "end": 3, "text": "I'm so"}]},
            '0 to 3 is "I\'m", not "I\'m so"',
        ),
    ],
)
def test_a_bad_row_is_named_with_what_is_allowed(tmp_path, change, message):
    with pytest.raises(DataError) as caught:
        read_rows(jsonl(tmp_path, ROW, {**ROW, "id": "a-2", **change}), TASKS)
    assert "rows.jsonl:2: " in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{", "not valid JSON"),
        (b"[]", "must be a JSON object"),
        (b'{"id": "\xff"}', "not UTF-8"),
        (b"[" * 100_000, "not usable JSON"),
        (b'{"id": "1", "id": "2", "reply": "x"}', "not usable JSON: keys given twice: 'id'"),
        (b'{"id": "1", "labels": {"tone": "a", "tone": "b"}}', "keys given twice: 'tone'"),
        (b'{"id": ' + b"9" * 5000 + b"}", "not usable JSON"),
        (b'{"id": "1", "text": "x"}', "no 'reply'; the columns are: id, text"),
    ],
)
def test_a_line_that_is_no_row_is_named(tmp_path, line, message):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\n" + line + b"\n")
    with pytest.raises(DataError, match=r"rows\.jsonl:2: ") as caught:
        read_rows(path, TASKS)
    assert message in str(caught.value)


def test_an_id_is_used_once(tmp_path):
    with pytest.raises(DataError, match=r"jsonl:2: id 'a-1' was used before, at .*rows\.jsonl:1"):
        read_rows(jsonl(tmp_path, ROW, ROW), TASKS)


def test_ten_problems_are_listed_and_the_rest_counted(tmp_path):
    rows = [{**ROW, "id": str(number), "reply": ""} for number in range(13)]
    with pytest.raises(DataError) as caught:
        read_rows(jsonl(tmp_path, *rows), TASKS)
    lines = str(caught.value).splitlines()
    assert lines[0].endswith("13 rows cannot be used:")
    assert len(lines) == 12
    assert lines[-1] == "  - and 3 more"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.jsonl", b"\n", "holds no rows"),
        ("rows.txt", b"", "files ending in .jsonl, .csv, .parquet"),
        ("rows.csv", b"", "is empty; the first line of a CSV file names its columns"),
        ("rows.csv", b"id,id\n", "columns named twice: id"),
        ("rows.csv", b"id,reply\n1,\xff\n", "rows.csv:2: not UTF-8"),
        ("rows.csv", b'id,reply\n1,"x"y\n', "rows.csv:2: a quote within a cell; write it twice"),
        ("rows.csv", b"id,reply,tone\n1,ok\n", "rows.csv:2: 2 cells, but 3 columns"),
        ("rows.csv", b"id:reply\n1:ok\n", "no 'id'; the columns are: id:reply"),
        ("rows.parquet", b"PAR1 no", "not a readable Parquet file"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match="rows") as caught:
        read_rows(tmp_path / name, TASKS)
    assert message in str(caught.value)


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_rows(tmp_path / "rows.csv", TASKS)
    (tmp_path / "rows.jsonl").mkdir()
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_rows(tmp_path / "rows.jsonl", TASKS)


def test_csv_has_a_column_for_each_task(tmp_path):
    evidence = json.dumps(ROW["evidence"])
    path = table(
        tmp_path,
        ["id", "reply", "context", "strategies", "labels.tone", "evidence", "channel"],
        ["1", REPLY, "", "apology | gratitude", "warm", evidence, "chat"],
        ["2", "two\nlines", "x", "", "", "", ""],
        ["3", "ok", "x", "null", "null", "", ""],
        encoding="utf-8-sig",
    )
    one, none, unknown = read_rows(path, TASKS)
    assert one.labels == {"strategies": ("apology", "gratitude"), "tone": "warm", "praise": None}
    assert one.evidence[1] == EvidenceSpan("strategies", "gratitude", 21, 27)
    assert (one.context, one.columns) == (None, {"channel": "chat"})
    assert none.labels == {"strategies": (), "tone": None, "praise": None}
    assert unknown.labels == {"strategies": None, "tone": None, "praise": None}


def test_a_quote_that_is_not_closed_costs_one_row(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(
        '\nid,reply,tone\n1,"a\nb",warm\n2,"open,warm\n3,c,warm\n\n4,"x"y,warm\n5,d,warm\n'
    )
    scan = scan_rows(path, TASKS)
    assert [row.id for row in scan.rows] == ["1", "3", "5"]
    where = [problem.removeprefix(f"{path}:").partition(":")[0] for problem in scan.problems]
    assert where == ["5", "8"]
    path.write_text('id,reply,tone\n1,a,warm\n2,"open,warm\n')
    assert scan_rows(path, TASKS).problems == [f"{path}:3: a quote that is not closed"]


def test_columns_that_disagree_are_told(tmp_path):
    columns = ["id", "reply", "strategies", "apology", "gratitude", "tone"]
    path = table(
        tmp_path, columns,
        ["1", "a", "apology", "1", "0", "warm"],
        ["2", "b", "apology", "0", "1", "warm"],
        ["3", "c", "", "0", "1", "warm"],
        ["4", "d", "apology", "", "", "warm"],
        ["5", "e", "apology", "0.97", "0.1", "warm"],
    )  # fmt: skip
    tasks = Tasks(TASKS[:2])
    scan = scan_rows(path, tasks)
    assert [row.labels["strategies"] for row in scan.rows[:2]] == [("apology",)] * 2
    said = "2 rows: 'strategies' counts, 'apology', 'gratitude' differ"
    assert scan.unlike == {"strategies": said}


def test_csv_names_the_line_a_row_starts_on(tmp_path):
    path = table(tmp_path, ["id", "reply", "tone"], ["1", "a\nb", "warm"], ["2", "c", "wram"])
    with pytest.raises(DataError, match=r"rows\.csv:4: tone: unknown label 'wram'; did you mean"):
        read_rows(path, TASKS)


def test_csv_may_hold_all_labels_in_one_column(tmp_path):
    tasks = Tasks(TASKS[:2])
    path = table(
        tmp_path,
        ["id", "reply", "labels"],
        ["1", "x", "apology|warm"],
        ["2", "x", ""],
        ["3", "x", '{"strategies": null, "tone": "cold"}'],
        ["4", "x", "cold"],
    )
    rows = read_rows(path, tasks)
    assert [row.labels for row in rows] == [
        {"strategies": ("apology",), "tone": "warm"},
        {"strategies": (), "tone": None},
        {"strategies": None, "tone": "cold"},
        {"strategies": (), "tone": "cold"},
    ]


@pytest.mark.parametrize(
    ("header", "cells", "message"),
    [
        (["labels"], ["apologie"], "unknown label 'apologie'"),
        (["labels"], ["gratitude"], "belongs to the tasks strategies, praise"),
        (["labels"], ["warm|cold"], "tone: one label is allowed, not warm and cold"),
        (["labels"], ["{"], "labels is not valid JSON"),
        (["labels"], ["null"], "no labels"),
        (["labels", "tone"], ["warm", "warm"], "in more than one column"),
        (["tone", "labels.tone"], ["warm", "warm"], "in more than one column"),
        (["tone", "evidence"], ["warm", "["], "evidence is not valid JSON"),
        (["channel"], ["chat"], "no labels"),
    ],
)
def test_bad_cells(tmp_path, header, cells, message):
    path = table(tmp_path, ["id", "reply", *header], ["1", "x", *cells])
    with pytest.raises(DataError, match=r"rows\.csv:2: ") as caught:
        read_rows(path, TASKS)
    assert message in str(caught.value)


def test_a_cell_may_hold_a_whole_thread_of_mails(tmp_path):
    long = "long " * 100_000
    before = csv.field_size_limit()
    path = table(tmp_path, ["id", "reply", "tone"], ["1", long, "warm"])
    assert the_row(read_rows(path, TASKS)).reply == long
    assert csv.field_size_limit() == before


@pytest.mark.parametrize("flat", [False, True])
def test_parquet_nested_or_with_a_column_for_each_task(tmp_path, flat):
    rows = [
        ROW,
        {**ROW, "id": "2", "evidence": [], "labels": {"strategies": [], "tone": None}},
        {**ROW, "id": "3", "evidence": None, "labels": {"strategies": None, "tone": "cold"}},
    ]
    if flat:
        rows = [{**row, **row["labels"]} for row in rows]
        for row in rows:
            del row["labels"]
    path = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), path)
    one, two, three = read_rows(path, TASKS)
    assert one == the_row(read_rows(jsonl(tmp_path, ROW), TASKS))
    assert two.labels == {"strategies": (), "tone": None, "praise": None}
    assert three.labels == {"strategies": None, "tone": "cold", "praise": None}


def test_parquet_names_the_row(tmp_path):
    path = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(
        pa.table({"id": ["1", "2"], "reply": ["x", ""], "tone": ["warm"] * 2}), path
    )
    with pytest.raises(DataError, match=r"rows\.parquet: row 2: id and reply must not be empty"):
        read_rows(path, TASKS)


def test_targets_are_one_zero_or_unknown(tmp_path):
    rows = read_rows(
        jsonl(
            tmp_path,
            {"id": "1", "reply": "x", "labels": {"strategies": ["gratitude"], "tone": "warm"}},
            {"id": "2", "reply": "x", "labels": {"strategies": [], "tone": None}},
        ),
        TASKS,
    )
    nan = np.nan
    expected = np.array([[0, 1, 1, 0, nan, nan], [0, 0, nan, nan, nan, nan]], dtype=np.float32)
    np.testing.assert_array_equal(targets(rows, TASKS), expected)
    assert targets(rows, TASKS).dtype == np.float32
    assert targets([], TASKS).shape == (0, 6)


@given(
    reply=st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip),
    data=st.data(),
)
def test_any_text_goes_through_jsonl_and_csv_unchanged(tmp_path_factory, reply, data):
    folder = tmp_path_factory.mktemp("rows")
    start = data.draw(st.integers(0, len(reply) - 1))
    end = data.draw(st.integers(start + 1, len(reply)))
    spans = [{"label": "apology", "start": start, "end": end}]
    nested = {"id": "1", "reply": reply, "labels": {"strategies": ["apology"]}, "evidence": spans}
    row = the_row(read_rows(jsonl(folder, nested), TASKS))
    assert row.reply == reply
    assert row.evidence == (EvidenceSpan("strategies", "apology", start, end),)
    path = table(
        folder,
        ["id", "reply", "strategies", "evidence"],
        ["1", reply, "apology", json.dumps(spans)],
    )
    assert read_rows(path, TASKS) == [row]


@pytest.fixture
def data_set(tmp_path):
    (tmp_path / "README.md").write_text(
        "---\ntasks:\n- {name: tone, kind: single, labels: {warm: '', cold: ''}}\n---\n"
    )
    row = {"id": "1", "reply": "ok", "labels": {"tone": "warm"}}
    jsonl(tmp_path, row).rename(tmp_path / "train.jsonl")
    table(tmp_path, ["id", "reply", "tone"], ["2", "ok", "cold"]).rename(tmp_path / "test.csv")
    return tmp_path


def test_a_data_set_finds_its_splits(data_set):
    found = load_data_set(data_set)
    assert list(found.files) == ["train", "test"]
    assert [row.id for row in found.split("test")] == ["2"]
    assert found.tasks[0].name == "tone"
    assert set(found.digests) == {"README.md", "train.jsonl", "test.csv"}
    content = (data_set / "test.csv").read_bytes()
    assert found.digests["test.csv"] == hashlib.sha256(content).hexdigest()


def test_a_missing_split_is_an_error_when_it_is_asked_for(data_set):
    with pytest.raises(DataError, match=r"no split 'validation' .*there: train, test"):
        load_data_set(data_set).split("validation")


def test_a_split_in_two_formats_is_refused(data_set):
    (data_set / "train.csv").write_text("")
    with pytest.raises(DataError, match=r"'train' more than once: train\.jsonl, train\.csv"):
        load_data_set(data_set)


def labels_of(path, tasks=TASKS):
    return [row.labels for row in read_rows(path, tasks)]


def test_whole_numbers_are_taken_as_text(tmp_path):
    row = {"id": 7, "group": 12, "reply": "ok", "labels": {"tone": 1}}
    tasks = Tasks.from_dicts([{"name": "tone", "kind": "single", "labels": {"1": "", "2": ""}}])
    read = the_row(read_rows(jsonl(tmp_path, row), tasks))
    assert (read.id, read.group, read.labels) == ("7", "12", {"tone": "1"})
    path = tmp_path / "rows.parquet"
    columns = {"id": [1, 2], "group": [3.0, None], "reply": ["x", "y"], "tone": [1, 2]}
    pyarrow.parquet.write_table(pa.table(columns), path)
    rows = read_rows(path, tasks)
    assert [(row.id, row.group, row.labels["tone"]) for row in rows] == [
        ("1", "3", "1"),
        ("2", "2", "2"),
    ]
    with pytest.raises(DataError, match=r"rows\.jsonl:2: id '7' was used before"):
        read_rows(jsonl(tmp_path, row, {**row, "id": "7"}), tasks)
    with pytest.raises(DataError, match="id must be text, not 1e"):
        read_rows(jsonl(tmp_path, {**row, "id": 1e300}), tasks)


@pytest.mark.parametrize(
    ("cell", "labels"),
    [
        ("apology|gratitude", ("apology", "gratitude")),
        ('["apology", "gratitude"]', ("apology", "gratitude")),
        ("['apology', 'gratitude']", ("apology", "gratitude")),
        ("[]", ()),
        ("apology;gratitude", ("apology", "gratitude")),
        ("apology, gratitude", ("apology", "gratitude")),
        ("apology;", ("apology",)),
        ("|", ()),
    ],
)
def test_several_labels_in_a_cell_as_people_write_them(tmp_path, cell, labels):
    path = table(tmp_path, ["id", "reply", "strategies"], ["1", "x", cell])
    assert labels_of(path, Tasks(TASKS[:1])) == [{"strategies": labels}]
    path = table(tmp_path, ["id", "reply", "labels"], ["1", "x", cell])
    assert labels_of(path, Tasks(TASKS[:1])) == [{"strategies": labels}]


@pytest.mark.parametrize(
    ("task", "cell", "message"),
    [
        ("strategies", "apology;gratitud", "'gratitud' is no label; labels are joined by '|'"),
        ("strategies", '["apology"', "no list of labels in JSON"),
        ("strategies", "[apology]", "no list of labels in JSON"),
        ("strategies", "{apology,gratitude}", "unknown label '{apology,gratitude}'"),
        ("strategies", "NA", "unknown label 'NA'; allowed: apology, gratitude; where labels are"),
        ("tone", "warm;cold", "tone: one label is allowed, not warm and cold"),
        ("tone", '["warm", "cold"]', "tone: one label is allowed, not warm and cold"),
        ("labels", "{apology}", "labels is not valid JSON"),
    ],
)
def test_several_labels_that_are_not_certain_are_explained(tmp_path, task, cell, message):
    path = table(tmp_path, ["id", "reply", task], ["1", "x", cell])
    with pytest.raises(DataError, match=r"rows\.csv:2: ") as caught:
        read_rows(path, TASKS)
    assert message in str(caught.value)


ODD = [
    "null",
    "NA",
    "None",
    "nan",
    "a;b",
    "a",
    "b",
    "[x]",
    "{y}",
    "yes, please",
    "r\u00e9sum\u00e9",
]


def odd_tasks(kind):
    return Tasks.from_dicts([{"name": "act", "kind": kind, "labels": dict.fromkeys(ODD, "")}])


@pytest.mark.parametrize("label", ODD)
@pytest.mark.parametrize("column", ["act", "labels"])
def test_what_the_card_names_is_that_label(tmp_path, label, column):
    path = table(tmp_path, ["id", "reply", column], ["1", "x", label])
    assert labels_of(path, odd_tasks("multilabel")) == [{"act": (label,)}]
    assert labels_of(path, odd_tasks("single")) == [{"act": label}]
    path = table(
        tmp_path, ["id", "reply", column], ["1", "x", f"{label}|a" if label != "a" else "b|a"]
    )
    assert labels_of(path, odd_tasks("multilabel"))[0]["act"][-1] == "a"
    nested = {"id": "1", "reply": "x", "labels": {"act": label}}
    assert labels_of(jsonl(tmp_path, nested), odd_tasks("single")) == [{"act": label}]
    parquet = tmp_path / "rows.parquet"
    columns = {"id": ["1"], "reply": ["x"], "act": [label]}
    pyarrow.parquet.write_table(pa.table(columns), parquet)
    assert labels_of(parquet, odd_tasks("single")) == [{"act": label}]


def test_labels_that_hold_the_sign_between_labels_are_not_parted(tmp_path):
    path = table(tmp_path, ["id", "reply", "act"], ["1", "x", "a;b;a"])
    with pytest.raises(DataError, match=r"a label may hold ';'; labels are joined by '|'"):
        read_rows(path, odd_tasks("multilabel"))


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_are_compared_in_one_unicode_form(tmp_path, form):
    label = unicodedata.normalize(form, "r\u00e9sum\u00e9")
    one = "r\u00e9sum\u00e9"
    evidence = [{"label": label, "start": 0, "end": 1}]
    nested = {"id": "1", "reply": "x", "labels": {"act": [label]}, "evidence": evidence, label: 1}
    row = the_row(read_rows(jsonl(tmp_path, nested), odd_tasks("multilabel")))
    assert (row.labels, row.columns) == ({"act": (one,)}, {one: 1})
    assert row.evidence == (EvidenceSpan("act", one, 0, 1),)
    header = ["id", "reply", *(unicodedata.normalize(form, name) for name in ODD)]
    path = table(tmp_path, header, ["1", "x", *("1" if name == one else "0" for name in ODD)])
    assert labels_of(path, odd_tasks("multilabel")) == [{"act": (one,)}]


@pytest.mark.parametrize(
    "columns",
    [
        ["apology", "gratitude", "warm", "cold"],
        ["strategies.apology", "strategies/gratitude", "tone_warm", "labels.tone.cold"],
        ["Apology", "GRATITUDE", "Tone_warm", "cold"],
    ],
)
@pytest.mark.parametrize(("yes", "no"), [("1", "0"), ("True", "False"), ("1.0", "0.0")])
def test_a_column_for_each_label_is_read(tmp_path, columns, yes, no):
    tasks = Tasks(TASKS[:2])
    path = table(
        tmp_path,
        ["id", "reply", *columns],
        ["1", "x", yes, no, no, yes],
        ["2", "x", no, no, yes, no],
        ["3", "x", "", "", "", ""],
    )
    expected = [
        {"strategies": ("apology",), "tone": "cold"},
        {"strategies": (), "tone": "warm"},
        {"strategies": None, "tone": None},
    ]
    assert labels_of(path, tasks) == expected
    assert the_row(read_rows(path, tasks)[:1]).columns == {}
    cells = [[True, False, False, True], [False, False, True, False], [None] * 4]
    rows = [
        {"id": str(at), "reply": "x", **dict(zip(columns, row, strict=True))}
        for at, row in enumerate(cells)
    ]
    parquet = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), parquet)
    assert labels_of(parquet, tasks) == expected


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["1", "", "1", "0"], "'gratitude' is empty, others of its row are not"),
        (
            ["1", "0.7", "1", "0"],
            "'gratitude' is '0.7'; allowed in a column of one label",
        ),
        (["1", "0", "1", "1"], "exactly one of the columns 'warm', 'cold' must be 1, not warm and"),
        (["1", "0", "0", "0"], "exactly one of the columns 'warm', 'cold' must be 1, not none"),
    ],
)
def test_a_column_for_each_label_that_cannot_be_read(tmp_path, cells, message):
    header = ["id", "reply", "apology", "gratitude", "warm", "cold"]
    path = table(tmp_path, header, ["1", "x", *cells])
    with pytest.raises(DataError, match=r"rows\.csv:2: ") as caught:
        read_rows(path, Tasks(TASKS[:2]))
    assert message in str(caught.value)


def test_columns_named_like_labels_are_left_alone_beside_that_of_the_task(tmp_path):
    header = ["id", "reply", "strategies", "apology", "gratitude", "tone"]
    path = table(tmp_path, header, ["1", "x", "apology", "0", "much", "warm"])
    row = the_row(read_rows(path, Tasks(TASKS[:2])))
    assert row.labels == {"strategies": ("apology",), "tone": "warm"}
    assert row.columns == {"apology": "0", "gratitude": "much"}


@pytest.mark.parametrize(
    ("header", "hint"),
    [
        (["strategy"], "its column 'strategy' is like it: rename it to 'strategies'"),
        (["Strategies"], "its column 'Strategies' is like it"),
        (["apology"], "columns for its labels 'apology', but none for 'gratitude': add them"),
        (["channel"], "its columns: id, reply, channel, tone"),
    ],
)
def test_a_task_of_which_a_table_says_nothing(tmp_path, header, hint):
    path = table(tmp_path, ["id", "reply", *header, "tone"], ["1", "x", "apology", "warm"])
    found = scan_rows(path, Tasks(TASKS[:2]))
    assert (len(found.rows), found.problems, list(found.lacking)) == (1, [], ["strategies"])
    assert "rows.csv has no labels of the task 'strategies'" in found.lacking["strategies"]
    assert hint in found.lacking["strategies"]


def test_a_task_of_which_no_line_of_jsonl_says_anything(tmp_path):
    rows = [
        {"id": "1", "reply": "x", "labels": {"tone": "warm"}, "strategies": ["apology"]},
        {"id": "2", "reply": "x", "labels": {"tone": "warm", "praise": None}},
    ]
    lacking = scan_rows(jsonl(tmp_path, *rows), TASKS).lacking
    assert list(lacking) == ["strategies"]
    assert "'strategies' stands beside 'labels'; it belongs in there" in lacking["strategies"]


def test_a_task_that_is_unknown_in_every_row_of_a_table_is_lacking(tmp_path):
    for column, cells in (("tone", ["", "null"]), ("labels.tone", ["", ""])):
        rows = [[str(n), "x", "apology", cell] for n, cell in enumerate(cells)]
        path = table(tmp_path, ["id", "reply", "strategies", column], *rows)
        found = scan_rows(path, Tasks(TASKS[:2])).lacking
        assert found == {
            "tone": f"{path} has no labels of the task 'tone': it is unknown in every row"
        }


def test_a_task_none_of_whose_labels_stands_among_joined_ones_is_lacking(tmp_path):
    tasks = Tasks(TASKS[:2])
    path = table(tmp_path, ["id", "reply", "labels"], ["1", "x", "warm"], ["2", "y", ""])
    assert list(scan_rows(path, tasks).lacking) == ["strategies"]
    path = table(tmp_path, ["id", "reply", "labels"], ["1", "x", "apology"], ["2", "y", "warm"])
    assert scan_rows(path, tasks).lacking == {}
    stated = '{"strategies": [], "tone": "warm"}'
    path = table(tmp_path, ["id", "reply", "labels"], ["1", "x", stated])
    assert scan_rows(path, tasks).lacking == {}


def test_rows_without_any_label_name_the_column_that_may_be_meant(tmp_path):
    path = table(tmp_path, ["id", "reply", "tones"], ["1", "x", "warm"])
    with pytest.raises(DataError, match="no labels; the tasks are") as caught:
        read_rows(path, Tasks(TASKS[1:2]))
    assert "its column 'tones' is like it: rename it to 'tone'" in str(caught.value)


def test_a_label_in_the_place_of_a_task_is_named(tmp_path):
    path = jsonl(tmp_path, {"id": "1", "reply": "x", "labels": {"warm": 1}})
    with pytest.raises(DataError, match="unknown task 'warm': it is a label of 'tone'"):
        read_rows(path, TASKS)


def test_parquet_columns_of_one_name_are_refused(tmp_path):
    path = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pa.Table.from_arrays([pa.array(["1"])] * 2, ["id", "id"]), path)
    with pytest.raises(DataError, match="columns named twice: id"):
        read_rows(path, TASKS)


def test_csv_as_people_have_it(tmp_path):
    path = tmp_path / "rows.csv"
    expected = [{"strategies": ("apology",), "tone": "warm", "praise": None}]
    for content in (
        b"\xef\xbb\xbfid;reply;strategies;tone\r\n1;Sorry, Ana;apology;warm\r\n",
        b"id\treply\tstrategies\ttone\n1\tx\tapology\twarm\n",
        b"id,reply,strategies,tone\r1,x,apology,warm\r",
        b"id,reply,strategies,tone,,\n1,x,apology,warm,,\n",
    ):
        path.write_bytes(content)
        assert labels_of(path) == expected
    path.write_bytes(b"id^reply^strategies^tone\n1^x^apology^warm\n")
    [row] = scan_rows(path, TASKS, delimiter="^").rows
    assert row.labels == expected[0]
    path.write_bytes("id,reply\n1,x\n".encode("utf-16"))
    with pytest.raises(DataError, match=r"is UTF-16 text, .* iconv -f UTF-16 -t UTF-8"):
        read_rows(path, TASKS)


def test_a_carriage_return_alone_begins_no_row(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes(b"id,reply,tone\n1,x,warm\r2,y,cold\r")
    with pytest.raises(DataError, match=r"rows\.csv:2: .*a carriage return stands alone in it"):
        read_rows(path, TASKS)


def test_a_pipe_is_no_card(tmp_path):
    os.mkfifo(tmp_path / "README.md")
    with pytest.raises(DataError, match=r"the data card .*README\.md is no file"):
        load_data_set(tmp_path)


def test_a_training_needs_all_tasks_of_the_card_in_all_files(tmp_path):
    (tmp_path / "README.md").write_text(
        "---\ntasks:\n- {name: tone, kind: single, labels: {warm: '', cold: ''}}\n"
        "- {name: topics, kind: multilabel, labels: {money: ''}}\n---\n"
    )
    for split, column in (("train", "topics"), ("validation", "topic"), ("test", "topic")):
        path = table(tmp_path, ["id", "reply", "tone", column], [split, "x", "warm", "money"])
        path.rename(tmp_path / f"{split}.csv")
    found = load_data_set(tmp_path)
    with pytest.raises(DataError, match="does not speak of all tasks of its card") as caught:
        found.splits([])
    for file in ("validation.csv", "test.csv"):
        assert f"{file} has no labels of the task 'topics'; its column 'topic'" in str(caught.value)
    assert "name it in data.allow_missing_tasks" in str(caught.value)
    assert [row.labels["topics"] for row in found.splits(["topics"])["test"]] == [None]
    found.splits({"validation": ["topics"], "test": ["topics"]})
    with pytest.raises(DataError, match=r"test\.csv has no") as caught:
        found.splits({"validation": ["topics"]})
    assert "validation.csv" not in str(caught.value)
    with pytest.raises(DataError, match="unknown task 'topic'; did you mean 'topics'"):
        check_allowed(["topic"], found.tasks)
    with pytest.raises(DataError, match="unknown split 'tset'; did you mean 'test'"):
        check_allowed({"tset": ["topics"]}, found.tasks)


def test_rows_to_evaluate_on_say_which_tasks_they_lack(tmp_path):
    path = table(tmp_path, ["id", "reply", "tones", "strategies"], ["1", "x", "warm", "apology"])
    labelled = load_labelled(path, "test", Tasks(TASKS[:2]))
    [line] = labelled.lacking
    assert "no labels of the task 'tone'; its column 'tones' is like it" in line


def test_parquet_text_that_is_not_utf8_costs_its_row(tmp_path):
    path = tmp_path / "rows.parquet"
    replies = pa.array([b"ok", b"\xff"]).view(pa.string())
    columns = {"id": ["1", "2"], "reply": replies, "tone": ["warm", "cold"]}
    pyarrow.parquet.write_table(pa.table(columns), path)
    found = scan_rows(path, TASKS)
    assert [row.id for row in found.rows] == ["1"]
    assert found.problems == [f"{path}: row 2: the text of 'reply' is not UTF-8"]


def test_parquet_values_that_python_cannot_hold_are_text(tmp_path):
    number = pa.array([2**60, 1], pa.int64())
    note = pa.Array.from_buffers(pa.string(), 2, pa.array([b"ok", b"caf\xe9"]).buffers())
    columns = {
        "id": ["1", "2"],
        "reply": ["sorry", "thanks"],
        "day": pa.array([-719529, 2932897], pa.int32()).view(pa.date32()),
        "at": number.view(pa.timestamp("us", "No/Where")),
        "nested": pa.StructArray.from_arrays([number.view(pa.duration("us"))], ["for"]),
        "price": pa.array([float("nan"), 2.5]),
    }
    path = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pa.table(columns), path)
    first, second = read_rows(path, TASKS, require_labels=False)
    assert first.columns["day"] == "-0001-12-31"
    assert first.columns["at"] == "+38504-08-17 21:30:06.846976Z"
    assert second.columns == {
        "day": "+10000-01-01",
        "at": "1970-01-01 00:00:00.000001Z",
        "nested": {"for": "PT0.000001S"},
        "price": 2.5,
    }
    pyarrow.parquet.write_table(pa.table(columns | {"note": note}), path)
    with pytest.raises(DataError, match="row 2: the text of 'note' is not UTF-8"):
        read_rows(path, TASKS, require_labels=False)
    names = [*columns, "day"]
    pyarrow.parquet.write_table(pa.table([*columns.values(), columns["day"]], names), path)
    with pytest.raises(DataError, match="columns named twice: day"):
        read_rows(path, TASKS, require_labels=False)


def test_labels_that_differ_in_their_case_alone_have_columns_of_their_own(tmp_path):
    tasks = Tasks.from_dicts([{"name": "act", "kind": "multilabel", "labels": {"a": "", "A": ""}}])
    path = table(tmp_path, ["id", "reply", "A", "a"], ["1", "x", "1", "0"])
    assert labels_of(path, tasks) == [{"act": ("A",)}]
    path = table(tmp_path, ["id", "reply", "A"], ["1", "x", "1"])
    with pytest.raises(DataError, match="no labels"):
        read_rows(path, tasks)


def test_values_of_parquet_that_python_cannot_hold_stay_as_text(tmp_path):
    days = pa.array([-800_000, 3_000_000], pa.int32()).cast(pa.date32())
    times = pa.array([123_456_789, 1], pa.int64()).cast(pa.time64("ns"))
    columns = {"id": ["1", "2"], "reply": ["x", "y"], "tone": ["warm"] * 2, "d": days, "t": times}
    path = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pa.table(columns), path)
    assert [row.columns for row in read_rows(path, TASKS)] == [
        {"d": "-0221-09-04", "t": "00:00:00.123456789"},
        {"d": "+10183-09-21", "t": "00:00:00.000000001"},
    ]
