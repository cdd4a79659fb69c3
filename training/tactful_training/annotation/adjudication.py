"""From what several people said to one row: the consensus, and what is left to decide.

A label that more than half of those who speak of its task give is agreed; of a task of exactly one
label the one that more than half choose. What is not agreed goes into a table with what each person
said, to be decided, and back with ``tactful data merge``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tactful.reading.tasks import Task, Tasks
from tactful_training.annotation.agreement import Agreement
from tactful_training.annotation.labellings import DISPUTED, SAID_BY, WHO, WHY
from tactful_training.data.labelled_row import Decided, EvidenceSpan, Row
from tactful_training.data.row_records import check_table_path, write_table

_WORD = re.compile(r"\S+")


@dataclass(frozen=True)
class Verdict:
    """What becomes of one row.

    Attributes:
        row: with what is agreed; a task of exactly one label without a majority is unknown.
        disputed: a line for each label that not all give or leave out alike.
        votes: task to how many agree with what the row says, and how many speak of it.
        people: those who labelled it.
    """

    row: Row
    disputed: tuple[str, ...]
    votes: Mapping[str, tuple[int, int]]
    people: tuple[str, ...]

    @property
    def why(self) -> str:
        """How the row's labels came about."""
        votes = (f"{task} {agree} of {all_}" for task, (agree, all_) in self.votes.items())
        return f"consensus: {', '.join(votes)}"


def verdicts(agreement: Agreement) -> list[Verdict]:
    """The consensus on every row, with what is in dispute."""
    return [_verdict(said, agreement.tasks) for said in agreement.rows.values()]


def write_disagreements(path: Path, agreement: Agreement) -> int:
    """Write the rows in dispute, to be decided: labels as agreed so far, and what each one said.

    Returns:
        How many rows there are.

    Raises:
        DataError: the file cannot be written.
    """
    names = [task.name for task in agreement.tasks]
    said = [f"{SAID_BY}{who}: {task}" for task in names for who in agreement.people]
    rows = []
    for verdict, each in zip(verdicts(agreement), agreement.rows.values(), strict=True):
        if verdict.disputed:
            values = {
                f"{SAID_BY}{who}: {task}": _shown(row.labels[task])
                for who, row in each.items()
                for task in names
            }
            rows.append((verdict.row, {DISPUTED: "; ".join(verdict.disputed), **values}))
    write_table(path, rows, agreement.tasks, [DISPUTED, *said])
    return len(rows)


def write_consensus(path: Path, agreement: Agreement) -> int:
    """Write what is agreed, each row with by whom and with how many votes.

    Returns:
        How many rows there are.

    Raises:
        DataError: the file cannot be written.
    """
    check_table_path(path)
    found = verdicts(agreement)
    rows = [(each.row, {WHO: ", ".join(each.people), WHY: each.why}) for each in found]
    write_table(path, rows, agreement.tasks, [WHO, WHY])
    return len(rows)


def _verdict(said: Mapping[str, Row], tasks: Tasks) -> Verdict:
    first = next(iter(said.values()))
    labels: dict[str, Decided] = {}
    votes: dict[str, tuple[int, int]] = {}
    disputed: list[str] = []
    for task in tasks:
        spoken = {
            who: row.labels[task.name]
            for who, row in said.items()
            if row.labels[task.name] is not None
        }
        labels[task.name] = _majority(spoken, task)
        if spoken:
            agree = sum(_same(each, labels[task.name]) for each in spoken.values())
            votes[task.name] = (agree, len(spoken))
            disputed += _disputed(spoken, task)
    row = replace(
        first, labels=labels, evidence=tuple(_words(list(said.values()), labels)), columns={}
    )
    return Verdict(row, tuple(disputed), votes, tuple(said))


def _majority(spoken: Mapping[str, Decided], task: Task) -> Decided:
    if not spoken:
        return None
    counts = Counter(label for each in spoken.values() for label in _listed(each))
    agreed = tuple(label for label in task.labels if 2 * counts[label] > len(spoken))
    if task.kind == "multilabel":
        return agreed
    return agreed[0] if agreed else None


def _disputed(spoken: Mapping[str, Decided], task: Task) -> Iterator[str]:
    if task.kind == "single":
        if len(set(spoken.values())) > 1:
            yield ", ".join(f"{task.name} {each} ({who})" for who, each in spoken.items())
        return
    for label in task.labels:
        having = [who for who, each in spoken.items() if label in _listed(each)]
        if 0 < len(having) < len(spoken):
            others = [who for who in spoken if who not in having]
            yield f"{label}: {', '.join(having)}; not {', '.join(others)}"


def _words(rows: Sequence[Row], labels: Mapping[str, Decided]) -> Iterator[EvidenceSpan]:
    """Words that at least half of those mark who give an agreed label, as spans without gaps."""
    words = [match.span() for match in _WORD.finditer(rows[0].reply)]
    for task, agreed in labels.items():
        for label in _listed(agreed):
            giving = [row for row in rows if label in _listed(row.labels[task])]
            spans = [
                [span for span in row.evidence if (span.task, span.label) == (task, label)]
                for row in giving
            ]
            marking = [each for each in spans if each]
            kept = [
                bool(marking)
                and 2 * sum(any(s.start < end and s.end > start for s in each) for each in marking)
                >= len(marking)
                for start, end in words
            ]
            yield from _spans(task, label, words, kept, [s for each in marking for s in each])


def _spans(
    task: str,
    label: str,
    words: Sequence[tuple[int, int]],
    kept: Sequence[bool],
    marked: Sequence[EvidenceSpan],
) -> Iterator[EvidenceSpan]:
    """Neighbouring words together; an edge that nobody marked further is cut where they cut it."""
    at = 0
    while at < len(words):
        if not kept[at]:
            at += 1
            continue
        first = at
        while at + 1 < len(words) and kept[at + 1]:
            at += 1
        start, end = words[first][0], words[at][1]
        inside = [span for span in marked if span.start < end and span.end > start]
        yield EvidenceSpan(
            task,
            label,
            max(start, min(span.start for span in inside)),
            min(end, max(span.end for span in inside)),
        )
        at += 1


def _listed(said: Decided) -> tuple[str, ...]:
    return (said,) if isinstance(said, str) else said or ()


def _same(one: Decided, other: Decided) -> bool:
    return other is not None and set(_listed(one)) == set(_listed(other))


def _shown(said: Decided) -> str | None:
    return None if said is None else "|".join(_listed(said))
