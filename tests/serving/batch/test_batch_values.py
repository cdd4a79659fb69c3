"""Values of every type go through all nine pairs of formats: kept, or text that loses nothing."""

from __future__ import annotations

import base64
import csv
import json
import os
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tactful import Classifier, batch
from tactful.batch.arrow_values import column_values, json_value

# More of them: TACTFUL_EXAMPLES=300 (for each format of the input).
EXAMPLES = settings(
    max_examples=int(os.environ.get("TACTFUL_EXAMPLES", "4")),
    deadline=None,
    derandomize="TACTFUL_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
REPLIES = ["I am so sorry", "Thank you", None, " "]
Values = list[Any]


@dataclass(frozen=True, repr=False)
class Kind:
    """An Arrow type: arrays of it, its values (without null), and the way back from JSON."""

    array: Callable[[Values], pa.Array]
    values: st.SearchStrategy[Any]
    back: Callable[[Any], Any] = lambda said: said

    def __repr__(self) -> str:
        return str(self.array([]).type)

    def some(self) -> st.SearchStrategy[Any]:
        return st.none() | self.values

    def read(self, said: Any) -> Any:
        return None if said is None else self.back(said)


def plain(kind: pa.DataType, values: st.SearchStrategy[Any], back: Any = lambda said: said) -> Kind:
    return Kind(lambda given: pa.array(given, kind), values, back)


def numbers(kind: pa.DataType, low: int, high: int, back: Callable[[str], int]) -> Kind:
    """A type whose values are written as what they are underneath."""
    raw = pa.int32() if kind.bit_width == 32 else pa.int64()
    return Kind(lambda given: pa.array(given, raw).view(kind), st.integers(low, high), back)


def days(text: str) -> int:
    return int(np.datetime64(text.removeprefix("+"), "D").astype(int))


def instant(unit: str) -> Callable[[str], int]:
    def back(text: str) -> int:
        day, clock = text.split(" ")
        clock, offset = clock.removesuffix("Z"), 0
        for sign in "+-":
            if sign in clock:
                clock, distance = clock.split(sign)
                parts = [int(part) for part in distance.split(":")] + [0]
                offset = (parts[0] * 3600 + parts[1] * 60 + parts[2]) * int(f"{sign}1")
        per_second = 10 ** {"s": 0, "ms": 3, "us": 6, "ns": 9}[unit]
        return (days(day) * 86400 - offset) * per_second + clock_back(unit)(clock)

    return back


def clock_back(unit: str) -> Callable[[str], int]:
    def back(text: str) -> int:
        hours, minutes, seconds = text.split(":")
        total = (int(hours) * 60 + int(minutes)) * 60 + Decimal(seconds)
        return int(total * 10 ** {"s": 0, "ms": 3, "us": 6, "ns": 9}[unit])

    return back


def duration_back(unit: str) -> Callable[[str], int]:
    digits = {"s": 0, "ms": 3, "us": 6, "ns": 9}[unit]
    return lambda text: int(Decimal(text.replace("PT", "").removesuffix("S")).scaleb(digits))


def decimals(kind: pa.DataType) -> Kind:
    step = Decimal(1).scaleb(-kind.scale)
    whole = st.integers(1 - 10**kind.precision, 10**kind.precision - 1)
    return plain(kind, whole.map(lambda n: Decimal(f"{n}E{step.adjusted()}")), Decimal)


def lists(item: Kind, kind: str) -> Kind:
    def array(given: Values) -> pa.Array:
        flat = item.array([entry for each in given for entry in each or ()])
        sizes = [len(each or ()) for each in given]
        offsets = [0, *accumulate(sizes)]
        mask = pa.array([each is None for each in given], pa.bool_())
        if kind == "list":
            return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), flat, mask=mask)
        if kind == "large":
            return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), flat, mask=mask)
        views = pa.array(offsets[:-1], pa.int32()), pa.array(sizes, pa.int32())
        return pa.ListViewArray.from_arrays(*views, flat, mask=mask)

    return Kind(array, st.lists(item.some(), max_size=3), lambda said: [*map(item.read, said)])


