"""What goes in comes out again: formats, compressions, folders, globs, pipes."""

from __future__ import annotations

import csv
import datetime
import decimal
import gzip
import io
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tactful import Classifier, batch

ROWS: list[dict[str, Any]] = [
    {"id": "007", "reply": "I am so sorry, friend 🙂", "context": "my parcel", "n": 2**60 + 1},
    {"id": "NA", "reply": 'Thank you,\n"dear"\r\nfriend', "context": None, "n": None},
    {"id": "2024-01-02", "reply": "we will call you", "nested": {"a": [1, None, {"b": 1.10}]}},
]


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def read_jsonl(content: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in content.splitlines()]


def write_jsonl(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8", newline="")
    return path


def test_jsonl_is_passed_on_to_the_letter(tmp_path: Path, sound_bundle: Path) -> None:
    lines = [
        '{"id": 12345678901234567890, "reply":"sorry" , "x": 1.10, "e":1E400,"\\u00e9": "\\/"}',
        '\t{ "reply": "a \\ud83d sorry", "deep": [[], {}, {"k": null}] }  ',
    ]
    (tmp_path / "in.jsonl").write_bytes(("\ufeff" + "\r\n\n".join(lines)).encode())
    summary = batch.score(tmp_path / "in.jsonl", tmp_path / "out.jsonl", sound_bundle)

    assert (summary.rows, summary.failed) == (2, 0)
    out = (tmp_path / "out.jsonl").read_bytes().splitlines()
    for before, after in zip(lines, out, strict=True):
        assert after.startswith(before.strip()[:-1].rstrip().encode() + b',"strategies":[')
        assert json.loads(after)["error"] is None


def test_a_reading_is_the_same_as_the_classifiers(
    tmp_path: Path, sound_bundle: Path, classifier: Classifier
) -> None:
    write_jsonl(tmp_path / "in.jsonl", ROWS)
    batch.score(tmp_path / "in.jsonl", tmp_path / "out.jsonl", sound_bundle, part_rows=2)

    for row in read_jsonl((tmp_path / "out.jsonl").read_bytes()):
        reading = classifier.classify(row["reply"], context=row.get("context"))
        assert row["strategies"] == [strategy.label for strategy in reading.strategies]
        assert row["tone"] == reading.tone.label
        assert row["score.tone.warm"] == pytest.approx(reading.scores["tone"]["warm"], abs=1e-4)


def test_csv_cells_come_back_as_they_were(tmp_path: Path, sound_bundle: Path) -> None:
    cells = [
        ["id", "reply", "a,b", "empty", "formula"],
        ["007", 'sorry,\n"dear"\r\nfriend 🙂', "2024-01-02", "", "=1+1"],
        ["NA", "thanks\rfriend\x00", "9007199254740993", " ", "+5"],
    ]
    with (tmp_path / "in.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(cells)
    batch.score(tmp_path / "in.csv", tmp_path / "out.csv", sound_bundle, csv_escape=False)

    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        out = list(csv.reader(file))
    assert [row[:5] for row in out] == cells
    assert out[0][5:7] == ["strategies", "tone"]
    first = dict(zip(out[0], out[1], strict=True))
    assert first["strategies"] == "apology"
    assert json.loads(first["evidence"])[0]["label"] == "apology"
    assert (first["truncated"], first["error"]) == ("false", "")


def test_csv_cells_that_a_spreadsheet_would_run_are_quoted(
    tmp_path: Path, sound_bundle: Path
) -> None:
    dangerous = ["=1+1", "+1-1", "-x", "@sum", "\tx", "\rx"]
    harmless = ["-5", "+3.1e-7", ".5", "5-3", "a=b", ""]
    with (tmp_path / "in.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(
            [["reply", "cell"], *(["@sorry", cell] for cell in dangerous + harmless)]
        )
    batch.score(tmp_path / "in.csv", tmp_path / "out.csv", sound_bundle)
    batch.score(tmp_path / "in.csv", tmp_path / "out.jsonl", sound_bundle)

    rows = read_csv(tmp_path / "out.csv")
    assert [row["cell"] for row in rows] == ["'" + cell for cell in dangerous] + harmless
    assert {row["reply"] for row in rows} == {"'@sorry"}
    exact = read_jsonl((tmp_path / "out.jsonl").read_bytes())
    assert [row["cell"] for row in exact] == dangerous + harmless


def parquet_table() -> pa.Table:
    schema = pa.schema(
        [
            pa.field("id", pa.string(), nullable=False, metadata={b"note": b"kept"}),
            ("reply", pa.large_string()),
            ("context", pa.dictionary(pa.int32(), pa.string())),
            ("day", pa.date32()),
            ("at", pa.timestamp("ns", tz="UTC")),
            ("price", pa.decimal128(12, 2)),
            ("large", pa.uint64()),
            ("blob", pa.binary()),
            ("nested", pa.list_(pa.struct([("k", pa.int8()), ("v", pa.map_("string", "bool"))]))),
        ],
        metadata={b"owner": b"me"},
    )
    rows = [
        {
            "id": f"{n:03}",
            "reply": None if n == 2 else f"I am so sorry {n} 🙂",
            "context": "my order" if n % 2 else None,
            "day": datetime.date(2024, 1, 2),
            "at": 1_700_000_000_000_000_001 + n,
            "price": decimal.Decimal("1.10"),
            "large": 2**63 + n,
            "blob": b"\xff\x00",
            "nested": None if n == 3 else [{"k": n, "v": [("a", True)]}, None],
        }
        for n in range(7)
    ]
    return pa.Table.from_pylist(rows, schema=schema)


def test_parquet_keeps_types_values_and_metadata(tmp_path: Path, sound_bundle: Path) -> None:
    table = parquet_table()
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=3)
    summary = batch.score(
        tmp_path / "in.parquet", tmp_path / "out.parquet", sound_bundle, part_rows=2
    )
    out = pq.read_table(tmp_path / "out.parquet")

    assert summary.errors == {"reply_missing": 1}
    assert out.select(table.column_names).equals(table)
    assert out.schema.field("id").nullable is False
    assert out.schema.field("strategies").type == pa.list_(pa.string())
    assert pa.types.is_struct(out.schema.field("evidence").type.value_type)
    assert out.schema.field("error").type.names == ["code", "message"]
    manifest = json.loads((sound_bundle / "manifest.json").read_bytes())
    assert out.schema.metadata[b"tactful.bundle_digest"].decode() == manifest["digest"]
    assert out.schema.metadata[b"owner"] == b"me"
    rows = out.to_pylist()
    assert rows[2]["error"]["code"] == "reply_missing"
    assert rows[0]["evidence"][0]["text"] == "sorry"


def test_parquet_becomes_csv_and_jsonl(tmp_path: Path, sound_bundle: Path) -> None:
    pq.write_table(parquet_table(), tmp_path / "in.parquet")
    batch.score(tmp_path / "in.parquet", tmp_path / "out.jsonl.gz", sound_bundle)
    batch.score(tmp_path / "in.parquet", tmp_path / "out.csv.gz", sound_bundle)

    row = read_jsonl(gzip.decompress((tmp_path / "out.jsonl.gz").read_bytes()))[0]
    assert (row["day"], row["price"], row["large"]) == ("2024-01-02", "1.10", 2**63)
    assert row["at"].startswith("2023-11-14 22:13:20.000000001")
    text = gzip.decompress((tmp_path / "out.csv.gz").read_bytes()).decode()
    first = next(csv.DictReader(io.StringIO(text, newline="")))
    assert (first["id"], first["price"], first["large"]) == ("000", "1.10", str(2**63))


def test_jsonl_becomes_a_typed_table(tmp_path: Path, sound_bundle: Path) -> None:
    rows = [*ROWS, {"reply": "sorry", "mixed": 1, "n": 2}, {"reply": 5, "mixed": "x"}]
    write_jsonl(tmp_path / "in.jsonl", rows)
    (tmp_path / "in.jsonl").open("ab").write(b"{broken\n")
    summary = batch.score(tmp_path / "in.jsonl", tmp_path / "out.parquet", sound_bundle)
    out = pq.read_table(tmp_path / "out.parquet")

    assert summary.errors == {"reply_not_text": 1, "line_not_json": 1}
    names = ["id", "reply", "context", "n", "nested", "mixed", "line", "strategies"]
    assert out.column_names[: len(names)] == names
    assert out.schema.field("n").type == pa.int64()
    assert out.schema.field("reply").type == pa.string()  # one is a number: JSON text
    table = out.to_pylist()
    assert [row["n"] for row in table[:2]] == [2**60 + 1, None]
    assert table[2]["nested"]["a"][1] is None
    assert (table[3]["mixed"], table[4]["mixed"], table[4]["reply"]) == ("1", '"x"', "5")
    assert table[5]["line"] == "{broken"
    assert table[5]["error"]["code"] == "line_not_json"

    batch.score(tmp_path / "in.jsonl", tmp_path / "out.csv", sound_bundle)
    cells = read_csv(tmp_path / "out.csv")
    assert [row["n"] for row in cells] == [str(2**60 + 1), "", "", "2", "", ""]
    assert cells[1]["reply"] == ROWS[1]["reply"]
    assert json.loads(cells[2]["nested"]) == ROWS[2]["nested"]


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_compressed_files_go_in_and_out(tmp_path: Path, sound_bundle: Path, suffix: str) -> None:
    write_jsonl(tmp_path / "plain.jsonl", ROWS * 3)
    batch.score(tmp_path / "plain.jsonl", tmp_path / "plain.out.jsonl", sound_bundle, part_rows=4)
    packed = tmp_path / f"in.jsonl{suffix}"
    content = (tmp_path / "plain.jsonl").read_bytes()
    # Two streams in one file, as they arise when packed files are joined.
    for half in (content[:300], content[300:]):
        with packed.open("ab") as file:
            if suffix == ".gz":
                file.write(gzip.compress(half))
            else:
                file.write(pa.compress(half, codec="zstd", asbytes=True))
    for name in ("out.jsonl", "out.csv"):
        batch.score(packed, tmp_path / f"{name}{suffix}", sound_bundle, part_rows=4)
        batch.score(tmp_path / f"{name}{suffix}".replace("csv", "jsonl"), tmp_path / "x.jsonl",
                    sound_bundle, prefix="again.", overwrite=True)  # fmt: skip
        assert len(read_jsonl((tmp_path / "x.jsonl").read_bytes())) == 9
    if suffix == ".gz":
        unpacked = gzip.decompress((tmp_path / "out.jsonl.gz").read_bytes())
        assert unpacked == (tmp_path / "plain.out.jsonl").read_bytes()


def test_a_folder_becomes_one_file_or_a_folder(tmp_path: Path, sound_bundle: Path) -> None:
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    write_jsonl(folder / "b.jsonl", ROWS[:2])
    write_jsonl(folder / "deep" / "a.jsonl", ROWS[2:])
    write_jsonl(folder / "_hidden.jsonl", ROWS)
    (folder / "README.md").write_text("no rows")

    one = batch.score(folder, tmp_path / "out.jsonl", sound_bundle)
    many = batch.score(folder, f"{tmp_path}/out/", sound_bundle)
    globbed = batch.score(str(folder / "**" / "*.jsonl"), tmp_path / "g.csv", sound_bundle)

    assert (one.rows, many.rows, globbed.rows) == (3, 3, 6)
    ids = [row["id"] for row in read_jsonl((tmp_path / "out.jsonl").read_bytes())]
    assert ids == [row["id"] for row in ROWS]
    made = sorted(p.relative_to(tmp_path / "out") for p in (tmp_path / "out").rglob("*.*"))
    assert list(map(str, made)) == ["b.jsonl", "deep/a.jsonl"]
    whole = b"".join((tmp_path / "out" / path).read_bytes() for path in made)
    assert whole == (tmp_path / "out.jsonl").read_bytes()


def test_files_of_one_table_must_have_the_same_columns(tmp_path: Path, sound_bundle: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.csv").write_text("reply,x\nsorry,1\n")
    (folder / "b.csv").write_text("reply,y\nsorry,1\n")
    with pytest.raises(batch.JobError, match=r"b\.csv has other columns than .*a\.csv \(x, y\)"):
        batch.score(folder, tmp_path / "out.csv", sound_bundle)
    assert batch.score(folder, tmp_path / "out.jsonl", sound_bundle).rows == 2
    (folder / "c.jsonl").write_text('{"reply": "sorry"}\n')
    with pytest.raises(batch.JobError, match="several formats"):
        batch.score(folder, tmp_path / "out2.jsonl", sound_bundle)


@pytest.mark.parametrize("output", ["d/out/", "d/deep/out.jsonl", "d/out.csv"])
@pytest.mark.parametrize("given", ["d", "d/**/*.jsonl"])
def test_a_folder_scored_twice_does_not_score_its_own_output(
    tmp_path: Path, sound_bundle: Path, score: Any, given: str, output: str
) -> None:
    (tmp_path / "d/deep").mkdir(parents=True)
    write_jsonl(tmp_path / "d/b.jsonl", ROWS[:2])
    write_jsonl(tmp_path / "d/deep/a.jsonl", ROWS[2:])
    first = score(given, output, "--json", cwd=tmp_path)
    made = {path: path.read_bytes() for path in (tmp_path / "d").rglob("*.*") if path.is_file()}
    second = score(given, output, "--json", cwd=tmp_path)
    assert {path: path.read_bytes() for path in made} == made
    third = score(given, output, "--scores", "none", "--overwrite", "--json", cwd=tmp_path)

    assert (first.returncode, second.returncode) == (0, 0), second.stderr
    assert json.loads(first.stdout) | {
        "already_done": True, "resumed_rows": 0, "seconds": 0, "rows_per_second": 0
    } == json.loads(second.stdout)  # fmt: skip
    assert json.loads(third.stdout)["rows"] == 3, third.stderr


def test_an_output_that_no_job_made_is_an_input(tmp_path: Path, sound_bundle: Path) -> None:
    for name in ("a", "b"):
        write_jsonl(tmp_path / f"{name}.jsonl", ROWS)
    for output in (tmp_path / "b.jsonl", tmp_path):
        with pytest.raises(batch.JobError, match=r"is \(or holds\) the input .*; name another"):
            batch.score(tmp_path, output, sound_bundle, overwrite=True)


def test_remedies_that_messages_name_help(tmp_path: Path, sound_bundle: Path) -> None:
    (tmp_path / "in/deep").mkdir(parents=True)
    source = tmp_path / "in"
    write_jsonl(source / "a.jsonl", ROWS)
    (source / "deep/b.csv").write_text("reply,x\nsorry,1\n")
    (source / "c.csv").write_text("reply,y\nsorry,1\n")
    (source / "d.txt").write_text('{"reply": "sorry"}\n')

    with pytest.raises(
        batch.JobError, match=r"one format at a time.*'(.*/\*\*/\*\.csv\*)'"
    ) as told:
        batch.score(source, tmp_path / "out.csv", sound_bundle)
    glob = str(told.value).split("'")[1]
    with pytest.raises(batch.JobError, match=r"name a folder as OUTPUT \(ending in /\), or JSONL"):
        batch.score(glob, tmp_path / "out.csv", sound_bundle)
    assert batch.score(glob, f"{tmp_path}/out/", sound_bundle).rows == 2
    assert batch.score(glob, tmp_path / "out.jsonl", sound_bundle).rows == 2
    with pytest.raises(batch.JobError, match="say it with --input-format"):
        batch.score(source / "d.txt", tmp_path / "d.jsonl", sound_bundle)
    said = batch.score(source / "d.txt", tmp_path / "d.jsonl", sound_bundle, input_format="jsonl")
    assert said.rows == 1
    with pytest.raises(batch.JobError, match="or say it with --output-format"):
        batch.score(source / "a.jsonl", tmp_path / "a", sound_bundle)
    for output in (tmp_path / "a", f"{tmp_path}/folder/"):
        batch.score(source / "a.jsonl", output, sound_bundle, output_format="csv")
    assert (tmp_path / "folder/a.csv").read_bytes() == (tmp_path / "a").read_bytes()
    write_jsonl(source / "a.csv.jsonl", ROWS)
    (source / "a.jsonl.gz").write_bytes(gzip.compress(b'{"reply": "sorry"}\n'))
    with pytest.raises(batch.JobError, match="one of the same name; name a file as OUTPUT"):
        batch.score(
            f"{source}/a.jsonl*", f"{tmp_path}/same/", sound_bundle, output_format="parquet"
        )
    assert batch.score(f"{source}/a.jsonl*", tmp_path / "same.parquet", sound_bundle).rows == 4
    (source / "p.parquet.gz").write_bytes(b"")
    with pytest.raises(
        batch.JobError, match=r"cannot be read in pieces .* unpack\) it as \.parquet"
    ):
        batch.score(source / "p.parquet.gz", tmp_path / "p.jsonl", sound_bundle)


@pytest.mark.parametrize(
    ("name", "content"), [("in.jsonl", b"\n\n"), ("in.csv", b"id,reply\r\n"), ("in.parquet", b"")]
)
@pytest.mark.parametrize("output", ["out.jsonl", "out.csv", "out.parquet"])
def test_no_rows_are_no_error(
    tmp_path: Path, sound_bundle: Path, name: str, content: bytes, output: str
) -> None:
    if name.endswith("parquet"):
        pq.write_table(pa.table({"reply": pa.array([], pa.string())}), tmp_path / name)
    else:
        (tmp_path / name).write_bytes(content)
    assert batch.score(tmp_path / name, tmp_path / output, sound_bundle).rows == 0
    assert (tmp_path / output).exists()


def test_a_pipe(tmp_path: Path, sound_bundle: Path, score: Any) -> None:
    content = write_jsonl(tmp_path / "in.jsonl", ROWS).read_bytes()
    piped: subprocess.CompletedProcess[bytes] = score("-", "-", stdin=gzip.compress(content))
    assert piped.returncode == 0, piped.stderr
    assert [row["id"] for row in read_jsonl(piped.stdout)] == [row["id"] for row in ROWS]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl"]
