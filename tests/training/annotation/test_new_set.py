from __future__ import annotations

import csv
import json
import re
import runpy
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tactful import Classifier
from tactful.cli import build_app
from tactful_training.annotation.exchange import export_rows, import_rows
from tactful_training.annotation.merging import merge_data
from tactful_training.annotation.new_set import Columns, start_data_set
from tactful_training.data.data_check import check_data
from tactful_training.data.data_set import SPLITS, load_data_set
from tactful_training.errors import DataError

ROOT = Path(__file__).resolve().parents[3]
MADE_UP = runpy.run_path(str(ROOT / "tests/slow/own_labels_export.py"))
LABELS, write_export = MADE_UP["LABELS"], MADE_UP["write_export"]
HELP_DESK = Columns("Agent reply", "Customer message", "Category", "Ticket")


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "export.csv"
    write_export(path)
    return path


def test_a_labelled_export_becomes_a_set_that_trains(tmp_path: Path, export: Path) -> None:
    folder = tmp_path / "own labels"
    made = start_data_set(folder, export, task="topics", columns=HELP_DESK)
    data = load_data_set(folder)
    assert set(made.tasks.named("topics").labels) == set(LABELS)
    assert sum(made.rows.values()) == 400
    assert set(made.rows) == set(SPLITS)
    assert made.unlabelled == 0
    assert check_data(folder).ok
    with export.open(encoding="utf-8", newline="") as file:
        given = {row["Ticket"]: row for row in csv.DictReader(file)}
    for split in SPLITS:
        for row in data.split(split):
            cells = given.pop(row.id)
            assert row.reply == cells["Agent reply"]
            assert row.context == (cells["Customer message"] or None)
            labels = row.labels["topics"]
            assert sorted(labels or ()) == sorted(filter(None, cells["Category"].split("|")))
            assert row.columns == {"Team": cells["Team"]}
    assert not given
    assert data.card.front_matter["version"] == "1.0.0"
    guide = (folder / "ANNOTATION_GUIDE.md").read_text("utf-8")
    assert all(f"## {label}\n" in guide for label in LABELS)
    assert not (folder / "labelled.jsonl").exists()


