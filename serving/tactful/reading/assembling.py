"""From what the model says of a reply to a reading; evidence only for what was decided."""

from __future__ import annotations

from tactful.reading.decisions import Heads, TaskHead, sigmoid
from tactful.reading.engine import Labelled, decisions_of, scores_of
from tactful.reading.evidence import EvidenceFinder
from tactful.reading.readings import Evidence, LabelReading, Reading


def to_reading(reply: str, labelled: Labelled, heads: Heads, bundle: str) -> Reading:
    """Put a reading together.

    Args:
        reply: the text.
        labelled: what the engine says of it.
        heads: of the bundle.
        bundle: its id.
    """
    tasks = heads.tasks
    scores, decisions = scores_of(labelled, tasks), decisions_of(labelled, tasks)
    encoded = labelled.encoded
    finder = EvidenceFinder(reply, encoded.offsets, truncated=encoded.truncated)

    def read(head: TaskHead, names: list[str]) -> tuple[LabelReading, ...]:
        task = head.task
        indices = [task.names.index(name) for name in names]
        found: list[list[tuple[int, int]]] = [[] for _ in names]
        if head.evidence_thresholds is not None:
            columns = labelled.token_scores[:, tasks.slices[task.name]].T[indices]
            thresholds = head.evidence_thresholds[indices].tolist()
            found = list(map(finder.spans, sigmoid(columns), thresholds))
        return tuple(
            LabelReading(
                name,
                scores[task.name][name],
                tuple(Evidence(start, end, reply[start:end]) for start, end in spans),
            )
            for name, spans in zip(names, found, strict=True)
        )

    labels: dict[str, tuple[LabelReading, ...] | LabelReading] = {}
    for head in heads.heads:
        decided = decisions[head.task.name]
        if isinstance(decided, str):
            [labels[head.task.name]] = read(head, [decided])
        else:
            labels[head.task.name] = read(head, decided)
    return Reading(labels, scores, encoded.truncated, bundle)
