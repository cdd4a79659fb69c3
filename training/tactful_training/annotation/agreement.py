"""How far people agree who labelled the same replies, with 95% intervals.

For each label Cohen's kappa (Cohen 1960), the mean over all pairs of people, and Krippendorff's
alpha (Krippendorff 2004) for nominal data, which allows for rows that not all of them labelled; for
marked words token F1, over all pairs together. The figures are those of scikit-learn and of the
package krippendorff, which tests hold; they are computed here from counts by group, so that a
bootstrap of groups of rows takes no longer than the figures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Group, RenderableType
from rich.text import Text

from tactful.reading.tasks import Task, Tasks
from tactful_training.annotation.exchange import read_labellings
from tactful_training.annotation.labellings import Labelling
from tactful_training.data.label_cells import listed
from tactful_training.data.labelled_row import Row
from tactful_training.data.row_files import MAX_LISTED
from tactful_training.errors import DataError
from tactful_training.evaluation.bootstrap import RESAMPLES, Doubles, Estimate, Resamples
from tactful_training.evaluation.evaluation_results import estimate_to_dict
from tactful_training.evaluation.evidence_metrics import evidence_counts, evidence_tasks
from tactful_training.evaluation.figure_table import (
    INTERVAL,
    FigureTable,
    interval_text,
    value_text,
)

Codes = NDArray[np.int64]
"""What each person (first axis) says of each row: a number of a category, -1 where nothing."""


@dataclass(frozen=True)
class LabelAgreement:
    """Of one label, or of a task of exactly one label as a whole.

    Attributes:
        n: rows of which two people or more say something.
        kappa: Cohen's, the mean over pairs of people.
        alpha: Krippendorff's, nominal.
        token_f1: of marked words; None where not two people marked any.
        said: person to the number of rows that have it, by their word.
    """

    n: int
    kappa: Estimate
    alpha: Estimate
    token_f1: Estimate | None
    said: Mapping[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "n": self.n,
            "kappa": estimate_to_dict(self.kappa),
            "alpha": estimate_to_dict(self.alpha),
            "token_f1": None if self.token_f1 is None else estimate_to_dict(self.token_f1),
            "said": dict(self.said),
        }


@dataclass(frozen=True)
class Agreement:
    """What `measure_agreement` found.

    Attributes:
        people: their names.
        rows: row id to what each person said of it; rows that one person alone labelled too.
        tasks: of what they spoke.
        labels: task to label to how far they agree.
        wholes: task of exactly one label to how far they agree on which.
        evidence: token F1 of all marked words; None where not two people marked any.
        pairs: for each two people the rows that both labelled.
    """

    people: tuple[str, ...]
    rows: Mapping[str, Mapping[str, Row]]
    tasks: Tasks
    labels: Mapping[str, Mapping[str, LabelAgreement]]
    wholes: Mapping[str, LabelAgreement]
    evidence: Estimate | None
    pairs: Mapping[tuple[str, str], int]

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it; what is undefined is null."""
        tasks = {
            task: {
                **({"all": self.wholes[task].to_dict()} if task in self.wholes else {}),
                "labels": {label: each.to_dict() for label, each in found.items()},
            }
            for task, found in self.labels.items()
        }
        evidence = None
        if self.evidence is not None:
            evidence = {"token_f1": estimate_to_dict(self.evidence)}
        return {
            "people": list(self.people),
            "rows": len(self.rows),
            "pairs": [{"people": list(pair), "rows": n} for pair, n in self.pairs.items()],
            "tasks": tasks,
            "evidence": evidence,
        }


def measure_agreement(
    paths: Sequence[Path],
    tasks: Tasks,
    *,
    renamed: Mapping[str, str] | None = None,
    resamples: int = RESAMPLES,
    delimiter: str | None = None,
) -> Agreement:
    """Compare what people said of the same rows.

    Args:
        paths: files, each of one person or (Label Studio, Prodigy, a column ``by``) of several.
        tasks: the tasks that they may speak of.
        renamed: old name of a label to its name in ``tasks``.
        resamples: of the bootstrap; 0 leaves intervals undefined.
        delimiter: of CSV files; None finds it.

    Raises:
        DataError: a file cannot be used, there are not two people, they have no row in common, or
            one id stands for two texts.
    """
    said: dict[str, dict[str, Row]] = {}
    texts: dict[str, Labelling] = {}
    for path in paths:
        for each in read_labellings(path, tasks, renamed=renamed, delimiter=delimiter).labellings:
            first = texts.setdefault(each.row.id, each)
            if first.row.reply != each.row.reply:
                raise DataError(
                    f"{each.place} and {first.place} have different replies under one id; people "
                    "must label the same rows, with ids that stay"
                )
            said.setdefault(each.who or path.stem, {})[each.row.id] = each.row
    if len(said) < 2:
        raise DataError(
            f"one person alone speaks in {listed(map(str, paths))}: {listed(said)}; name a file of "
            "each person, or one in which a column 'by' tells them apart"
        )
    people = tuple(said)
    pairs = {
        pair: len(said[pair[0]].keys() & said[pair[1]].keys()) for pair in combinations(people, 2)
    }
    if not any(pairs.values()):
        examples = "; ".join(f"{who}: {listed(list(rows)[:3])}" for who, rows in said.items())
        raise DataError(f"no row was labelled by two people; ids are, for example, {examples}")
    rows = {
        name: {who: found[name] for who, found in said.items() if name in found} for name in texts
    }
    return _compare(people, rows, tasks, pairs, resamples)


