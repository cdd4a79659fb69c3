"""Rows that cannot be read become rows with an error; the job goes on."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tactful import batch

ADDED = ["strategies", "tone", "evidence", "truncated", "bundle", "error"]

# Each with the code that must be named, or None for a row that is fine.
HOSTILE: list[tuple[bytes, str | None]] = [
    (b'{"id": 1, "reply": "I am so sorry"}', None),
    (b'{"id": 2}', "reply_missing"),
    (b'{"id": 3, "reply": null}', "reply_missing"),
    (b'{"id": 4, "reply": 5}', "reply_not_text"),
    (b'{"id": 5, "reply": ["a"]}', "reply_not_text"),
    (b'{"id": 6, "reply": " \\n\\t "}', "reply_empty"),
    (b'{"id": 7, "reply": "sorry", "context": {"a": 1}}', "context_not_text"),
    (b'{"id": 8, "reply": "caf\xe9"}', "not_utf8"),
    (b'{"id": 9, "reply": "sorry"', "line_not_json"),
    (b"[1, 2]", "line_not_json"),
    (b"null", "line_not_json"),
    (b'{"id": 10, "reply": "a", "reply": "b"}', "line_not_json"),
    (b'{"id": 11, "reply": "sorry", "x": NaN}', "line_not_json"),
    (b"[" * 100_000, "line_not_json"),
    (b'{"id": 12, "reply": "\\ud83d sorry \\u0000 \\u202e"}', None),
    (b'{"id": 13, "reply": "=cmd|x!A1"}', None),
    (b'{"id": 14, "reply": "\xf0\x9f\x91\xa9\xe2\x80\x8d sorry"}', None),
    (b"\x00\x01\x02", "line_not_json"),
]
LONG = b'{"id": 99, "reply": "' + b"so sorry " * 120_000 + b'"}'


@pytest.mark.parametrize("output", ["out.jsonl", "out.csv", "out.parquet"])
def test_hostile_lines_are_all_answered_in_their_place(
    tmp_path: Path, sound_bundle: Path, output: str
) -> None:
    random.seed(5)
    lines = [random.choice(HOSTILE) for _ in range(600)]
    lines[::200] = [(LONG, None)] * 3
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(line for line, _ in lines) + b"\n")
    summary = batch.score(tmp_path / "in.jsonl", tmp_path / output, sound_bundle, part_rows=250)

    rows: list[dict[str, Any]]
    if output == "out.parquet":
        rows = pq.read_table(tmp_path / output).to_pylist()
    elif output == "out.jsonl":
        rows = [json.loads(line) for line in (tmp_path / output).read_bytes().splitlines()]
    else:
        csv.field_size_limit(1 << 24)
        with (tmp_path / output).open(encoding="utf-8", newline="") as file:
            rows = [
                {**row, "error": json.loads(row["error"]) if row["error"] else None}
                for row in csv.DictReader(file)
            ]
    assert [row["error"] and row["error"]["code"] for row in rows] == [code for _, code in lines]
    assert summary.rows == 600
    assert summary.errors == {
        code: n
        for code in {code for _, code in lines if code}
        if (n := sum(1 for _, c in lines if c == code))
    }
    for row, (line, code) in zip(rows, lines, strict=True):
        if code in ("line_not_json", "not_utf8"):
            assert row["line"] == line.decode(errors="backslashreplace")
            assert row["error"]["message"].startswith("line ")


def test_hostile_csv_records_cost_only_themselves(tmp_path: Path, sound_bundle: Path) -> None:
    records = [
        (b"1,I am so sorry", None),
        (b'2,"two\nlines, ""quoted"""', None),
        (b"3", "row_malformed"),
        (b"4,a,b", "row_malformed"),
        (b'5,"closed"too early', "row_malformed"),
        (b"6,caf\xe9", "not_utf8"),
        (b"7,", "reply_empty"),
        (b'8,5" pipe', None),
        ("9,größer 🙂".encode(), None),
        (b"10,\x00\x01", None),
        (b"11," + b"so sorry " * 120_000, None),
        (b'12,"never closed', "row_malformed"),
        (b"13,thank you", None),
    ]
    content = b"id,reply\r\n" + b"\r\n".join(record for record, _ in records) + b"\r\n"
    (tmp_path / "in.csv").write_bytes(content)
    batch.score(tmp_path / "in.csv", tmp_path / "out.jsonl", sound_bundle, part_rows=2)
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_bytes().splitlines()]

    assert [row["error"] and row["error"]["code"] for row in rows] == [c for _, c in records]
    assert rows[1]["reply"] == 'two\nlines, "quoted"'
    assert rows[3]["line"] == "4,a,b"
    assert rows[5]["reply"] == "caf\\xe9"
    assert rows[-2]["error"]["message"].startswith("line 14: ")


