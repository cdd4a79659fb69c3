"""A new data set from replies as they are: a table with labels or without, or a folder of texts.

Labelled replies are shared out among the splits, ready for ``tactful train``. For those without a
label there are files for the tools in which people label, and for all of them a card and the
skeleton of an annotation guide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from rich.console import Group, RenderableType
from rich.text import Text

from tactful.reading.tasks import Task, Tasks, one_form
from tactful.storage import replace_folder
from tactful_training.annotation.label_studio import labelling_config, to_label_studio
from tactful_training.annotation.prodigy import to_prodigy
from tactful_training.annotation.row_history import FIRST_VERSION
from tactful_training.data.data_card import CARD
from tactful_training.data.data_set import SPLITS, load_data_set
from tactful_training.data.label_cells import UNKNOWN, listed
from tactful_training.data.labelled_row import Row
from tactful_training.data.row_files import SUFFIXES, scan_rows
from tactful_training.data.row_records import jsonl, row_record, write_table
from tactful_training.data.splitting import split_data
from tactful_training.errors import DataError

GUIDE = "ANNOTATION_GUIDE.md"
UNLABELLED = "unlabelled.jsonl"
_TO_LABEL = "to_label"
_MOST_LABELS = 200  # a column with more different values holds something else
_GIVEN = "given labels"  # what their column is called while they are counted
_NO_TASK = Tasks((Task("none_yet", "multilabel", {"none": ""}),))


@dataclass(frozen=True)
class Columns:
    """What a table calls its columns.

    Attributes:
        reply: the agent's words.
        context: what the customer said before; None where there is none.
        labels: what holds the labels; None where there is none, or one column for each label.
        row_id: what tells rows apart; None numbers them.
        group: what must stay in one split (a conversation, a customer); None where there is none.
    """

    reply: str = "reply"
    context: str | None = None
    labels: str | None = None
    row_id: str | None = None
    group: str | None = None

    def named(self, task: str) -> dict[str, str]:
        """Name of a column to the one that rows have."""
        pairs = {
            "reply": self.reply,
            "context": self.context,
            task: self.labels,
            "id": self.row_id,
            "group": self.group,
        }
        return {old: new for new, old in pairs.items() if old is not None}


@dataclass(frozen=True)
class NewSet:
    """What `start_data_set` made.

    Attributes:
        folder: the data set.
        tasks: its one task.
        rows: split to its labelled rows.
        unlabelled: replies that nobody has labelled yet.
    """

    folder: Path
    tasks: Tasks
    rows: dict[str, int]
    unlabelled: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        [task] = self.tasks
        return {
            "folder": str(self.folder),
            "task": task.name,
            "kind": task.kind,
            "labels": list(task.labels),
            "rows": dict(self.rows),
            "unlabelled": self.unlabelled,
        }


def start_data_set(
    folder: Path,
    source: Path,
    *,
    labels: Sequence[str] = (),
    task: str = "strategies",
    single: bool = False,
    columns: Columns | None = None,
    seed: int = 13,
    delimiter: str | None = None,
) -> NewSet:
    """Make a data set; all of it is there afterwards, or nothing.

    Args:
        folder: where it goes; there must be nothing.
        source: a table (.csv, .jsonl, .parquet), or a folder of .txt files, one a reply.
        labels: the labels; none takes those that the column of labels holds.
        task: what the labels are, in one word.
        single: whether a reply has exactly one of them.
        columns: what the table calls its columns.
        seed: of the splits.
        delimiter: of a CSV file; None finds it.

    Raises:
        DataError: there is something, nothing to read, no label, or a row cannot be used.
    """
    if folder.exists():
        raise DataError(f"{folder} is there already; name a folder that is not")
    columns = columns or Columns()
    if not source.exists():
        raise DataError(
            f"there is no {source}; name a table ({', '.join(SUFFIXES)}) or a folder of .txt files"
        )
    if not source.is_dir() and (not source.is_file() or source.suffix.lower() not in SUFFIXES):
        raise DataError(
            f"{source} is no table ({', '.join(SUFFIXES)}) and no folder of .txt files; save a "
            "workbook as 'CSV UTF-8' first"
        )
    names = [one_form(label.strip()) for label in labels if label.strip()]
    if not names and columns.labels is not None and not source.is_dir():
        names = _labels_in(source, columns, delimiter)
    if not names:
        raise DataError(
            "which labels? name them (--labels 'apology, gratitude', or a file with one a line), "
            "or the column that holds them (--label-column category)"
        )
    try:
        tasks = Tasks((Task(task, "single" if single else "multilabel", dict.fromkeys(names, "")),))
    except ValueError as error:
        raise DataError(f"--task and --labels: {error}") from error
    rows = _rows(source, tasks, columns, delimiter)
    labelled = [row for row in rows if row.labels[task] is not None]
    open_ = [row for row in rows if row.labels[task] is None]
    files = {
        CARD: _card(folder.resolve().name, tasks).encode(),
        GUIDE: _guide(tasks).encode(),
        "labelled.jsonl": jsonl(row_record(row, tasks) for row in labelled),
    }
    if open_:
        files[UNLABELLED] = jsonl(row_record(row, tasks) for row in open_)
        files[f"{_TO_LABEL}.json"] = to_label_studio(open_, tasks, suggested=True)
        files[f"{_TO_LABEL}.xml"] = labelling_config(tasks).encode()
        files[f"{_TO_LABEL}.prodigy.jsonl"] = to_prodigy(open_, tasks, suggested=True)

    def refuse(there: Path) -> None:
        if there.exists():
            raise DataError(f"{folder} was made meanwhile; name a folder that is not there")

    def share_out(new: Path) -> dict[str, int]:
        if open_:
            write_table(new / f"{_TO_LABEL}.csv", [(row, {}) for row in open_], tasks, ())
        given = new / "labelled.jsonl"
        if labelled:
            split_data(given, new, seed=seed)
        given.unlink()
        data = load_data_set(new)
        return {split: len(data.split(split)) for split in data.files}

    try:
        counts = replace_folder(folder.resolve(), files, may_replace=refuse, check=share_out)
    except OSError as error:
        raise DataError(f"{folder} cannot be written: {error}") from error
    return NewSet(folder, tasks, counts, len(open_))


def _labels_in(source: Path, columns: Columns, delimiter: str | None) -> list[str]:
    """The labels that a column holds, the most frequent first.

    Raises:
        DataError: it holds none, or so many that it must hold something else.
    """
    named = {columns.reply: "reply", columns.labels or "": _GIVEN}
    counts: dict[str, int] = {}
    for row in scan_rows(
        source, _NO_TASK, require_labels=False, delimiter=delimiter, columns=named
    ).usable():
        said = row.columns.get(_GIVEN)
        for label in said if isinstance(said, list) else str(said or "").split("|"):
            name = one_form(str(label).strip())
            if name and name != UNKNOWN:
                counts[name] = counts.get(name, 0) + 1
    if not counts:
        raise DataError(
            f"{source}: the column {columns.labels!r} holds no label; name another one, or name "
            "the labels with --labels"
        )
    if len(counts) > _MOST_LABELS:
        raise DataError(
            f"{source}: the column {columns.labels!r} has {len(counts)} different values, for "
            f"example {listed(list(counts)[:3])}; is it a column of labels? Then name them with "
            "--labels"
        )
    return sorted(counts, key=lambda label: -counts[label])


def _rows(source: Path, tasks: Tasks, columns: Columns, delimiter: str | None) -> list[Row]:
    if source.is_dir():
        return _texts(source, tasks)
    [task] = tasks
    rows = scan_rows(
        source,
        tasks,
        require_labels=False,
        delimiter=delimiter,
        columns=columns.named(task.name),
    ).usable()
    if columns.row_id is not None or not rows[0].id.startswith(str(source)):
        return rows
    width = len(str(len(rows)))
    found = []
    for number, row in enumerate(rows, start=1):
        name = f"{source.stem}-{number:0{width}}"
        group = name if row.group == row.id else row.group
        found.append(replace(row, id=name, group=group))
    return found


def _texts(folder: Path, tasks: Tasks) -> list[Row]:
    paths = sorted(path for path in folder.rglob("*.txt") if path.is_file())
    if not paths:
        raise DataError(f"{folder} holds no .txt file; one reply in each is what is read")
    rows = []
    for path in paths:
        try:
            text = path.read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(f"{path} is not UTF-8 text (byte {error.start})") from error
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}") from error
        if text.strip():
            name = path.relative_to(folder).with_suffix("").as_posix()
            labels = {task.name: None for task in tasks}
            rows.append(Row(name, text.strip(), None, name, labels, (), {}))
    if not rows:
        raise DataError(f"the .txt files in {folder} are all empty")
    return rows


def _card(name: str, tasks: Tasks) -> str:
    files = [{"split": split, "path": f"{split}.jsonl"} for split in SPLITS]
    front = {
        "pretty_name": name,
        "version": FIRST_VERSION,
        "license": "other",
        "language": ["en"],
        "configs": [{"config_name": "default", "data_files": files}],
        "tasks": [
            {"name": task.name, "kind": task.kind, "labels": dict(task.labels)} for task in tasks
        ],
    }
    text = yaml.safe_dump(front, sort_keys=False, allow_unicode=True)
    return (
        f"---\n{text}---\n\n# {name}\n\n"
        "Say here where the replies come from, who labelled them and how, what is masked, and who "
        f"may use them. What each label means stands above, in a sentence, and in {GUIDE}.\n"
    )


def _guide(tasks: Tasks) -> str:
    [task] = tasks
    how = "exactly one label" if task.kind == "single" else "any number of labels, also none"
    parts = [
        f"# How to label\n\nEach reply has {how}. Mark the shortest words that carry a label, "
        "where the task is about words. Judge the reply as it stands, not what was meant.",
    ]
    parts += [
        f"## {label}\n\nWhat it is, in one sentence.\n\n- Counts: an example\n- Does not count: "
        "an example that is often taken for it\n- Borderline: the ruling, and why"
        for label in task.labels
    ]
    return "\n\n".join(parts) + "\n"


def render_new_set(made: NewSet) -> RenderableType:
    """Say what there is, and what comes next."""
    [task] = made.tasks
    folder = made.folder
    sizes = ", ".join(f"{count} {split}" for split, count in made.rows.items())
    lines = [
        f"{folder}: {sizes or 'no labelled rows yet'}; {task.name}: {', '.join(task.labels)}",
        f"Say what each label means: {folder / CARD}, {folder / GUIDE}",
    ]
    if made.unlabelled:
        lines += [
            f"{made.unlabelled} replies have no label: {folder / _TO_LABEL}.csv for a spreadsheet, "
            ".json and .xml for Label Studio, .prodigy.jsonl for Prodigy",
            f"Then: tactful data import LABELLED {folder} labelled.jsonl",
            f"      tactful data split labelled.jsonl --out {folder}",
        ]
    if made.rows:
        lines += [
            f"Next: tactful data check {folder}",
            f"      tactful train --set data.folder={folder} --set name={folder.resolve().name} "
            f"--set tracking.register_model=false --out models/{folder.resolve().name}",
        ]
    return Group(*(Text(line) for line in lines))
