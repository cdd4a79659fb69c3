"""A reading: what a classifier says of one reply.

Scores, decisions and the evidence for them are three different things and stay apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tactful.own_words.traced_text import Skipped


@dataclass(frozen=True, slots=True)
class Evidence:
    """A stretch of the reply that carries a label.

    Attributes:
        start: first code point of the reply.
        end: one past the last code point.
        text: the reply between them.
    """

    start: int
    end: int
    text: str

    def to_dict(self) -> dict[str, Any]:
        """As in the JSON of a reading."""
        return {"start": self.start, "end": self.end, "text": self.text}


@dataclass(frozen=True, slots=True)
class LabelReading:
    """A label that was decided.

    Attributes:
        label: its name.
        score: its calibrated probability.
        evidence: the words that carry it, in order; empty where the model gives none.
    """

    label: str
    score: float
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True)
class Reading:
    """What the model says of one reply; a task is also an attribute (``reading.tone``).

    >>> from tactful import Classifier
    >>> reading = Classifier.load("models/tactful").classify("I'm so sorry, Ana.")
    >>> reading.scores["tone"][reading.tone.label] == reading.tone.score
    True
    >>> "apology" in [label.label for label in reading.decided("strategies")]
    True
    >>> Reading.from_dict(reading.to_dict()) == reading
    True

    Attributes:
        labels: task name to what was decided: for a multilabel task a tuple of labels, in
            the order of the bundle; for a single task one label.
        scores: task name to label to calibrated probability, all labels of all tasks.
        truncated: whether the end of the reply was too long to be read.
        bundle: name and digest of the model that read it.
        skipped: stretches of the reply that were not read, because they are not the agent's
            words; in order.
        language_doubtful: whether what was read does not look like English, the language that
            the shipped labels are learned from.
    """

    labels: Mapping[str, tuple[LabelReading, ...] | LabelReading]
    scores: Mapping[str, Mapping[str, float]]
    truncated: bool
    bundle: str
    skipped: tuple[Skipped, ...] = ()
    language_doubtful: bool = False

    def __getattr__(self, name: str) -> Any:
        # Asked only for what is no field. `labels` itself is missing while unpickling.
        labels = self.__dict__.get("labels", {})
        if name in labels:
            return labels[name]
        known = ", ".join(labels)
        raise AttributeError(f"this reading has no task {name!r}; its tasks: {known}")

    def decided(self, task: str) -> tuple[LabelReading, ...]:
        """The labels that were decided for a task: any number, or the one of a single task.

        Raises:
            KeyError: the reading has no such task.
        """
        labels = self.labels[task]
        return (labels,) if isinstance(labels, LabelReading) else labels

    def to_dict(self) -> dict[str, Any]:
        """The reading as plain data: the same JSON in Python, command line and HTTP.

        A label of a multilabel task always has ``evidence``, one of a single task only where
        there is some; ``language_doubtful`` stands only where it is true.
        """
        labels: dict[str, Any] = {}
        for task, decided in self.labels.items():
            if isinstance(decided, LabelReading):
                labels[task] = _label_to_dict(decided, always_evidence=False)
            else:
                labels[task] = [_label_to_dict(label, always_evidence=True) for label in decided]
        content = {
            "labels": labels,
            "scores": {task: dict(scores) for task, scores in self.scores.items()},
            "truncated": self.truncated,
            "skipped": [stretch.to_dict() for stretch in self.skipped],
            "bundle": self.bundle,
        }
        return {**content, "language_doubtful": True} if self.language_doubtful else content

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Reading:
        """The inverse of `to_dict`."""
        labels: dict[str, tuple[LabelReading, ...] | LabelReading] = {}
        for task, decided in content["labels"].items():
            if isinstance(decided, Mapping):
                labels[task] = _label_from_dict(decided)
            else:
                labels[task] = tuple(_label_from_dict(label) for label in decided)
        return cls(
            labels,
            content["scores"],
            content["truncated"],
            content["bundle"],
            tuple(Skipped(**stretch) for stretch in content.get("skipped", ())),
            content.get("language_doubtful", False),
        )


def _label_from_dict(entry: Mapping[str, Any]) -> LabelReading:
    evidence = tuple(
        Evidence(span["start"], span["end"], span["text"]) for span in entry.get("evidence", ())
    )
    return LabelReading(entry["label"], entry["score"], evidence)


def _label_to_dict(label: LabelReading, *, always_evidence: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {"label": label.label, "score": label.score}
    if always_evidence or label.evidence:
        entry["evidence"] = [span.to_dict() for span in label.evidence]
    return entry