def test_hostile_parquet(tmp_path: Path, sound_bundle: Path) -> None:
    replies = pa.array([b"so sorry", b"caf\xe9", None, b" "], pa.binary())
    broken = pa.Array.from_buffers(pa.string(), 4, replies.buffers())
    pq.write_table(pa.table({"reply": broken}), tmp_path / "in.parquet")
    summary = batch.score(tmp_path / "in.parquet", tmp_path / "out.parquet", sound_bundle)
    assert summary.errors == {"not_utf8": 1, "reply_missing": 1, "reply_empty": 1}
    kept = pq.read_table(tmp_path / "out.parquet").column("reply")
    assert kept.cast(pa.binary()).to_pylist() == replies.to_pylist()

    pq.write_table(pa.table({"reply": [1, 2]}), tmp_path / "numbers.parquet")
    summary = batch.score(tmp_path / "numbers.parquet", tmp_path / "n.jsonl", sound_bundle)
    assert summary.errors == {"reply_not_text": 2}


@pytest.mark.parametrize(("prefix", "rows"), [("", 0), ("tactful.", 2)])
@pytest.mark.parametrize("name", ["in.jsonl", "in.csv", "in.parquet"])
def test_a_column_that_is_taken_is_named(
    tmp_path: Path, sound_bundle: Path, name: str, prefix: str, rows: int
) -> None:
    path = tmp_path / name
    if name == "in.jsonl":
        path.write_text('{"reply": "sorry"}\n{"reply": "sorry", "tone": "mine"}\n')
    elif name == "in.csv":
        path.write_text("reply,tone\nsorry,mine\nsorry,mine\n")
    else:
        pq.write_table(pa.table({"reply": ["sorry"] * 2, "tone": ["mine"] * 2}), path)
    output = tmp_path / "out.jsonl"
    if not prefix:
        with pytest.raises(batch.JobError, match=r"'tone'.*--prefix tactful\."):
            batch.score(path, output, sound_bundle, part_rows=1)
        assert [p.name for p in tmp_path.iterdir()] == [name]
        return
    assert batch.score(path, output, sound_bundle, prefix=prefix).rows == rows
    last = json.loads(output.read_bytes().splitlines()[-1])
    assert last["tone"] == "mine"
    assert set(last) >= {f"tactful.{column}" for column in ADDED}


def test_other_columns_can_be_named(tmp_path: Path, sound_bundle: Path) -> None:
    (tmp_path / "in.csv").write_text("text,before\nI am so sorry,my parcel\n")
    options: dict[str, Any] = {"reply_column": "text", "context_column": "before"}
    batch.score(tmp_path / "in.csv", tmp_path / "out.jsonl", sound_bundle, **options)
    assert json.loads((tmp_path / "out.jsonl").read_text())["strategies"] == ["apology"]
    for wrong in ({}, {"reply_column": "text", "context_column": "after"}):
        with pytest.raises(batch.JobError, match=r"has no column .* text, before"):
            batch.score(tmp_path / "in.csv", tmp_path / "x.jsonl", sound_bundle, **wrong)


def test_too_many_errors_stop_the_job(tmp_path: Path, sound_bundle: Path) -> None:
    rows = ['{"reply": "sorry"}', "{"] * 50
    (tmp_path / "in.jsonl").write_text("\n".join(rows))
    arguments = (tmp_path / "in.jsonl", tmp_path / "out.jsonl", sound_bundle)
    with pytest.raises(batch.TooManyErrorsError, match=r"line_not_json 10\).* allows 7"):
        batch.score(*arguments, part_rows=20, max_errors=7)
    assert not (tmp_path / "out.jsonl").exists()
    summary = batch.score(*arguments, part_rows=20, max_errors=50)
    assert (summary.rows, summary.resumed_rows, summary.failed) == (100, 20, 50)


@pytest.mark.parametrize("output", ["out.jsonl", "out.csv", "out.parquet"])
def test_notes_say_what_was_left_out(tmp_path: Path, sound_bundle: Path, output: str) -> None:
    replies = ["so sorry", "so sorry\n> thank you", "Es tut mir leid, das Paket kommt.", "> thanks"]
    lines = (json.dumps({"reply": reply}) for reply in replies)
    (tmp_path / "in.jsonl").write_text("\n".join(lines), "utf-8")
    source, target = tmp_path / "in.jsonl", tmp_path / output
    summary = batch.score(source, target, sound_bundle, notes=True)
    assert (summary.shortened, summary.language_doubtful) == (1, 1)
    assert summary.errors == {"reply_only_quotes": 1}
    if output == "out.csv":
        with target.open(encoding="utf-8", newline="") as file:
            rows: list[dict[str, Any]] = list(csv.DictReader(file))
        assert [row["language_doubtful"] for row in rows] == ["false", "false", "true", ""]
        assert json.loads(rows[1]["skipped"]) == [{"start": 9, "end": 20, "why": "quoted"}]
        return
    if output == "out.parquet":
        rows = pq.read_table(target).to_pylist()
    else:
        rows = [json.loads(line) for line in target.read_text("utf-8").splitlines()]
    assert [row["language_doubtful"] for row in rows] == [False, False, True, None]
    assert [row["skipped"] for row in rows[:2]] == [
        [], [{"start": 9, "end": 20, "why": "quoted"}]
    ]  # fmt: skip

    plain = batch.score(source, tmp_path / f"plain-{output}", sound_bundle, format="text")
    assert (plain.shortened, plain.failed) == (0, 0)
