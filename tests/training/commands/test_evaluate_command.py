from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import typer
from click.testing import Result
from pyarrow import parquet
from typer.testing import CliRunner

from tactful.errors import BundleError
from tactful_training.commands.evaluate import evaluate
from tactful_training.errors import DataError

CARD = """---
tasks:
  - {name: tone, kind: single, labels: {neutral: calm, warm: kind}}
  - name: strategies
    kind: multilabel
    labels: {apology: sorry, gratitude: thanks, next_step: what comes}
---
"""
REPLIES = [
    ("I am so sorry, friend.", ["apology"], "warm", [(8, 13)]),
    ("Thank you for your order.", ["gratitude"], "neutral", [(0, 9)]),
    ("We will call you next.", ["next_step"], "neutral", [(3, 7)]),
    ("Your parcel is late.", [], "neutral", []),
    ("Glad, my friend. Thanks and sorry.", ["gratitude", "apology"], "warm", []),
]


def rows(split: str, copies: int = 4) -> list[dict[str, Any]]:
    return [
        {
            "id": f"{split}-{copy}-{index}",
            "group": f"{split}-{copy}",
            "context": "where is my parcel",
            "reply": reply,
            "labels": {"strategies": strategies, "tone": tone},
            "evidence": [
                {"label": label, "start": start, "end": end}
                for label, (start, end) in zip(strategies, spans, strict=False)
            ],
        }
        for copy in range(copies)
        for index, (reply, strategies, tone, spans) in enumerate(REPLIES)
    ]


def write_rows(path: Path, content: list[dict[str, Any]]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in content)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def data_set(tmp_path: Path) -> Path:
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "README.md").write_text(CARD, encoding="utf-8")
    for split in ("train", "validation", "test"):
        write_rows(folder / f"{split}.jsonl", rows(split))
    return folder


def run(bundle: Path, *arguments: object) -> Result:
    app = typer.Typer()
    app.command()(evaluate)
    return CliRunner().invoke(app, ["--bundle", str(bundle), *map(str, arguments)])


def test_json_alone_on_standard_output(sound_bundle: Path, data_set: Path) -> None:
    result = run(sound_bundle, "--data", data_set, "--json")
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    assert content["n"] == 20
    # The bundle's order of tasks, whatever that of the card.
    assert list(content) == [
        *("n", "strategies", "tone", "evidence", "calibration", "slices", "bootstrap")
    ]
    assert content["strategies"]["micro_f1"]["value"] > 0.8
    assert content["tone"]["accuracy"]["value"] > 0.8
    assert 0 < content["evidence"]["token_f1"]["value"] <= 1
    assert content["bootstrap"]["groups"] == 4


def test_a_table_beside_the_baseline(sound_bundle: Path, data_set: Path) -> None:
    result = run(sound_bundle, "--data", data_set, "--baseline", "--split", "validation")
    assert result.exit_code == 0, result.output
    for words in (
        "strategies macro F1",
        "tone accuracy",
        "evidence token F1",
        "apology",
        "base F1",
    ):
        assert words in result.stdout
    assert "too rare" in result.stdout
    result = run(sound_bundle, "--data", data_set, "--baseline", "--json")
    content = json.loads(result.stdout)
    assert content["baseline"]["n"] == content["n"]
    assert (
        content["baseline"]["strategies"]["labels"].keys() == content["strategies"]["labels"].keys()
    )


