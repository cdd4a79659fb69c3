"""Labels that look wrong, the most doubtful first.

Light heads say of every row how probable each label is, never having seen the row or any other of
its group (grouped cross-validation); cleanlab turns that into a quality of each given label:
Northcutt, Jiang and Chuang 2021, "Confident Learning", JAIR 70, for single tasks; Thyagarajan,
Snorrason, Northcutt and Mueller 2022, "Identifying incorrect annotations in multi-label
classification data", for the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tactful.classifier import Classifier
from tactful.reading.tasks import Task, Tasks
from tactful_training.data.data_card import read_card
from tactful_training.data.data_set import LabelledData, common_tasks, load_data_set
from tactful_training.data.group_folds import group_folds
from tactful_training.data.labelled_row import Row
from tactful_training.data.row_files import are_rows, scan_rows
from tactful_training.data.row_records import check_table_path, write_table
from tactful_training.errors import DataError
from tactful_training.triage.light_heads import Doubles, Head, ReplyWords

FOLDS = 5
# By how much the share of a label is taken out of its probability before the quality is told: of
# nothing at all, and a rare label that somebody left out is never found; of all of it, and every
# slight sign of a rare label comes first. Half found most of the planted errors of either kind.
_PRIOR_TAKEN_OUT = 0.5
# A label without evidence, or evidence without its label, where rows of the set have both.
_INCONSISTENT = 0.1
_MOST_SHOWN = 20
_TEXT = 60


@dataclass(frozen=True)
class Doubt:
    """A label that may be wrong.

    Attributes:
        row: the row.
        split: where it is.
        task: the task.
        given: the label; of a multi-label task ``label`` where it was given, ``not label`` where
            not.
        suggested: what it should be, likewise.
        score: the quality of what is given, from 0 (wrong) to 1.
        evidence: what speaks against it: words of the reply, or marks that do not fit.
    """

    row: Row
    split: str
    task: str
    given: str
    suggested: str
    score: float
    evidence: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "id": self.row.id,
            "split": self.split,
            "task": self.task,
            "given": self.given,
            "suggested": self.suggested,
            "score": round(self.score, 6),
            "evidence": self.evidence,
        }


@dataclass(frozen=True)
class LabelErrors:
    """What `find_label_errors` found.

    Attributes:
        doubts: the most doubtful labels, the worst first.
        labels: how many labels were looked at.
        rows: in how many rows.
        tasks: of the data set.
    """

    doubts: tuple[Doubt, ...]
    labels: int
    rows: int
    tasks: Tasks

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "rows": self.rows,
            "labels": self.labels,
            "doubts": [doubt.to_dict() for doubt in self.doubts],
        }


def find_label_errors(
    path: str | Path,
    *,
    splits: Sequence[str] = (),
    share: float = 0.05,
    folds: int = FOLDS,
    seed: int = 13,
    bundle: str | None = None,
    delimiter: str | None = None,
    follow: Callable[[Iterable[Any], int], Iterable[Any]] = lambda steps, _: steps,
) -> LabelErrors:
    """Rank the labels of a data set, or of a file of rows, by how wrong they look.

    Args:
        path: a folder, or a file with a card beside it.
        splits: which splits of a folder; all of them by default, in one cross-validation.
        share: of all labels, how many are told.
        folds: of the cross-validation, at least 2.
        seed: of the folds.
        bundle: a bundle whose scores count as much as those of the light heads. It has seen the
            rows that it was trained on, and finds fewer errors in them than in others.
        delimiter: of CSV files; None finds it.
        follow: passes on the folds, of which there are so many, to show progress.

    Raises:
        DataError: the rows cannot be used, or have fewer groups than there are folds.
        BundleError: the bundle cannot be used.
    """
    data = _read(path, splits, delimiter)
    rows = [row for some in data.values() for row in some.rows]
    of_split = [split for split, some in data.items() for _ in some.rows]
    tasks = next(iter(data.values())).tasks
    if not 0 < share <= 1:
        raise DataError(f"share is {share:g}; allowed: above 0, up to 1")
    parts = group_folds(rows, folds, seed, path)
    words = ReplyWords(rows, tasks)
    scores = np.zeros((len(rows), tasks.size))
    heads: list[list[Head]] = [[] for _ in rows]
    for known, asked in follow(parts, folds):
        scores[asked], learnt = words.learn_and_ask(known, asked)
        for number in asked.tolist():
            heads[number] = learnt
    if bundle is not None:
        scores = (scores + _read_by(bundle, rows, tasks)) / 2
    doubts = []
    for task in tasks:
        doubts += _doubts_of(task, words.truth[:, tasks.slices[task.name]],
                             scores[:, tasks.slices[task.name]], rows)  # fmt: skip
    doubts.sort(key=lambda each: (each.score, each.row, each.column))
    told = doubts[: max(1, round(share * len(doubts)))] if doubts else []
    first = {task.name: tasks.slices[task.name].start for task in tasks}
    return LabelErrors(
        tuple(
            Doubt(
                rows[each.row],
                of_split[each.row],
                each.task,
                each.given,
                each.suggested,
                each.score,
                each.why or _speaking(heads[each.row][first[each.task] + each.column], each),
            )
            for each in told
        ),
        len(doubts),
        len(rows),
        tasks,
    )


def _read(
    path: str | Path, splits: Sequence[str], delimiter: str | None
) -> Mapping[str, LabelledData]:
    if are_rows(Path(path)):
        tasks = read_card(Path(path).parent).tasks
        rows = scan_rows(Path(path), tasks, delimiter=delimiter).usable()
        return {Path(path).stem: LabelledData(rows, tasks, None)}
    data_set = load_data_set(path)
    return {
        split: LabelledData(
            data_set.scan(split, delimiter=delimiter).usable(), data_set.tasks, data_set
        )
        for split in splits or data_set.files
    }


def _read_by(bundle: str, rows: Sequence[Row], tasks: Tasks) -> Doubles:
    """A bundle's scores, on the label axis of the data."""
    classifier = Classifier.load(bundle)
    shared = common_tasks(tasks, classifier.bundle.heads.tasks, "the data set")
    if len(shared) < len(tasks):
        lacking = ", ".join(task.name for task in tasks if task.name not in shared.slices)
        raise DataError(f"the bundle {bundle} does not know the tasks {lacking}")
    scores = np.zeros((len(rows), tasks.size))
    pairs = [(row.reply, row.context) for row in rows]
    for number, reading in enumerate(classifier.classify_many(pairs)):
        for (task, label), column in tasks.columns.items():
            scores[number, column] = reading.scores[task][label]
    return scores


