"""CSV as people have it: the same rows whatever parts the cells and ends the lines."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tactful import batch

Score = Callable[..., subprocess.CompletedProcess[bytes]]
REPLIES = [
    "I am so sorry, friend",
    "",
    'two\nlines; "quoted"',
    "thanks, é",
    "a\tb|c",
    "we will call",
]
HEADER = ["ticket", "reply", "note"]


def content(delimiter: str, end: str, mark: str = "", nameless: int = 0) -> bytes:
    """A table of `REPLIES`, many times, some of which are empty and so fail."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=delimiter, lineterminator=end)
    writer.writerow([*HEADER, *[""] * nameless])
    for number in range(30):
        reply = REPLIES[number % len(REPLIES)].replace("\n", end)
        writer.writerow([number, reply, "x", *[""] * nameless])
    return (mark + file.getvalue()).encode()


def scored(source: Path, bundle: Path, **options: Any) -> list[dict[str, Any]]:
    target = source.with_name(f"out-{source.name}.jsonl")
    batch.score(source, target, bundle, part_rows=4, **options)
    return [json.loads(line) for line in target.read_bytes().splitlines()]


@pytest.mark.parametrize(
    ("delimiter", "end", "name", "more"),
    [
        (";", "\r\n", "in.csv", {}),
        (";", "\r", "in.csv.gz", {}),
        ("\t", "\n", "in.csv.gz", {}),
        ("|", "\r", "in.csv", {}),
        (",", "\r", "in.csv.zst", {}),
        ("^", "\n", "in.csv", {"delimiter": "^"}),
    ],
)
def test_rows_are_the_same_and_a_job_goes_on_in_the_middle(
    tmp_path: Path, sound_bundle: Path, delimiter: str, end: str, name: str, more: dict[str, Any]
) -> None:
    (tmp_path / "plain.csv").write_bytes(content(",", "\n"))
    expected = scored(tmp_path / "plain.csv", sound_bundle)
    assert [row["reply"] for row in expected[:6]] == REPLIES
    source, target = tmp_path / name, tmp_path / "out.jsonl"
    data = content(delimiter, end, "\ufeff", nameless=2)
    with pa.output_stream(source, compression="detect") as file:
        file.write(data)
    with pytest.raises(batch.TooManyErrorsError):
        batch.score(source, target, sound_bundle, part_rows=4, max_errors=2, **more)
    summary = batch.score(source, target, sound_bundle, part_rows=4, **more)
    assert (summary.resumed_rows, summary.rows) == (16, 30)
    found = [json.loads(line) for line in target.read_bytes().splitlines()]
    for row in found:
        row["reply"] = row["reply"].replace(end, "\n")
    assert found == expected


def test_cells_beyond_the_named_columns_are_an_error_of_their_row(
    tmp_path: Path, sound_bundle: Path
) -> None:
    (tmp_path / "in.csv").write_bytes(b"ticket,reply,,\n1,Sorry,,\n2,Sorry,,lost\n3,Sorry\n")
    first, second, third = scored(tmp_path / "in.csv", sound_bundle)
    assert list(first)[:3] == ["ticket", "reply", "strategies"]
    assert first["error"] is third["error"] is None
    assert second["error"]["code"] == "row_malformed"
    assert second["error"]["message"].endswith("cell 4 is not empty, but its column has no name")
    assert second["line"] == "2,Sorry,,lost"


def test_names_of_columns_that_fill_more_than_a_buffer(tmp_path: Path, sound_bundle: Path) -> None:
    names = [f"column {number}" for number in range(3000)]
    lines = [";".join([*names, "reply"]), ";".join(["1"] * 3000 + ["Sorry"])]
    (tmp_path / "in.csv").write_text("\n".join(lines), encoding="utf-8")
    [row] = scored(tmp_path / "in.csv", sound_bundle)
    assert (row["column 2999"], row["reply"], row["error"]) == ("1", "Sorry", None)


def test_what_is_no_csv_is_refused_with_the_remedy(tmp_path: Path, score: Score) -> None:
    path = tmp_path / "in.csv"
    for head, words in {
        content(",", "\n")
        .decode()
        .encode("utf-16"): "iconv -f UTF-16 -t UTF-8 < in.csv > in.utf8.csv",
        content(",", "\n").decode().encode("utf-16-le"): "iconv -f UTF-16LE",
        b"PK\x03\x04": "perhaps an Excel workbook",
        b"ticket,reply\r1,x\n": "tr '\\r' '\\n' < in.csv > in.lines.csv",
        b"ticket;answer\n1;x\n": "no column 'reply'; its columns: ticket, answer",
    }.items():
        path.write_bytes(head)
        result = score("in.csv", "out.jsonl", cwd=tmp_path)
        assert result.returncode == 2
        assert words in " ".join(result.stderr.decode().split())
        assert not (tmp_path / "out.jsonl").exists()


def test_a_delimiter_is_for_csv(tmp_path: Path, score: Score) -> None:
    (tmp_path / "in.jsonl").write_text('{"reply": "Sorry"}\n', encoding="utf-8")
    result = score("in.jsonl", "out.jsonl", "--delimiter", ";", cwd=tmp_path)
    assert result.returncode == 2
    assert b"--delimiter is for CSV, but in.jsonl is jsonl" in result.stderr
    (tmp_path / "in.csv").write_text("a^reply\n1^Sorry\n", encoding="utf-8")
    result = score("in.csv", "-", "--delimiter", "^", "--output-format", "jsonl", cwd=tmp_path)
    assert json.loads(result.stdout)["reply"] == "Sorry"


def test_standard_input_is_read_alike(tmp_path: Path, score: Score) -> None:
    options = ["-", "-", "--input-format", "csv", "--output-format", "jsonl"]
    result = score(*options, stdin=content(";", "\r", "\ufeff"), cwd=tmp_path)
    assert [json.loads(line)["ticket"] for line in result.stdout.splitlines()] == [
        str(number) for number in range(30)
    ]
    result = score(*options, stdin=content(",", "\n").decode().encode("utf-16"), cwd=tmp_path)
    assert result.returncode == 2
    said = " ".join(result.stderr.decode().split())
    assert "standard input is UTF-16 text" in said
    assert "by sending it through iconv -f UTF-16 -t UTF-8" in said