def test_a_folder_of_texts_becomes_files_to_label_in(tmp_path: Path) -> None:
    replies = tmp_path / "replies"
    (replies / "may").mkdir(parents=True)
    for number in range(12):
        text = f"=So sorry, number {number * 7919} it is, {'abcdefghijkl'[number] * 4} {number}."
        (replies / f"may/{number}.txt").write_text(text, "utf-8")
    (replies / "empty.txt").write_text("\n", "utf-8")
    folder = tmp_path / "set"
    made = start_data_set(folder, replies, labels=["refund", "delay"], task="topics")
    assert (made.rows, made.unlabelled) == ({}, 12)
    names = {path.name for path in folder.iterdir()}
    assert {"to_label.csv", "to_label.json", "to_label.xml", "to_label.prodigy.jsonl"} <= names

    # Somebody labels all but one in a spreadsheet.
    table = folder / "to_label.csv"
    with table.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["reply"].startswith("'=So sorry")  # no formula for a spreadsheet
    for number, row in enumerate(rows[:-1]):
        row["topics"] = ["refund", "delay", "refund|delay", ""][number % 4]
    done = tmp_path / "done.csv"
    with done.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    merged = merge_data(folder, [done], who="Kim")
    assert (len(merged.changes), merged.unlabelled) == (11, 1)
    first = load_data_set(folder).split("train")[0]
    assert (first.id, first.reply[:9]) == ("may/0", "=So sorry")
    assert first.labels == {"topics": ("refund",)}
    # Nobody has answered what went to Label Studio.
    with pytest.raises(DataError, match="nothing that somebody has answered"):
        import_rows(folder / "to_label.json", folder, tmp_path / "out.jsonl")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": Columns("Agent reply")}, "which labels"),
        ({"columns": Columns("Reply", labels="Category")}, "'Reply'"),
        ({"columns": Columns("Agent reply", labels="Categories")}, "no column 'Categories'"),
        (
            {"columns": Columns("Agent reply", labels="Agent reply 2"), "labels": ["a"]},
            "no column 'Agent reply 2'; its columns: Ticket",
        ),
        (
            {"columns": HELP_DESK, "labels": ["refund", "delays"]},
            "unknown label 'delay'; did you mean 'delays'",
        ),
        ({"columns": HELP_DESK, "single": True}, "one label is allowed, not"),
        ({"columns": HELP_DESK, "task": "labels"}, "reserved"),
        ({"columns": Columns("Agent reply", labels="Ticket")}, "400 different values"),
    ],
)
def test_what_cannot_be_used_is_explained_and_nothing_is_left(
    tmp_path: Path, export: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        start_data_set(tmp_path / "set", export, **options)
    assert not list(tmp_path.iterdir())


def test_what_is_there_already_is_not_touched(tmp_path: Path, export: Path) -> None:
    with pytest.raises(DataError, match="is there already"):
        start_data_set(tmp_path, export, columns=HELP_DESK)
    with pytest.raises(DataError, match=r"there is no .*gone\.csv; name a table"):
        start_data_set(tmp_path / "set", tmp_path / "gone.csv", columns=HELP_DESK)
    with pytest.raises(DataError, match=r"holds no \.txt file"):
        start_data_set(tmp_path / "set", tmp_path, labels=["a"])
    book = tmp_path / "book.xlsx"
    book.write_bytes(b"PK")
    with pytest.raises(DataError, match="save a workbook as 'CSV UTF-8'"):
        start_data_set(tmp_path / "set", book, labels=["a"])


def test_a_column_may_be_called_labels_and_a_label_begin_as_a_formula(tmp_path: Path) -> None:
    table, folder = tmp_path / "export.csv", tmp_path / "set"
    cells = ("-late", "-late|on time", "on time", "")
    lines = [f"{name * 4} is here,{cell}\n" for name, cell in zip("abcd", cells, strict=True)]
    table.write_text("reply,labels\n" + "".join(lines), "utf-8")
    start_data_set(folder, table, task="topics", columns=Columns(labels="labels"))
    sheet, back = tmp_path / "sheet.csv", tmp_path / "back.jsonl"
    export_rows(folder, sheet, "csv")
    assert "'-late" in sheet.read_text("utf-8")
    import_rows(sheet, folder, back)
    found = [json.loads(line)["labels"]["topics"] for line in back.open(encoding="utf-8")]
    assert sorted(map(sorted, found)) == [[], ["-late"], ["-late", "on time"], ["on time"]]


def page_commands() -> list[list[str]]:
    """The commands of the page in their order, without ``tactful``."""
    text = (ROOT / "docs/your_own_labels.md").read_text("utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", text, flags=re.M | re.S)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("tactful")]


def test_following_the_page_ends_with_a_measured_bundle(
    workplace: Path, overrides: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a tiny encoder; the real one: make test-own-labels."""
    write_export(workplace / "export.csv", rows=120)
    small = [part for key, value in overrides.items() if key != "data.folder"
             for part in ("--set", f"{key}={value}")]  # fmt: skip
    app, run = build_app(), CliRunner()
    said = {}
    for arguments in page_commands():
        if arguments[0] == "serve":
            line = {"feedback": 1, "id": "f1", "reply": "Done.", "labels": {"topics": ["refund"]}}
            (workplace / "feedback.jsonl").write_text(json.dumps(line) + "\n", "utf-8")
            continue
        more = [*small, "--set", "training.epochs=1"] if arguments[0] == "train" else []
        result = run.invoke(app, [*arguments, *more], catch_exceptions=False)
        assert result.exit_code == 0, (arguments, result.output)
        said[" ".join(arguments[:2])] = result.output
    assert Classifier.load(workplace / "models/own_labels").bundle.id.startswith("own_labels@")
    assert "macro" in said["evaluate --bundle"]
    assert "Version 1.1.0" in said["data merge"]
