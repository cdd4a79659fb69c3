"""Label Studio: its JSON of tasks, with predictions or annotations, and the labelling config.

A task of the data set is a group of choices, its marked words a set of labels over the reply. For a
task of several labels there is one more choice, that none of them applies: without a choice nothing
was said. Offsets are code points, as Label Studio 1.5 and later count; older ones counted UTF-16
units, which is told by the quoted text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from xml.sax.saxutils import quoteattr

from tactful.reading.tasks import Task, Tasks
from tactful_training.annotation.labellings import Labelling
from tactful_training.data.label_cells import RowError, shown
from tactful_training.data.labelled_row import Row, RowParser

REPLY, CONTEXT = "reply", "context"
_ROW = "tactful"  # what of a row no annotator needs to see: id, group, columns
_MODEL = "imported"


class Controls(NamedTuple):
    """What a labelling config calls the parts of one task.

    Attributes:
        choices: the group of choices.
        words: the labels over the reply.
        none: the choice that no label applies; None for a task of exactly one label.
    """

    choices: str
    words: str
    none: str | None


def controls(tasks: Tasks) -> dict[str, Controls]:
    """Task to its parts in the labelling config; no name occurs twice."""
    taken = {*(task.name for task in tasks), REPLY, CONTEXT}
    found = {}
    for task in tasks:
        words = f"{task.name}_words"
        while words in taken:
            words += "_"
        taken.add(words)
        none = f"no {task.name}" if task.kind == "multilabel" else None
        while none in task.labels:
            none = f"({none})"
        found[task.name] = Controls(task.name, words, none)
    return found


def labelling_config(tasks: Tasks) -> str:
    """The labelling config, to be pasted into a project's settings."""
    named = controls(tasks)
    lines = ["<View>", f'  <Text name="{CONTEXT}" value="${CONTEXT}"/>']
    for task in tasks:
        lines.append(f'  <Labels name={quoteattr(named[task.name].words)} toName="{REPLY}">')
        lines += [f"    <Label {_named(label, text)}/>" for label, text in task.labels.items()]
        lines.append("  </Labels>")
    lines.append(f'  <Text name="{REPLY}" value="${REPLY}"/>')
    for task in tasks:
        part = named[task.name]
        how = "multiple" if task.kind == "multilabel" else "single"
        lines.append(f"  <Header value={quoteattr(task.name)}/>")
        lines.append(
            f'  <Choices name={quoteattr(part.choices)} toName="{REPLY}" choice="{how}" '
            'required="true">'
        )
        lines += [f"    <Choice {_named(label, text)}/>" for label, text in task.labels.items()]
        if part.none is not None:
            lines.append(f"    <Choice {_named(part.none, '')}/>")
        lines.append("  </Choices>")
    return "\n".join([*lines, "</View>", ""])


def _named(label: str, description: str) -> str:
    hint = f" hint={quoteattr(description)}" if description else ""
    return f"value={quoteattr(label)}{hint}"


def to_label_studio(rows: Sequence[Row], tasks: Tasks, *, suggested: bool) -> bytes:
    """Rows as JSON that Label Studio imports.

    Args:
        rows: the rows.
        tasks: their tasks.
        suggested: whether labels are a model's suggestions (predictions), to be confirmed, or what
            a person said (annotations).
    """
    named = controls(tasks)
    content = []
    for row in rows:
        known = {
            "id": row.id,
            "group": row.group,
            "columns": dict(row.columns),
            "unknown": [task for task, said in row.labels.items() if said is None],
        }
        results = list(_results(row, named))
        key = "predictions" if suggested else "annotations"
        model = {"model_version": _MODEL} if suggested else {}
        content.append(
            {
                "data": {REPLY: row.reply, CONTEXT: row.context or "", _ROW: known},
                key: [{**model, "result": results}],
            }
        )
    return (json.dumps(content, indent=1) + "\n").encode()


def _results(row: Row, named: Mapping[str, Controls]) -> Iterator[dict[str, Any]]:
    for number, span in enumerate(row.evidence):
        yield {
            "id": f"w{number}",
            "from_name": named[span.task].words,
            "to_name": REPLY,
            "type": "labels",
            "value": {
                "start": span.start,
                "end": span.end,
                "text": row.reply[span.start : span.end],
                "labels": [span.label],
            },
        }
    for number, (task, said) in enumerate(row.labels.items()):
        if said is not None:
            chosen: Sequence[str | None] = (said,) if isinstance(said, str) else said
            chosen = chosen or (named[task].none,)
            yield {
                "id": f"c{number}",
                "from_name": named[task].choices,
                "to_name": REPLY,
                "type": "choices",
                "value": {"choices": list(chosen)},
            }


