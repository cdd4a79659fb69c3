"""Prodigy: its JSONL, with the labels of all tasks as options and marked words as spans.

Use a recipe whose blocks are ``choice`` (``choice_style`` ``multiple``) and ``spans_manual``. A
label that several tasks have is written ``task/label``; for a task of several labels there is an
option that none of them applies. Offsets are code points.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from tactful.reading.tasks import Tasks
from tactful_training.annotation.labellings import Labelling
from tactful_training.data.label_cells import RowError, shown
from tactful_training.data.labelled_row import Row, RowParser

_ROW = "tactful"  # what of a row Prodigy keeps and does not show


def option_names(tasks: Tasks) -> dict[tuple[str, str | None], str]:
    """(task, label) to what Prodigy calls it; the label None says that none applies."""
    counts = Counter(label for task in tasks for label in task.labels)
    names: dict[tuple[str, str | None], str] = {}
    for task in tasks:
        for label in task.labels:
            name = label if counts[label] == 1 else f"{task.name}/{label}"
            while name in names.values():
                name = f"{task.name}/{name}"
            names[task.name, label] = name
    for task in tasks:
        if task.kind == "multilabel":
            name = f"no {task.name}"
            while name in names.values():
                name = f"({name})"
            names[task.name, None] = name
    return names


def to_prodigy(rows: Sequence[Row], tasks: Tasks, *, suggested: bool) -> bytes:
    """Rows as JSONL for Prodigy.

    Args:
        rows: the rows.
        tasks: their tasks.
        suggested: whether labels are a model's suggestions, to be confirmed, or accepted answers.
    """
    names = option_names(tasks)
    options = [{"id": name, "text": name} for name in names.values()]
    lines = []
    for row in rows:
        accept = []
        for task, said in row.labels.items():
            if said is not None:
                chosen: Iterable[str | None] = (said,) if isinstance(said, str) else said or (None,)
                accept += [names[task, label] for label in chosen]
        lines.append(
            {
                "text": row.reply,
                "options": options,
                "accept": accept,
                "spans": [
                    {"start": s.start, "end": s.end, "label": names[s.task, s.label]}
                    for s in row.evidence
                ],
                **({} if suggested else {"answer": "accept"}),
                **({} if row.context is None else {"context": row.context}),
                _ROW: {"id": row.id, "group": row.group, "columns": dict(row.columns)},
            }
        )
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def from_prodigy(
    records: Iterable[tuple[str, Mapping[str, Any]]], tasks: Tasks, *, suggestions: bool
) -> Iterator[Labelling | str]:
    """What annotators accepted, as ``prodigy db-out`` writes it; for what is unusable, why.

    Args:
        records: for each line its place and what it holds.
        tasks: the tasks that it may speak of.
        suggestions: whether lines count that nobody has answered.
    """
    parser = RowParser(tasks, None, require_labels=True)
    owners = {name: key for key, name in option_names(tasks).items()}
    for place, record in records:
        answer = record.get("answer")
        if answer in ("reject", "ignore") or (answer is None and not suggestions):
            continue
        try:
            row = parser.parse(_values(record, place, tasks, owners), place)
        except RowError as error:
            yield f"{place}: {error}"
        else:
            who = record.get("_annotator_id")
            when = record.get("_timestamp")
            yield Labelling(
                row,
                place,
                str(who) if who else None,
                datetime.fromtimestamp(when, UTC).isoformat()
                if isinstance(when, int | float)
                else None,
            )


def _values(
    record: Mapping[str, Any],
    place: str,
    tasks: Tasks,
    owners: Mapping[str, tuple[str, str | None]],
) -> dict[str, Any]:
    if not isinstance(record.get("text"), str):
        raise RowError("no text")
    kinds = {task.name: task.kind for task in tasks}
    labels: dict[str, Any] = {}
    for name in record.get("accept", ()):
        if name not in owners:
            raise RowError(f"{shown(name)} is no label; there are: {', '.join(owners)}")
        task, label = owners[name]
        if kinds[task] == "single":
            if task in labels:
                raise RowError(f"{task}: one label is allowed, not {labels[task]} and {label}")
            labels[task] = label
        else:
            labels.setdefault(task, []).append(label)
    for task, said in labels.items():
        if isinstance(said, list):
            if None in said and len(said) > 1:
                raise RowError(f"{task}: that none applies is accepted beside labels")
            labels[task] = [label for label in said if label is not None]
    evidence = []
    for span in record.get("spans", ()):
        task, label = owners.get(span.get("label"), ("", None))
        if label is None:
            raise RowError(f"{shown(span.get('label'))} is no label; see the labels of the card")
        marked = {"task": task, "label": label, "start": span.get("start"), "end": span.get("end")}
        evidence.append(marked)
        if "accept" not in record and kinds[task] == "multilabel":  # spans alone say it themselves
            said = labels.setdefault(task, [])
            said += [] if label in said else [label]
    row = record.get(_ROW)
    row = row if isinstance(row, dict) else {}
    return {
        **row.get("columns", {}),
        "id": row.get("id") or str(record.get("_input_hash", place)),
        "group": row.get("group"),
        "context": record.get("context"),
        "reply": record["text"],
        "labels": labels,
        "evidence": evidence,
    }
