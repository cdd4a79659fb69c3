"""An evaluation row by row: a table of what is right and what was decided."""

from __future__ import annotations

from typing import Any

from tactful_training.evaluation.answers import Answers


def evaluation_rows(answers: Answers) -> dict[str, list[Any]]:
    """Column to its values: the row, then for each task what is right, what was decided, whether
    that is the same (None where the task is unknown).
    """
    columns: dict[str, list[Any]] = {
        "id": [row.id for row in answers.rows],
        "reply": [_printable(row.reply) for row in answers.rows],
        "context": [_printable(row.context or "") for row in answers.rows],
    }
    for task in answers.tasks:
        right = [row.labels[task.name] for row in answers.rows]
        known = [None if each is None else _set_of(each) for each in right]
        decided = [answers.decided(index, task.name) for index in range(len(answers.rows))]
        columns[task.name] = [None if each is None else _joined(each) for each in known]
        columns[f"{task.name}_decided"] = [_joined(set(each)) for each in decided]
        columns[f"{task.name}_right"] = [
            None if each is None else each == set(said)
            for each, said in zip(known, decided, strict=True)
        ]
    return columns


def _set_of(labels: tuple[str, ...] | str) -> set[str]:
    return {labels} if isinstance(labels, str) else set(labels)


def _joined(labels: set[str]) -> str:
    return "|".join(sorted(labels))


def _printable(text: str) -> str:
    """Without lone surrogates, which no file can hold."""
    return text.encode("utf-8", "replace").decode()
