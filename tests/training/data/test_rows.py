from __future__ import annotations

import csv
import hashlib
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tactful.reading.tasks import Tasks
from tactful_training.data.data_set import load_data_set
from tactful_training.data.labelled_row import EvidenceSpan, targets
from tactful_training.data.row_files import read_rows
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
        ({"id": 7}, "id must be text, not 7 (int)"),
        ({"reply": " \n"}, "id and reply must not be empty"),
        ({"reply": ["x"]}, "reply must be text"),
        ({"context": 3}, "context must be text"),
        ({"group": 3}, "group must be text"),
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
        ("rows.csv", b"", "is empty; its first line must name the columns"),
        ("rows.csv", b"id,id\n", "columns named twice: id"),
        ("rows.csv", b"id,reply\n1,\xff\n", "rows.csv:2: not UTF-8"),
        ("rows.csv", b'id,reply\n1,"x"y\n', "rows.csv:2: not valid CSV"),
        ("rows.csv", b"id,reply,tone\n1,ok\n", "rows.csv:2: 2 cells, but 3 columns"),
        ("rows.csv", b"id;reply\n1;ok\n", "no 'id'; the columns are: id;reply"),
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