def from_label_studio(
    content: Any, path: str, tasks: Tasks, *, suggestions: bool
) -> Iterator[Labelling | str]:
    """What annotators said, as Label Studio exports it ("JSON"); for what is unusable, why.

    Args:
        content: the parsed file.
        path: its name, for messages.
        tasks: the tasks that it may speak of.
        suggestions: whether predictions count where nobody has annotated.
    """
    parser = RowParser(tasks, None, require_labels=True)
    reader = _Reader(tasks)
    for number, item in enumerate(content if isinstance(content, list) else [content], start=1):
        place = f"{path}: task {number}"
        data = item.get("data") if isinstance(item, dict) else None
        if not isinstance(data, dict) or not isinstance(data.get(REPLY), str):
            yield (
                f"{place}: no task of Label Studio with a text {REPLY!r} in its 'data'; export as "
                "'JSON' (not JSON-MIN or CSV) from a project with the labelling config of `tactful "
                "data export`"
            )
            continue
        annotations = [
            each for each in item.get("annotations", ()) if not each.get("was_cancelled")
        ]
        if not annotations and suggestions:
            annotations = item.get("predictions", [])
        for annotation in annotations:
            try:
                values = reader.values(item, place, annotation.get("result", []))
                row = parser.parse(values, place)
            except RowError as error:
                yield f"{place}: {error}"
            else:
                yield Labelling(row, place, _who(annotation), _when(annotation))


class _Reader:
    """Takes the results of annotators apart.

    Args:
        tasks: the tasks that they may speak of.
    """

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = {task.name: task for task in tasks}
        named = controls(tasks)
        self._choices = {part.choices: self._tasks[name] for name, part in named.items()}
        self._words = {part.words: self._tasks[name] for name, part in named.items()}
        self._none = {name: part.none for name, part in named.items()}

    def values(self, item: Mapping[str, Any], place: str, results: Sequence[Any]) -> dict[str, Any]:
        """The values of a row, whose id is its place where there is no other."""
        data = item["data"]
        row = data.get(_ROW)
        row = row if isinstance(row, dict) else {}
        reply = data[REPLY]
        labels: dict[str, Any] = {}
        evidence = []
        for result in results:
            value, name = result.get("value", {}), result.get("from_name")
            if "choices" in value:
                task = self._task(name, self._choices, value["choices"])
                labels[task.name] = self._said(value["choices"], task)
            elif "labels" in value:
                task = self._task(name, self._words, value["labels"])
                start, end = _offsets(value, reply)
                evidence += [
                    {"task": task.name, "label": label, "start": start, "end": end}
                    for label in value["labels"]
                ]
            else:
                raise RowError(f"a result of type {result.get('type')!r}; known: choices, labels")
        unknown = row.get("unknown", ())
        for span in evidence:  # words were marked and nothing was chosen: they say it themselves
            task = self._tasks[span["task"]]
            if task.name in labels and not isinstance(labels[task.name], _FromWords):
                continue
            if task.name not in unknown and task.kind == "multilabel":
                said = labels.setdefault(task.name, _FromWords())
                said += [] if span["label"] in said else [span["label"]]
        return {
            **row.get("columns", {}),
            "id": row.get("id") or str(item.get("id") or place),
            "group": row.get("group"),
            "context": data.get(CONTEXT) or None,
            "reply": reply,
            "labels": {name: list(s) if isinstance(s, list) else s for name, s in labels.items()},
            "evidence": evidence,
        }

    def _task(self, name: object, known: Mapping[str, Task], labels: Sequence[Any]) -> Task:
        """The task of a control: by its name, else by the labels, as in another's config."""
        if name in known:
            return known[str(name)]
        for task in self._tasks.values():
            if labels and set(labels) <= {*task.labels, self._none[task.name]}:
                return task
        raise RowError(
            f"{shown(name)} with {shown(labels)} is no task of the card; the tasks are: "
            f"{', '.join(self._tasks)}"
        )

    def _said(self, chosen: Sequence[Any], task: Task) -> Any:
        none = self._none[task.name]
        if none is not None:
            if none in chosen and len(chosen) > 1:
                raise RowError(f"{task.name}: {shown(none)} is chosen beside labels: {chosen}")
            return [label for label in chosen if label != none]
        if len(chosen) != 1:
            raise RowError(f"{task.name}: exactly one choice is allowed, not {shown(chosen)}")
        return chosen[0]


class _FromWords(list[str]):
    """Labels of which only marked words speak."""


def _offsets(value: Mapping[str, Any], reply: str) -> tuple[Any, Any]:
    """Start and end in code points; the parser of rows checks them."""
    start, end, text = value.get("start"), value.get("end"), value.get("text")
    if not (isinstance(start, int) and isinstance(end, int) and isinstance(text, str)):
        return start, end
    if reply[start:end] == text:
        return start, end
    units = reply.encode("utf-16-le", "surrogatepass")
    before, part = units[: 2 * start], units[2 * start : 2 * end]
    if part.decode("utf-16-le", "replace") == text:
        first = len(before.decode("utf-16-le", "replace"))
        return first, first + len(text)
    raise RowError(
        f"marked words {start} to {end} are {shown(reply[start:end])} in the reply, not "
        f"{shown(text)}; was the text changed after it was annotated?"
    )


def _who(annotation: Mapping[str, Any]) -> str | None:
    by = annotation.get("completed_by")
    if isinstance(by, dict):
        by = by.get("email") or by.get("id")
    return None if by is None else str(by)


def _when(annotation: Mapping[str, Any]) -> str | None:
    at = annotation.get("updated_at") or annotation.get("created_at")
    return at if isinstance(at, str) else None