def _compare(
    people: tuple[str, ...],
    rows: Mapping[str, Mapping[str, Row]],
    tasks: Tasks,
    pairs: Mapping[tuple[str, str], int],
    resamples: int,
) -> Agreement:
    drawn = Resamples([next(iter(each.values())).group for each in rows.values()], count=resamples)
    words = _word_counts(people, rows, tasks)
    marked = {task.name for task in tasks if task.name in words[1]}
    labels: dict[str, dict[str, LabelAgreement]] = {}
    wholes: dict[str, LabelAgreement] = {}
    for task in tasks:
        codes = _codes(people, rows, task)
        if (codes[task.names[0]] >= 0).sum(axis=0).max(initial=0) < 2:
            continue  # nobody else speaks of this task
        labels[task.name] = {}
        for label in task.labels:
            found = _figures(codes[label], 2, drawn)
            at = tasks.columns[task.name, label]
            if task.name in marked:
                found = replace(found, token_f1=_token_f1(words[0], [at], tasks, drawn))
            counts = (codes[label] == 1).sum(axis=1).tolist()
            labels[task.name][label] = replace(found, said=dict(zip(people, counts, strict=True)))
        if task.kind == "single":
            wholes[task.name] = _figures(codes[None], len(task.labels), drawn)
    evidence = None
    if marked:
        columns = [at for (name, _), at in tasks.columns.items() if name in marked]
        evidence = _token_f1(words[0], columns, tasks, drawn)
    return Agreement(people, rows, tasks, labels, wholes, evidence, pairs)


def _codes(
    people: Sequence[str], rows: Mapping[str, Mapping[str, Row]], task: Task
) -> dict[str | None, Codes]:
    """Label to 1 and 0 for each person and row; None to the number of a single task's label."""
    shape = (len(people), len(rows))
    codes: dict[str | None, Codes] = {label: np.full(shape, -1) for label in (None, *task.labels)}
    for at, each in enumerate(rows.values()):
        for who, row in each.items():
            said = row.labels[task.name]
            if said is None:
                continue
            person = people.index(who)
            for label in task.labels:
                codes[label][person, at] = label == said if isinstance(said, str) else label in said
            if isinstance(said, str):
                codes[None][person, at] = task.names.index(said)
    return codes


def _figures(codes: Codes, categories: int, drawn: Resamples) -> LabelAgreement:
    """Kappa and alpha of one set of codes ``[P, R]``."""
    statistics = [_alpha_of(codes, categories, drawn)]
    for one, other in combinations(range(len(codes)), 2):
        both = (codes[one] >= 0) & (codes[other] >= 0)
        if both.any():
            statistics.append(_kappa_of(codes[one], codes[other], both, categories, drawn))

    def statistic(weights: Doubles) -> Doubles:
        alpha, *kappas = (each(weights) for each in statistics)
        with np.errstate(invalid="ignore"):
            known = np.isfinite(kappas)
            sums = np.where(known, kappas, 0.0).sum(axis=0)
            count = known.sum(axis=0)
            kappa = np.divide(sums, count, out=np.full(len(sums), np.nan), where=count > 0)
        return np.stack([kappa, alpha], axis=1)

    kappa, alpha = drawn.estimates(statistic)
    n = int(((codes >= 0).sum(axis=0) >= 2).sum())
    return LabelAgreement(n, kappa, alpha, None)


def _kappa_of(
    one: NDArray[np.int64],
    other: NDArray[np.int64],
    both: NDArray[np.bool_],
    categories: int,
    drawn: Resamples,
) -> Any:
    """From weights of groups to Cohen's kappa of two people; NaN where all say the same."""
    kinds = np.arange(categories)
    first = (one[:, None] == kinds) & both[:, None]
    second = (other[:, None] == kinds) & both[:, None]
    agree = ((one == other) & both)[:, None]
    sums = drawn.sums(np.concatenate([both[:, None], agree, first, second], axis=1))

    def kappa(weights: Doubles) -> Doubles:
        counts = weights @ sums
        n = counts[:, 0]
        expected = (counts[:, 2 : 2 + categories] * counts[:, 2 + categories :]).sum(axis=1)
        return _share(counts[:, 1] * n - expected, n * n - expected)

    return kappa