@dataclass(frozen=True)
class _Candidate:
    score: float
    row: int
    column: int
    task: str
    given: str
    suggested: str
    why: str


def _doubts_of(
    task: Task, truth: Doubles, scores: Doubles, rows: Sequence[Row]
) -> list[_Candidate]:
    """Every label of a task with its quality; of a single task the one that a row has.

    Args:
        task: the task.
        truth: ``[R, K]`` of 1 and 0, NaN where unknown.
        scores: ``[R, K]``, probabilities.
        rows: the rows.
    """
    from cleanlab.multilabel_classification.rank import get_label_quality_scores_per_class
    from cleanlab.rank import get_label_quality_scores

    known = np.flatnonzero(~np.isnan(truth[:, 0]))
    if not len(known):
        return []
    given = truth[known].astype(np.int64)
    weighed = _tempered(scores[known], given.mean(axis=0), task.kind)
    if task.kind == "single":
        labels = given.argmax(axis=1)
        quality = get_label_quality_scores(labels, weighed)
        others = np.where(given == 1, -1.0, weighed).argmax(axis=1)
        return [
            _Candidate(float(quality[at]), int(row), int(others[at]), task.name,
                       task.names[labels[at]], task.names[others[at]], "")
            for at, row in enumerate(known.tolist())
        ]  # fmt: skip
    sets = [np.flatnonzero(line).tolist() for line in given]
    table = np.asarray(get_label_quality_scores_per_class(sets, weighed))
    table = table if table.shape == given.shape else table.T
    marked = any(span.task == task.name for row in rows for span in row.evidence)
    found = []
    for at, row in enumerate(known.tolist()):
        shown = {span.label for span in rows[row].evidence if span.task == task.name}
        for column, label in enumerate(task.names):
            has = bool(given[at, column])
            names = (label, f"not {label}") if has else (f"not {label}", label)
            score, why = float(table[at, column]), ""
            if marked and has != (label in shown):
                score *= _INCONSISTENT
                why = "it has no evidence" if has else "there is evidence for it"
            found.append(_Candidate(score, row, column, task.name, *names, why))
    return found


