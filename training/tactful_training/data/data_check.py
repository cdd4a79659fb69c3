"""What is wrong with a data set, and how often each label occurs in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from tactful.reading.tasks import Tasks
from tactful_training.data.data_card import CARD, read_card
from tactful_training.data.data_set import (
    AllowedGaps,
    check_allowed,
    lacking_tasks,
    load_data_set,
)
from tactful_training.data.label_cells import MISSING_NAMES, listed
from tactful_training.data.label_counts import SplitCounts, count_labels, counts_table
from tactful_training.data.label_statistics import LabelStatistics, check_labels, label_statistics
from tactful_training.data.labelled_row import Row
from tactful_training.data.near_duplicates import SHORT_REPLY
from tactful_training.data.repeated_rows import check_repeats
from tactful_training.data.row_checks import Found, check_rows
from tactful_training.data.row_files import MAX_LISTED, SUFFIXES, ScannedRows, are_rows, scan_rows
from tactful_training.data.row_records import write_table
from tactful_training.errors import DataError

# Stable name of what is looked for: whether it makes the data unfit for use, and what was found.
_CHECKS = {
    "tasks_missing": (True, "tasks of the card have no labels in a whole file"),
    "rows": (True, "rows cannot be used"),
    "ids": (True, "ids are in more than one split"),
    "groups": (True, "groups straddle splits"),
    "duplicates": (True, "rows repeat reply and context of another split"),
    "near_duplicates": (True, "replies are nearly those of another split"),
    "contradictions": (False, "pairs of rows have the same reply and context, but other labels"),
    "similar_replies": (False, "replies are much like one of another split"),
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
    "near_repeats": (False, "replies are nearly those of another group of their split"),
    "evidence_undecided": (False, "evidence is for labels the row does not have"),
    "evidence_missing": (False, "labels have no evidence in their row"),
    "evidence_cuts": (False, "pieces of evidence begin or end within a word, or at white space"),
    "personal_data": (False, "stretches look like personal data that nobody masked"),
    "foreign_parts": (False, "stretches of replies are not the agent's words (quotes, HTML, …)"),
    "languages": (False, "replies do not look like English"),
    "lengths": (False, "replies are far shorter or longer than the others"),
    "labels_absent": (False, "labels never occur in a split"),
    "labels_few_to_learn": (False, "labels are too rare to be learnt"),
    "labels_few_to_measure": (False, "labels are too rare to be measured"),
    "labels_together": (False, "pairs of labels are nearly always together: is one superfluous?"),
}


@dataclass(frozen=True)
class Finding:
    """One kind of thing that was found.

    Attributes:
        check: stable name of what was looked for, for example ``groups``.
        problem: whether it makes the data unfit for use; otherwise it is a warning.
        message: what was found.
        count: how often.
        examples: the first ten.
        rows: split and id of all rows that it concerns, each with what was found of it.
    """

    check: str
    problem: bool
    message: str
    count: int
    examples: tuple[str, ...]
    rows: tuple[tuple[str, str, str], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it; the rows as ids by split."""
        by_split: dict[str, list[str]] = {}
        for split, row, _ in self.rows:
            if row not in by_split.setdefault(split, []):
                by_split[split].append(row)
        return {
            "check": self.check,
            "problem": self.problem,
            "message": self.message,
            "count": self.count,
            "examples": list(self.examples),
            "rows": by_split,
        }


@dataclass(frozen=True)
class DataReport:
    """What `check_data` found.

    Attributes:
        path: the folder or file that was checked.
        splits: split to its counts, in the order train, validation, test.
        findings: problems first.
        statistics: what labels occur together, and how well each can be measured.
        rows: split to its usable rows.
        tasks: of the card.
    """

    path: Path
    splits: Mapping[str, SplitCounts]
    findings: tuple[Finding, ...]
    statistics: LabelStatistics
    rows: Mapping[str, Sequence[Row]] = field(repr=False)
    tasks: Tasks = field(repr=False)

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
            "findings": [finding.to_dict() for finding in self.findings],
            **self.statistics.to_dict(),
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
    check_allowed(allowed, tasks)
    scans = {name: scan_rows(file, tasks, delimiter=delimiter) for name, file in files.items()}
    splits = {name: scan.rows for name, scan in scans.items()}
    counts = {name: count_labels(rows, tasks) for name, rows in splits.items()}
    statistics = label_statistics(splits, counts, tasks)
    found = [
        *(Found("tasks_missing", line) for line in lacking_tasks(scans, allowed, tasks)),
        *_of_files(scans, tasks),
        *check_repeats(splits),
        *check_rows(splits),
        *check_labels(statistics, counts, tasks),
    ]
    return DataReport(path, counts, _findings(found), statistics, splits, tasks)


def _of_files(scans: Mapping[str, ScannedRows], tasks: Tasks) -> Iterator[Found]:
    for scan in scans.values():
        for problem in scan.problems or ([] if scan.rows else [f"{scan.path} holds no rows"]):
            yield Found("rows", problem)
        for name, columns in scan.one_hot.items():
            yield Found("label_columns", f"{scan.path}: {name} from {listed(columns)}")
        for line in scan.unlike.values():
            yield Found("label_columns_unlike", f"{scan.path}: {line}")
    for task in tasks:
        for label in task.labels:
            if label in MISSING_NAMES:
                yield Found("label_names", f"{task.name} {label!r}")


def _findings(found: Sequence[Found]) -> tuple[Finding, ...]:
    by_check: dict[str, list[Found]] = {}
    for each in found:
        by_check.setdefault(each.check, []).append(each)
    return tuple(
        Finding(
            check,
            problem,
            message,
            len(some),
            tuple(each.text for each in some[:MAX_LISTED]),
            tuple((*row, each.text) for each in some for row in each.rows),
        )
        for check, (problem, message) in _CHECKS.items()
        if (some := by_check.get(check))
    )


def write_doubtful_rows(report: DataReport, path: Path) -> int:
    """Write the rows of which something was found, to be edited and merged back.

    Args:
        report: what `check_data` found.
        path: ends in .csv or .jsonl.

    Returns:
        How many rows it holds.

    Raises:
        DataError: it cannot be written.
    """
    why: dict[tuple[str, str], list[str]] = {}
    for finding in report.findings:
        for split, row, text in finding.rows:
            why.setdefault((split, row), []).append(f"{finding.check}: {text}")
    listed_rows = [
        (row, {"split": split, "found": "; ".join(why[split, row.id])})
        for split, rows in report.rows.items()
        for row in rows
        if (split, row.id) in why
    ]
    write_table(path, listed_rows, report.tasks, ("split", "found"))
    return len(listed_rows)


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
