"""What is wrong with a data set, and how often each label occurs in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tactful.reading.tasks import Tasks
from tactful_training.data.data_card import CARD, read_card
from tactful_training.data.data_set import AllowedGaps, lacking_tasks, load_data_set
from tactful_training.data.label_cells import MISSING_NAMES, listed
from tactful_training.data.labelled_row import Row
from tactful_training.data.near_duplicates import near_duplicates, normalised
from tactful_training.data.row_files import MAX_LISTED, SUFFIXES, are_rows, scan_rows
from tactful_training.errors import DataError

# Customers are answered in formulas: "Thanks for letting us know." in two splits leaks nothing.
SHORT_REPLY = 8  # words
NO_LABEL = "(no label)"
"""Instead of labels where none of a multi-label task applies; a label may be called "none"."""

# Stable name of what is looked for: whether it makes the data unfit for use, and what was found.
_CHECKS = {
    "tasks_missing": (True, "tasks of the card have no labels in a whole file"),
    "rows": (True, "rows cannot be used"),
    "ids": (True, "ids are in more than one split"),
    "groups": (True, "groups straddle splits"),
    "duplicates": (True, "rows repeat reply and context of another split"),
    "near_duplicates": (True, "replies are nearly those of another split"),
    "short_duplicates": (
        False,
        f"replies of fewer than {SHORT_REPLY} words are nearly those of another split",
    ),
    "label_names": (
        False,
        "labels have names that spreadsheets and other readers take for a missing value",
    ),
    "label_columns": (False, "tasks are read from a column of 1 and 0 for each label"),
    "label_columns_unlike": (False, "tasks have a column that disagrees with those of its labels"),
    "repeats": (False, "rows repeat reply and context within a split"),
    "evidence_undecided": (False, "evidence is for labels the row does not have"),
    "evidence_missing": (False, "labels have no evidence in their row"),
    "labels_absent": (False, "labels never occur in a split"),
}

_Splits = Mapping[str, Sequence[Row]]
_Found = dict[str, list[str]]


@dataclass(frozen=True)
class Finding:
    """One kind of thing that was found.

    Attributes:
        check: stable name of what was looked for, for example ``groups``.
        problem: whether it makes the data unfit for use; otherwise it is a warning.
        message: what was found.
        count: how often.
        examples: the first ten.
    """

    check: str
    problem: bool
    message: str
    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class SplitCounts:
    """How much a split holds.

    Attributes:
        rows: usable rows.
        groups: different groups.
        labels: task to label to rows that have it.
        none: multi-label task to rows that have none of its labels.
        unknown: task to rows that do not say.
    """

    rows: int
    groups: int
    labels: dict[str, dict[str, int]]
    none: dict[str, int]
    unknown: dict[str, int]


@dataclass(frozen=True)
class DataReport:
    """What `check_data` found.

    Attributes:
        path: the folder or file that was checked.
        splits: split to its counts, in the order train, validation, test.
        findings: problems first.
    """

    path: Path
    splits: Mapping[str, SplitCounts]
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no problem; warnings may be there."""
        return not any(finding.problem for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON has it."""
        return {
            "path": str(self.path),
            "ok": self.ok,
            "splits": {name: asdict(counts) for name, counts in self.splits.items()},
            "findings": [asdict(finding) for finding in self.findings],
        }


def check_data(
    path: Path, *, delimiter: str | None = None, allowed: AllowedGaps = ()
) -> DataReport:
    """Check a data set, or one file of rows by the card beside it.

    Args:
        path: a folder (also by the name of a shipped set) or a .jsonl, .csv or .parquet file.
        delimiter: of CSV files; None finds it.
        allowed: tasks of which files may say nothing, see ``data.allow_missing_tasks``.

    Raises:
        DataError: there is nothing to check: no rows, no card, or a file that cannot be read.
    """
    if are_rows(path):
        if not path.exists():
            raise DataError(f"no file {path}")
        if not path.is_file() and not (path.parent / CARD).exists():
            raise DataError(
                f"{path} is no regular file and has no card beside it that says what its rows may "
                "hold; save them in the folder of their card"
            )
        files, tasks = {path.stem: path}, read_card(path.parent).tasks
    else:
        data_set = load_data_set(path)
        files, tasks, path = dict(data_set.files), data_set.tasks, data_set.folder
        if not files:
            suffixes = ", ".join(SUFFIXES)
            raise DataError(f"{path} has no file of rows: train, validation or test ({suffixes})")
    scans = {name: scan_rows(file, tasks, delimiter=delimiter) for name, file in files.items()}
    splits = {name: scan.rows for name, scan in scans.items()}
    counts = {name: count_labels(rows, tasks) for name, rows in splits.items()}
    found = {
        "tasks_missing": lacking_tasks(scans, allowed, tasks),
        "rows": [
            problem
            for scan in scans.values()
            for problem in scan.problems or ([] if scan.rows else [f"{scan.path} holds no rows"])
        ],
        "label_names": [
            f"{task.name} {label!r}"
            for task in tasks
            for label in task.labels
            if label in MISSING_NAMES
        ],
        "label_columns": [
            f"{scan.path}: {task} from {listed(columns)}"
            for scan in scans.values()
            for task, columns in scan.one_hot.items()
        ],
        "label_columns_unlike": [
            f"{scan.path}: {line}" for scan in scans.values() for line in scan.unlike.values()
        ],
        "labels_absent": [
            f"{name}: {task} {label!r}"
            for name, split in counts.items()
            for task, labels in split.labels.items()
            for label, count in labels.items()
            if not count
        ],
        **_across_splits(splits),
        **_within_splits(splits),
    }
    findings = (
        Finding(check, problem, message, len(found[check]), tuple(found[check][:MAX_LISTED]))
        for check, (problem, message) in _CHECKS.items()
        if found[check]
    )
    return DataReport(path, counts, tuple(findings))


def _across_splits(splits: _Splits) -> _Found:
    """What lets a model see in training what it is measured on."""
    replies = {name: [normalised(row.reply) for row in rows] for name, rows in splits.items()}
    pairs = {
        name: [
            (normalised(row.context or ""), reply) for row, reply in zip(rows, said, strict=True)
        ]
        for (name, rows), said in zip(splits.items(), replies.values(), strict=True)
    }
    found: _Found = {"ids": _shared(splits, "id"), "groups": _shared(splits, "group")}
    found |= {"duplicates": [], "near_duplicates": [], "short_duplicates": []}
    for earlier, later in combinations(splits, 2):
        ids = dict(zip(pairs[earlier], (row.id for row in splits[earlier]), strict=True))
        repeated = set()
        for row, pair in zip(splits[later], pairs[later], strict=True):
            if pair in ids:
                repeated.add(row.id)
                found["duplicates"].append(f"{later} {row.id!r} = {earlier} {ids[pair]!r}")
        for match in near_duplicates(replies[later], replies[earlier]):
            row, other = splits[later][match.text], splits[earlier][match.other]
            if row.id not in repeated:
                short = len(replies[later][match.text].split()) < SHORT_REPLY
                found["short_duplicates" if short else "near_duplicates"].append(
                    f"{later} {row.id!r} ~ {earlier} {other.id!r} ({match.similarity:.2f})"
                )
    return found


def _within_splits(splits: _Splits) -> _Found:
    marked = {span.task for rows in splits.values() for row in rows for span in row.evidence}
    found: _Found = {"repeats": [], "evidence_undecided": [], "evidence_missing": []}
    for name, rows in splits.items():
        first: dict[tuple[str | None, str], Row] = {}
        for row in rows:
            here = f"{name} {row.id!r}"
            other = first.setdefault((row.context, row.reply), row)
            if other is not row:
                differ = ", with other labels" if row.labels != other.labels else ""
                found["repeats"].append(f"{here} = {other.id!r}{differ}")
            decided = set(_decided(row))
            shown = {(span.task, span.label) for span in row.evidence}
            found["evidence_undecided"] += [
                f"{here}: {label}" for _, label in sorted(shown - decided)
            ]
            found["evidence_missing"] += [
                f"{here}: {label}" for task, label in sorted(decided - shown) if task in marked
            ]
    return found


def _shared(splits: _Splits, attribute: str) -> list[str]:
    """Values of an attribute that rows of several splits have, with those splits."""
    found: dict[str, list[str]] = {}
    for name, rows in splits.items():
        for value in dict.fromkeys(getattr(row, attribute) for row in rows):
            found.setdefault(value, []).append(name)
    return [f"{value!r}: {', '.join(names)}" for value, names in found.items() if len(names) > 1]


def _decided(row: Row) -> Iterator[tuple[str, str]]:
    for task, decided in row.labels.items():
        for label in (decided,) if isinstance(decided, str) else decided or ():
            yield task, label


def count_labels(rows: Sequence[Row], tasks: Tasks) -> SplitCounts:
    """What a split holds."""
    positives = Counter(pair for row in rows for pair in _decided(row))
    return SplitCounts(
        rows=len(rows),
        groups=len({row.group for row in rows}),
        labels={
            task.name: {label: positives[task.name, label] for label in task.labels}
            for task in tasks
        },
        none={
            task.name: sum(row.labels[task.name] == () for row in rows)
            for task in tasks
            if task.kind == "multilabel"
        },
        unknown={task.name: sum(row.labels[task.name] is None for row in rows) for task in tasks},
    )


def render_report(report: DataReport) -> RenderableType:
    """Lay out the label counts of every split, then what was found."""
    parts: list[RenderableType] = [counts_table(str(report.path), report.splits)]
    for finding in report.findings:
        kind, style = ("problem", "bold red") if finding.problem else ("warning", "yellow")
        parts.append(Text.assemble((f"{kind}: ", style), f"{finding.count} {finding.message}"))
        parts += [Text(f"  - {example}") for example in finding.examples]
        if finding.count > len(finding.examples):
            parts.append(Text(f"  - and {finding.count - len(finding.examples)} more"))
    parts.append(
        Text("No problem found.", "green") if report.ok else Text("Problems found.", "bold red")
    )
    return Group(*parts)


def counts_table(title: str, splits: Mapping[str, SplitCounts]) -> Table:
    """Rows, groups and labels of every split."""
    table = Table(title=title, title_justify="left")
    table.add_column("label")
    for name in splits:
        table.add_column(name, justify="right")
    for heading, numbers in _lines(list(splits.values())):
        table.add_row(Text(heading), *map(str, numbers), end_section=heading == "groups")
    return table


def _lines(splits: list[SplitCounts]) -> Iterator[tuple[str, list[int]]]:
    yield "rows", [split.rows for split in splits]
    yield "groups", [split.groups for split in splits]
    for task, labels in splits[0].labels.items():
        for label in labels:
            yield f"{task}: {label}", [split.labels[task][label] for split in splits]
        if task in splits[0].none:
            yield f"{task}: {NO_LABEL}", [split.none[task] for split in splits]
        if any(unknown := [split.unknown[task] for split in splits]):
            yield f"{task}: unknown", unknown