def pairs(item: Kind) -> Kind:
    """A list of fixed size, without null: pyarrow writes one with null and cannot read it."""
    return Kind(
        lambda given: pa.FixedSizeListArray.from_arrays(
            item.array([entry for each in given for entry in each]), 2
        ),
        st.lists(item.some(), min_size=2, max_size=2),
        lambda said: [*map(item.read, said)],
    )


def structs(one: Kind, other: Kind, names: tuple[str, str]) -> Kind:
    def array(given: Values) -> pa.Array:
        columns = [[each and each[at] for each in given] for at in (0, 1)]
        columns = [[None if row is None else row[at] for row in given] for at in (0, 1)]
        return pa.StructArray.from_arrays(
            [one.array(columns[0]), other.array(columns[1])],
            names,
            mask=pa.array([each is None for each in given], pa.bool_()),
        )

    def back(said: Any) -> Any:
        named = list(said.items()) if isinstance(said, dict) else said
        assert [name for name, _ in named] == list(names)
        return one.read(named[0][1]), other.read(named[1][1])

    return Kind(array, st.tuples(one.some(), other.some()), back)


def maps(item: Kind) -> Kind:
    def array(given: Values) -> pa.Array:
        entries = [entry for each in given for entry in each or ()]
        offsets = [0, *accumulate(len(each or ()) for each in given)]
        return pa.MapArray.from_arrays(
            pa.array(offsets, pa.int32()),
            pa.array([key for key, _ in entries], pa.string()),
            item.array([value for _, value in entries]),
            mask=pa.array([each is None for each in given], pa.bool_()),
        )

    entries = st.lists(st.tuples(TEXT, item.some()), max_size=3)
    return Kind(array, entries, lambda said: [(key, item.read(value)) for key, value in said])


def dictionaries(item: Kind) -> Kind:
    def array(given: Values) -> pa.Array:
        distinct = {repr(each): each for each in given if each is not None}
        at = {key: place for place, key in enumerate(distinct)}
        places = [None if each is None else at[repr(each)] for each in given]
        return pa.DictionaryArray.from_arrays(
            pa.array(places, pa.int32()), item.array([*distinct.values()])
        )

    return Kind(array, item.values, item.back)


def extension(kind: pa.BaseExtensionType, storage: Kind, back: Any = None) -> Kind:
    return Kind(
        lambda given: pa.ExtensionArray.from_storage(kind, storage.array(given)),
        storage.values,
        back or storage.back,
    )


def unlike(said: Any) -> Any:
    """JSON's text for what is no number."""
    return float(said) if isinstance(said, str) else said