def _tempered(scores: Doubles, shares: Doubles, kind: str) -> Doubles:
    """Probabilities with a part of the labels' shares taken out of them."""
    shares = np.clip(shares, 1e-6, 1 - 1e-6)
    scores = np.clip(scores, 1e-6, 1 - 1e-6)
    if kind == "single":
        weighed = scores / shares**_PRIOR_TAKEN_OUT
        return np.asarray(weighed / weighed.sum(axis=1, keepdims=True))
    odds = scores / (1 - scores) / (shares / (1 - shares)) ** _PRIOR_TAKEN_OUT
    return np.asarray(odds / (1 + odds))


def _speaking(head: Head, doubt: _Candidate) -> str:
    """The words that speak for a suggestion; where it is that nothing applies, what was meant."""
    words = head.words_for(doubt.row)
    if doubt.suggested.startswith("not "):
        return "" if not words else f"nearest to it: {', '.join(words)}"
    return ", ".join(words)


COLUMNS = ("split", "score", "doubts", "evidence_for_doubts")
"""Columns of the file beside those of the row."""


def write_label_errors(errors: LabelErrors, path: Path) -> int:
    """Write the doubtful rows, worst first: a row once, with all that is doubted of it.

    The columns of the tasks hold what is given; a person corrects them, and merges the file.

    Args:
        errors: what `find_label_errors` found.
        path: ends in .csv or .jsonl.

    Returns:
        How many rows it holds.

    Raises:
        DataError: it cannot be written.
    """
    check_table_path(path)
    by_row: dict[tuple[str, str], list[Doubt]] = {}
    for doubt in errors.doubts:
        by_row.setdefault((doubt.split, doubt.row.id), []).append(doubt)
    lines = [
        (
            some[0].row,
            {
                "split": some[0].split,
                "score": round(some[0].score, 6),
                "doubts": "; ".join(f"{d.task}: {d.given} → {d.suggested}" for d in some),
                "evidence_for_doubts": "; ".join(d.evidence for d in some if d.evidence),
            },
        )
        for some in by_row.values()
    ]
    write_table(path, lines, errors.tasks, COLUMNS)
    return len(lines)


def render_label_errors(errors: LabelErrors, path: Path | None) -> RenderableType:
    """Lay out the worst doubts, then where the rest is."""
    table = Table(title="Labels that look wrong", title_justify="left")
    for column in ("id", "task", "given", "suggested", "score", "reply"):
        table.add_column(column, justify="right" if column == "score" else "left")
    for doubt in errors.doubts[:_MOST_SHOWN]:
        reply = doubt.row.reply.replace("\n", " ")
        shown = reply if len(reply) <= _TEXT else f"{reply[:_TEXT]} …"
        cells = (
            doubt.row.id,
            doubt.task,
            doubt.given,
            doubt.suggested,
            f"{doubt.score:.4f}",
            shown,
        )
        table.add_row(*map(Text, cells))
    lines = [Text(f"{len(errors.doubts)} of {errors.labels} labels in {errors.rows} rows.")]
    if path is not None:
        lines.append(Text(f"Correct the rows in {path}, then: tactful data merge SET {path}"))
    return Group(table, *lines)