def test_a_file_is_read_by_the_tasks_of_the_bundle(sound_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# Some rows\n\ntasks: none\n", encoding="utf-8")
    file = write_rows(tmp_path / "rows.jsonl", rows("x", copies=2))
    content = json.loads(run(sound_bundle, "--data", file, "--json").stdout)
    assert content["n"] == 10
    with pytest.raises(DataError, match=r"rows\.jsonl is a file; name the folder"):
        run_raising(sound_bundle, "--data", file, "--baseline")
    write_rows(file, [{"id": "1", "reply": "hi", "labels": {"strategies": ["greeting"]}}])
    with pytest.raises(DataError, match="unknown label 'greeting'"):
        run_raising(sound_bundle, "--data", file)


def test_a_file_is_read_by_the_card_beside_it(sound_bundle: Path, data_set: Path) -> None:
    card = CARD.replace(
        "  - name: strategies",
        "  - {name: mood, kind: single, labels: {a: '', b: ''}}\n  - name: strategies",
    )
    (data_set / "README.md").write_text(card, encoding="utf-8")
    known = rows("test")
    known[0]["labels"]["mood"] = "a"
    write_rows(data_set / "test.jsonl", known)
    content = json.loads(run(sound_bundle, "--data", data_set / "test.jsonl", "--json").stdout)
    assert content["n"] == 20
    assert "mood" not in content


def test_rows_without_evidence_have_none_measured(sound_bundle: Path, tmp_path: Path) -> None:
    bare = [{k: v for k, v in row.items() if k != "evidence"} for row in rows("x")]
    file = write_rows(tmp_path / "rows.jsonl", bare)
    content = json.loads(run(sound_bundle, "--data", file, "--json").stdout)
    assert content["evidence"] is None


def run_raising(bundle: Path, *arguments: object) -> None:
    """Run the command as `tactful.cli` does, which catches and prints deliberate errors."""
    result = run(bundle, *arguments)
    assert result.exception is not None
    raise result.exception


def test_a_column_of_strange_numbers_can_be_sliced(sound_bundle: Path, tmp_path: Path) -> None:
    prices: list[Any] = [math.nan, math.inf, -math.inf, None, *map(float, range(76))]
    labels = {"tone": ["warm"] * 80, "reply": ["I am so sorry, friend."] * 80}
    table = pa.table({"id": list(map(str, range(80))), **labels, "price": prices})
    parquet.write_table(table, tmp_path / "rows.parquet")
    huge = [{**row, "price": 2**63 + 2**60 * n} for n, row in enumerate(rows("x", copies=16))]
    for file, values in (
        (tmp_path / "rows.parquet", ["(none)", "0 to 18.75"]),
        (write_rows(tmp_path / "rows.jsonl", huge), ["9.22337e+18 to 3.19936e+19"]),
    ):
        arguments = ["--data", file, "--slice", "price"]
        shown = run(sound_bundle, *arguments)
        assert shown.exit_code == 0, shown.exception
        content = json.loads(run(sound_bundle, *arguments, "--json").stdout)
        found = content["slices"]["tasks"]["tone"]["price"]
        assert set(values) <= set(found)
        assert not [name for name in found if "nan" in name or "inf" in name]


def test_data_of_other_tasks_or_labels_is_refused(sound_bundle: Path, data_set: Path) -> None:
    card = data_set / "README.md"
    card.write_text("---\ntasks:\n  - {name: mood, kind: single, labels: {a: '', b: ''}}\n---\n")
    with pytest.raises(DataError, match="tasks mood, but the bundle was trained for strategies, t"):
        run_raising(sound_bundle, "--data", data_set)
    card.write_text(CARD.replace("apology: sorry", "regret: sorry").replace("warm", "icy"))
    with pytest.raises(DataError) as caught:
        run_raising(sound_bundle, "--data", data_set)
    assert str(caught.value).splitlines()[1:] == [
        "  - strategies: labels only in the data: regret",
        "  - strategies: labels only in the bundle: apology",
        "  - tone: labels only in the data: icy",
        "  - tone: labels only in the bundle: warm",
    ]
    card.write_text(CARD.replace("kind: single", "kind: multilabel"))
    with pytest.raises(DataError, match="tone is multilabel in the data and single in the bundle"):
        run_raising(sound_bundle, "--data", data_set)


def test_unusable_input_is_a_clear_error(
    sound_bundle: Path, data_set: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="no split 'tset'"):
        run_raising(sound_bundle, "--data", data_set, "--split", "tset")
    (data_set / "train.jsonl").unlink()
    with pytest.raises(DataError, match="no split 'train'"):
        run_raising(sound_bundle, "--data", data_set, "--baseline")
    (data_set / "test.jsonl").write_text("")
    with pytest.raises(DataError, match="holds no rows"):
        run_raising(sound_bundle, "--data", data_set)
    with pytest.raises(DataError, match=r"nowhere\.jsonl"):
        run_raising(sound_bundle, "--data", tmp_path / "nowhere.jsonl")
    with pytest.raises(DataError, match="nowhere"):
        run_raising(sound_bundle, "--data", tmp_path / "nowhere")
    with pytest.raises(BundleError):
        run_raising(tmp_path / "no-bundle", "--data", data_set)
    unknown = [{**row, "labels": {"strategies": None, "tone": None}} for row in rows("test")]
    write_rows(data_set / "test.jsonl", unknown)
    with pytest.raises(DataError, match="no row has labels of the tasks"):
        run_raising(sound_bundle, "--data", data_set)


def test_a_task_that_the_rows_lack_is_said(sound_bundle: Path, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    lines = ["id;reply;tones;strategies", "1;I am so sorry;warm;apology", "2;Thank you;warm;"]
    file.write_text("\n".join(lines), encoding="utf-8")
    result = run(sound_bundle, "--data", file, "--json")
    assert result.exit_code == 0, result.output
    assert "tone" not in json.loads(result.stdout)
    assert json.loads(result.stdout)["strategies"]["labels"]["apology"]["support"] == 1
    assert "warning: " in result.stderr
    assert "rows.csv has no labels of the task 'tone'; its column 'tones' is like" in result.stderr
    file.write_text(file.read_text("utf-8").replace(";", "^"), encoding="utf-8")
    result = run(sound_bundle, "--data", file, "--delimiter", "^", "--json")
    assert json.loads(result.stdout)["n"] == 2