TEXT = st.text(st.characters(codec="utf-8"), max_size=6)
BYTES = st.binary(max_size=4)
SMALL = plain(pa.int8(), st.integers(-128, 127))
STRING = plain(pa.string(), TEXT)
UUID = plain(pa.binary(16), st.binary(min_size=16, max_size=16))
WHOLE = [(kind, 2 ** (kind.bit_width - 1)) for kind in (pa.int16(), pa.int32(), pa.int64())]
UNSIGNED = [pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]
ZONES = [None, "UTC", "Europe/Berlin", "America/New_York", "+07:30", "No/Where", "../UTC"]
INT64 = 2**63
# Parquet has no seconds: it stores milliseconds.
RANGES = {"s": INT64 // 1001, "ms": INT64 - 1, "us": INT64 - 1, "ns": INT64 - 1}
LEAVES = [
    SMALL,
    *(plain(kind, st.integers(-size, size - 1)) for kind, size in WHOLE),
    *(plain(kind, st.integers(0, 2**kind.bit_width - 1)) for kind in UNSIGNED),
    plain(pa.float16(), st.floats(width=16), unlike),
    plain(pa.float32(), st.floats(width=32), unlike),
    plain(pa.float64(), st.floats(), unlike),
    plain(pa.bool_(), st.booleans()),
    plain(pa.null(), st.none()),
    *(plain(kind, TEXT) for kind in (pa.string(), pa.large_string(), pa.string_view())),
    *(
        plain(kind, BYTES, base64.b64decode)
        for kind in (pa.binary(), pa.large_binary(), pa.binary_view())
    ),
    plain(pa.binary(3), st.binary(min_size=3, max_size=3), base64.b64decode),
    *map(decimals, (pa.decimal32(9, 2), pa.decimal64(18, 0), pa.decimal128(38, 10))),
    decimals(pa.decimal256(76, 38)),
    numbers(pa.date32(), -(2**31), 2**31 - 1, days),
    Kind(
        lambda given: pa.array([n and n * 86_400_000 for n in given], pa.int64()).view(pa.date64()),
        st.integers(-(2**31), 2**31 - 1),
        days,
    ),
    numbers(pa.time32("ms"), 0, 86_399_999, clock_back("ms")),
    numbers(pa.time64("us"), 0, 86_399_999_999, clock_back("us")),
    numbers(pa.time64("ns"), 0, 86_399_999_999_999, clock_back("ns")),
    *(
        numbers(pa.timestamp(unit, zone), -reach, reach, instant(unit))
        for unit, reach in RANGES.items()
        for zone in ZONES
    ),
    *(
        numbers(pa.duration(unit), -INT64, INT64 - 1, duration_back(unit))
        for unit in ("s", "ms", "us", "ns")
    ),
    dictionaries(STRING),
    dictionaries(SMALL),
    extension(pa.uuid(), UUID, lambda text: uuid.UUID(text).bytes),
    extension(pa.json_(), STRING),
    extension(pa.bool8(), plain(pa.int8(), st.integers(0, 1)), int),
]
KINDS = st.recursive(
    st.sampled_from(LEAVES),
    lambda kinds: st.one_of(
        st.builds(lists, kinds, st.sampled_from(["list", "large", "view"])),
        st.builds(structs, kinds, kinds, st.sampled_from([("a", "b"), ("same", "same")])),
        st.builds(maps, kinds),
    ),
    max_leaves=4,
)


@st.composite
def tables(draw: st.DrawFn) -> tuple[pa.Table, dict[str, tuple[Kind, Values]]]:
    rows = draw(st.integers(1, 5))
    replies = draw(st.lists(st.sampled_from(REPLIES), min_size=rows, max_size=rows))
    columns = {"reply": pa.array(replies, pa.string())}
    content: dict[str, tuple[Kind, Values]] = {}
    for number in range(draw(st.integers(1, 4))):
        kind = draw(KINDS)
        values = draw(st.lists(kind.some(), min_size=rows, max_size=rows))
        columns[f"c{number}"] = kind.array(values)
        content[f"c{number}"] = kind, values
    if draw(st.booleans()):
        kind = pairs(draw(st.sampled_from(LEAVES)))
        values = draw(st.lists(kind.values, min_size=rows, max_size=rows))
        columns["pairs"] = kind.array(values)
        content["pairs"] = kind, values
    return pa.table(columns), content


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(TEXT, values, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(["a", "b", "c", ""])
ROWS = st.lists(st.dictionaries(NAMES, JSON_VALUES, max_size=3), min_size=1, max_size=6)


@pytest.fixture(scope="module", autouse=True)
def _loaded_once(classifier: Classifier) -> Any:
    """One bundle for hundreds of jobs; `batch.score` would load it for each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Classifier, "load", lambda *_, **__: classifier)
        yield


def scored(source: Path, replies: Sequence[Any], sound_bundle: Path) -> tuple[Any, Any, pa.Table]:
    """A file as JSONL rows, CSV cells and a Parquet table; each reply was answered."""
    outputs = {}
    for suffix in ("jsonl", "csv", "parquet"):
        output = outputs[suffix] = source.parent / f"out.{suffix}"
        summary = batch.score(
            source, output, sound_bundle, part_rows=2, scores="none", csv_escape=False
        )
        bad = [reply for reply in replies if not isinstance(reply, str) or not reply.strip()]
        assert (summary.rows, summary.failed) == (len(replies), len(bad))
    rows = [json.loads(line) for line in outputs["jsonl"].read_bytes().splitlines()]
    with outputs["csv"].open(encoding="utf-8", newline="") as file:
        cells = list(csv.DictReader(file))
    table = pq.ParquetFile(outputs["parquet"]).read()
    for some in (rows, cells, table.select(["bundle"]).to_pylist()):
        assert len(some) == len(replies)
        assert all(row["bundle"] for row in some)
    return rows, cells, table


def check_cell(cell: str, said: Any) -> None:
    """Null is an empty cell, text is itself, the rest is JSON."""
    if said is None or isinstance(said, str):
        assert cell == (said or "")
    else:
        assert repr(json.loads(cell)) == repr(said)


@EXAMPLES
@given(given=tables())
def test_parquet_of_all_types(
    sound_bundle: Path, given: tuple[pa.Table, dict[str, tuple[Kind, Values]]]
) -> None:
    table, content = given
    with TemporaryDirectory() as folder:
        source = Path(folder, "in.parquet")
        pq.write_table(table, source, row_group_size=3)
        read = pq.ParquetFile(source).read()
        replies = table.column("reply").to_pylist()
        rows, cells, out = scored(source, replies, sound_bundle)
    for name, (kind, values) in content.items():
        for row, cell, value in zip(rows, cells, values, strict=True):
            assert repr(kind.read(row[name])) == repr(value), table.schema.field(name)
            check_cell(cell[name], row[name])
        assert out.schema.field(name).equals(read.schema.field(name))
        before, after = (each.column(name).combine_chunks() for each in (read, out))
        assert after.to_string(window=99) == before.to_string(window=99)


def held(value: Any, out: Any) -> bool:
    """Whether an Arrow value holds a JSON one; a key that a row lacks is null."""
    if isinstance(value, dict) and isinstance(out, dict):
        return value.keys() <= out.keys() and all(held(value.get(k), v) for k, v in out.items())
    if isinstance(value, list) and isinstance(out, list):
        return len(value) == len(out) and all(map(held, value, out))
    if isinstance(out, str) and out != value:
        return repr(json.loads(out)) == repr(value)
    return bool(out == value) and isinstance(out, bool) == isinstance(value, bool)


@EXAMPLES
@given(rows=ROWS)
def test_jsonl_of_all_types(sound_bundle: Path, rows: list[dict[str, Any]]) -> None:
    rows = [{"reply": REPLIES[at % 3], **row} for at, row in enumerate(rows)]
    with TemporaryDirectory() as folder:
        source = Path(folder, "in.jsonl")
        source.write_bytes(b"".join(json.dumps(row).encode() + b"\n" for row in rows))
        said, cells, out = scored(source, [row["reply"] for row in rows], sound_bundle)
    for row, one, cell, other in zip(rows, said, cells, out.to_pylist(), strict=True):
        assert repr({name: one[name] for name in row}) == repr(row)
        for name in out.column_names[: out.column_names.index("strategies")]:
            check_cell(cell[name], row.get(name))
            assert held(row.get(name), other[name])


@EXAMPLES
@given(cells=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=5))
def test_csv_of_all_texts(sound_bundle: Path, cells: list[tuple[str, str]]) -> None:
    with TemporaryDirectory() as folder:
        source = Path(folder, "in.csv")
        with source.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, quoting=csv.QUOTE_ALL).writerows(
                [("reply", "a", "b"), *(("sorry", *row) for row in cells)]
            )
        said, again, out = scored(source, ["sorry"] * len(cells), sound_bundle)
    for rows in (said, again, out.to_pylist()):
        assert [(row["a"], row["b"]) for row in rows] == cells


def test_times_beyond_what_python_has() -> None:
    def said(kind: pa.DataType, *values: int) -> list[Any]:
        raw = pa.int32() if kind.bit_width == 32 else pa.int64()
        array = pa.array([*values, None], raw).view(kind)
        nested = pa.StructArray.from_arrays([pa.array([1] * len(array)), array], ["n", "at"])
        table = pa.table({"at": array, "nested": nested})
        plain = [json_value(value) for value in column_values(table, "at")]
        assert [row["at"] for row in column_values(table, "nested")] == plain
        assert plain.pop() is None
        return plain

    dates = said(pa.date32(), -719529, -719528, 2932896, 2932897)
    assert dates == ["-0001-12-31", "0000-01-01", "9999-12-31", "+10000-01-01"]
    assert said(pa.time64("ns"), 1) == ["00:00:00.000000001"]
    assert said(pa.time32("s"), -5, 90_000) == ["-00:00:05", "25:00:00"]
    last, first = 253_402_300_799, -62_135_596_800
    berlin = said(pa.timestamp("s", "Europe/Berlin"), last, first, first - 1, 0)
    assert berlin == [
        "9999-12-31 23:59:59Z",  # already the next year in Berlin
        "0001-01-01 00:53:28+00:53:28",
        "0000-12-31 23:59:59Z",
        "1970-01-01 01:00:00+01:00",
    ]
    assert said(pa.timestamp("ms", "No/Where"), 1) == ["1970-01-01 00:00:00.001Z"]
    assert said(pa.duration("us"), -1_500_000) == ["-PT1.500000S"]


def test_int96_timestamps_keep_their_year(tmp_path: Path, sound_bundle: Path) -> None:
    times = [datetime(9999, 12, 31), datetime(1, 1, 1, 1, 2, 3, 456789)]
    table = pa.table({"reply": ["Sorry."] * 2, "at": pa.array(times, pa.timestamp("us"))})
    source = tmp_path / "old.parquet"
    pq.write_table(table, source, use_deprecated_int96_timestamps=True)
    batch.score(source, tmp_path / "out.jsonl", sound_bundle)
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").open(encoding="utf-8")]
    assert [row["at"] for row in rows] == [
        "9999-12-31 00:00:00.000000",
        "0001-01-01 01:02:03.456789",
    ]
    batch.score(source, tmp_path / "out.parquet", sound_bundle)
    assert pq.read_table(tmp_path / "out.parquet")["at"].to_pylist() == times


def test_a_map_with_ever_new_keys_is_text(tmp_path: Path, sound_bundle: Path) -> None:
    rows = [
        {"reply": "Sorry.", "by_user": {f"u{n}": 1}, "deep": {"few": {f"a{n % 20}": {f"b{n}": n}}}}
        for n in range(300)
    ]
    source = tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    batch.score(source, tmp_path / "out.parquet", sound_bundle, part_rows=50)
    out = pq.read_table(tmp_path / "out.parquet")
    assert out.schema.field("by_user").type == pa.string()
    for row, said in zip(rows, out.to_pylist(), strict=True):
        assert json.loads(said["by_user"]) == row["by_user"]
        assert json.loads(said["deep"]["few"]) == row["deep"]["few"]
    journal = tmp_path / ".out.parquet.tactful"
    assert sum(file.stat().st_size for file in journal.rglob("*")) < 2000


def test_ever_new_columns_are_refused_with_a_remedy(tmp_path: Path, sound_bundle: Path) -> None:
    rows = [{"reply": "Sorry.", **{f"k{n}_{m}": 1 for m in range(90)}} for n in range(50)]
    source = tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for suffix in ("csv", "parquet"):
        with pytest.raises(batch.JobError, match=r"more than 4,000 different keys.*\.jsonl OUTPUT"):
            batch.score(source, tmp_path / f"out.{suffix}", sound_bundle, part_rows=10)
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]
    assert batch.score(source, tmp_path / "out.jsonl", sound_bundle).rows == 50


def test_many_nested_fields_are_text_where_all_columns_are_too_many(
    tmp_path: Path, sound_bundle: Path
) -> None:
    row = {"reply": "Sorry.", **{f"c{n}": {f"k{m}": m for m in range(90)} for n in range(60)}}
    (tmp_path / "in.jsonl").write_text(json.dumps(row))
    batch.score(tmp_path / "in.jsonl", tmp_path / "out.parquet", sound_bundle)
    [out] = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert json.loads(out["c59"]) == row["c59"]


def test_numbers_that_no_float_holds_keep_their_digits(tmp_path: Path, sound_bundle: Path) -> None:
    texts = ["1e400", "-1E-400", "0.12345678901234567891", "1.10", "0e999", str(10**30)]
    lines = [f'{{"reply": "sorry", "n": {text}, "l": [{text}]}}' for text in texts]
    lines.append('{"reply": 1e400}')
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    for suffix in ("csv", "parquet"):
        summary = batch.score(tmp_path / "in.jsonl", tmp_path / f"out.{suffix}", sound_bundle)
        assert summary.errors == {"reply_not_text": 1}
    with (tmp_path / "out.csv").open(newline="") as file:
        cells = list(csv.DictReader(file))
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    for some in (cells, rows):
        said = [row["n"] for row in some[:-1]]
        assert said == [*texts[:3], "1.1", "0.0", str(10**30)]
        nested = some[0]["l"]
        assert (json.loads(nested) if isinstance(nested, str) else nested) == ["1e400"]
    assert rows[-1]["reply"] == "1e400"


def test_deep_and_odd_json_costs_only_its_row(tmp_path: Path, sound_bundle: Path) -> None:
    deep = {depth: "[" * depth + "]" * depth for depth in (20, 490, 510, 990)}
    lines = [f'{{"reply": "sorry", "x": {text}}}' for text in deep.values()]
    lines.append('{"reply": "sorry", "x": {"\\ud800": "\\udfff"}}')
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    for suffix in ("jsonl", "csv", "parquet"):
        summary = batch.score(tmp_path / "in.jsonl", tmp_path / f"out.{suffix}", sound_bundle)
        assert summary.errors == {"line_not_json": 2}, suffix
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["x"] for row in rows[:2]] == [deep[20], deep[490]]
    assert json.loads(rows[4]["x"]) == {"\ud800": "\udfff"}


def test_text_of_other_columns_that_is_not_utf8_costs_only_its_row(
    tmp_path: Path, sound_bundle: Path
) -> None:
    replies = pa.array(["sorry", "sorry"])
    raw = pa.array([b"caf\xe9", b"ok"])
    note = pa.Array.from_buffers(pa.string(), 2, raw.buffers())
    table = pa.table({"reply": replies, "in": pa.StructArray.from_arrays([note], ["note"])})
    pq.write_table(table, tmp_path / "in.parquet")
    summary = batch.score(tmp_path / "in.parquet", tmp_path / "out.jsonl", sound_bundle)
    assert summary.errors == {"not_utf8": 1}
    first = json.loads((tmp_path / "out.jsonl").read_bytes().splitlines()[0])
    assert first["in"] == {"note": "caf\\xe9"}
    assert first["error"]["message"] == "the text of 'in' is not UTF-8"
    kept = batch.score(tmp_path / "in.parquet", tmp_path / "out.parquet", sound_bundle)
    assert kept.failed == 0


def test_a_context_that_is_nan_is_none(tmp_path: Path, sound_bundle: Path) -> None:
    table = pa.table({"reply": ["sorry", "sorry"], "context": [float("nan")] * 2})
    pq.write_table(table, tmp_path / "in.parquet")
    for suffix in ("jsonl", "csv", "parquet"):
        output = tmp_path / f"out.{suffix}"
        assert batch.score(tmp_path / "in.parquet", output, sound_bundle).failed == 0


def test_types_nested_beyond_what_arrow_passes_on_are_refused(
    tmp_path: Path, sound_bundle: Path
) -> None:
    array: pa.Array = pa.array([1])
    for _ in range(70):
        array = pa.StructArray.from_arrays([array], ["x"])
    path = tmp_path / "in.parquet"
    with pq.ParquetWriter(
        path, pa.schema({"reply": pa.string(), "deep": array.type}), store_schema=False
    ) as writer:
        writer.write_table(pa.table({"reply": ["sorry"], "deep": array}))
    with pytest.raises(batch.JobError, match=r"'deep' is nested more than 60 levels deep"):
        batch.score(path, tmp_path / "out.parquet", sound_bundle)