def _alpha_of(codes: Codes, categories: int, drawn: Resamples) -> Any:
    """From weights of groups to Krippendorff's alpha; NaN where all say the same."""
    said = (codes[:, :, None] == np.arange(categories)).sum(axis=0).astype(np.float64)
    people = said.sum(axis=1, keepdims=True)
    said = np.where(people >= 2, said, 0.0)  # what one person alone says agrees with nothing
    people = said.sum(axis=1, keepdims=True)
    differ = (said * (people - said)).sum(axis=1, keepdims=True) / np.maximum(people - 1, 1)
    sums = drawn.sums(np.concatenate([people, differ, said], axis=1))

    def alpha(weights: Doubles) -> Doubles:
        counts = weights @ sums
        n = counts[:, 0]
        expected = n * n - (counts[:, 2:] ** 2).sum(axis=1)
        return _share(expected - (n - 1) * counts[:, 1], expected)

    return alpha


def _share(part: Doubles, whole: Doubles) -> Doubles:
    share = np.full(len(part), np.nan)
    np.divide(part, whole, out=share, where=whole > 0)
    return share


def _word_counts(
    people: Sequence[str], rows: Mapping[str, Mapping[str, Row]], tasks: Tasks
) -> tuple[Doubles, set[str]]:
    """Hits, false and missed words over all pairs of people, ``[R, 3 L]``, and the tasks marked."""
    counts = np.zeros((len(rows), 3 * tasks.size))
    marked: set[str] = set()
    for one, other in combinations(people, 2):
        at = [n for n, each in enumerate(rows.values()) if one in each and other in each]
        both = [each for each in rows.values() if one in each and other in each]
        first, second = ([each[who] for each in both] for who in (one, other))
        tasks_of_both = evidence_tasks(first) & evidence_tasks(second)
        if not tasks_of_both:
            continue
        marked |= tasks_of_both
        gold = [
            _known(row, beside, tasks_of_both) for row, beside in zip(first, second, strict=True)
        ]
        spans = []
        for row in second:
            found: dict[tuple[str, str], list[tuple[int, int]]] = {}
            for span in row.evidence:
                if span.task in tasks_of_both:
                    found.setdefault((span.task, span.label), []).append((span.start, span.end))
            spans.append(found)
        counts[at] += evidence_counts(gold, spans, tasks)
    return counts, marked


def _known(row: Row, beside: Row, tasks: frozenset[str]) -> Row:
    """A row in which tasks are unknown of which not both people speak and mark words."""
    labels = {
        task: said if task in tasks and beside.labels[task] is not None else None
        for task, said in row.labels.items()
    }
    return replace(row, labels=labels)


def _token_f1(counts: Doubles, columns: Sequence[int], tasks: Tasks, drawn: Resamples) -> Estimate:
    by_kind = counts.reshape(len(counts), 3, tasks.size)[:, :, list(columns)].sum(axis=2)
    sums = drawn.sums(by_kind)

    def f1(weights: Doubles) -> Doubles:
        hits, false, missed = (weights @ sums).T
        return _share(2 * hits, 2 * hits + false + missed)[:, None]

    [estimate] = drawn.estimates(f1)
    return estimate


def render_agreement(agreement: Agreement) -> RenderableType:
    """Lay out the figures, the labels on which people agree least first."""
    headings = ["rows", "kappa", INTERVAL, "alpha", INTERVAL, "token F1", INTERVAL]
    table = FigureTable(", ".join(agreement.people), ["task", "label"], headings)
    for task, labels in agreement.labels.items():
        if task in agreement.wholes:
            _add(table, task, "(which one)", agreement.wholes[task])
        for label, found in sorted(
            labels.items(), key=lambda item: (np.isnan(item[1].alpha.value), item[1].alpha.value)
        ):
            _add(table, task, label, found)
    lines: list[RenderableType] = [table]
    if agreement.evidence is not None:
        value, interval = value_text(agreement.evidence), interval_text(agreement.evidence)
        lines.append(Text(f"Marked words: token F1 {value} ({interval})."))
    lines += [
        Text(f"{one} and {other} labelled {rows} rows both.")
        for (one, other), rows in list(agreement.pairs.items())[:MAX_LISTED]
    ]
    return Group(*lines)


def _add(table: FigureTable, task: str, label: str, found: LabelAgreement) -> None:
    cells = [str(found.n)]
    for each in (found.kappa, found.alpha, found.token_f1):
        cells += ["-", ""] if each is None else [value_text(each), interval_text(each)]
    table.add(task, label, *cells)
