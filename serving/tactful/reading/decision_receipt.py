"""The receipt of one reading: everything that was decided and by what, so that it can be replayed.

Plain data without numpy: what reads it back need not run a model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tactful.reading.readings import Reading


@dataclass(frozen=True, slots=True)
class TokenScore:
    """A token of the reply, and how much it speaks for a label.

    Attributes:
        start: first code point of the reply.
        end: one past the last.
        text: the reply between them.
        score: raw; the logit of the label is a weighted mean of those of all tokens.
    """

    start: int
    end: int
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class LabelDecision:
    """How one label was decided.

    Attributes:
        logit: what the model said, before calibration.
        score: the calibrated probability.
        threshold: the least score that is decided; None for a single task, where the highest is.
        decided: whether the reading has the label.
        tokens: those that speak most for it, the strongest first.
    """

    logit: float
    score: float
    threshold: float | None
    decided: bool
    tokens: tuple[TokenScore, ...]


@dataclass(frozen=True, slots=True)
class Unread:
    """A stretch of the reply or the context that was not read.

    Attributes:
        part: ``reply`` or ``context``.
        start: first code point.
        end: one past the last.
        why: ``too_long`` (a reply of more than ``max_windows`` windows), ``no_room`` (beside the
            reply), ``not_used`` (the model reads no contexts), or as in the reading's ``skipped``.
    """

    part: str
    start: int
    end: int
    why: str


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A training reply that the model reads alike.

    Attributes:
        id: its id in the data set.
        distance: of the probabilities of all labels; 0 is read the same.
        row: its ``reply``, ``context`` and ``labels``, where the data set was at hand.
    """

    id: str
    distance: float
    row: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As in the JSON of a receipt."""
        return {"id": self.id, "distance": self.distance, **self.row}


@dataclass(frozen=True)
class Receipt:
    """One reading with what led to it.

    >>> from tactful import Classifier
    >>> receipt = Classifier.load("models/tactful").explain("I'm so sorry, Ana.")
    >>> receipt.labels["strategies"]["apology"].decided
    True
    >>> receipt.labels["strategies"]["apology"].tokens[0].text
    'sorry'
    >>> Receipt.from_dict(receipt.to_dict()) == receipt
    True

    Attributes:
        reply: the text that was read.
        context: what the customer said before, or None.
        reading: what came out.
        labels: task to label to how it was decided, all labels of all tasks.
        tokens: how many tokens of the reply were read.
        windows: how many windows it was read in.
        unread: what was not read.
        nearest: training replies that are read alike, nearest first; None where the bundle keeps
            none.
        read_by: ``digest`` of the bundle's manifest (empty of none), versions of ``tactful``,
            ``onnxruntime``, ``tokenizers`` and ``numpy``, the ``processor``, its ``instructions``
            and the number of ``threads``.
    """

    reply: str
    context: str | None
    reading: Reading
    labels: Mapping[str, Mapping[str, LabelDecision]]
    tokens: int
    windows: int
    unread: tuple[Unread, ...]
    nearest: tuple[Neighbour, ...] | None
    read_by: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        return {
            "reply": self.reply,
            "context": self.context,
            "reading": self.reading.to_dict(),
            "labels": {
                task: {name: _decision_to_dict(label) for name, label in labels.items()}
                for task, labels in self.labels.items()
            },
            "tokens": self.tokens,
            "windows": self.windows,
            "unread": [asdict(each) for each in self.unread],
            "nearest": self.nearest and [each.to_dict() for each in self.nearest],
            "read_by": dict(self.read_by),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Receipt:
        """The inverse of `to_dict`.

        Raises:
            ValueError: it is no receipt.
        """
        try:
            nearest = content["nearest"]
            return cls(
                content["reply"],
                content["context"],
                Reading.from_dict(content["reading"]),
                {
                    task: {name: _decision_from_dict(label) for name, label in labels.items()}
                    for task, labels in content["labels"].items()
                },
                content["tokens"],
                content["windows"],
                tuple(Unread(**each) for each in content["unread"]),
                None if nearest is None else tuple(map(_neighbour_from_dict, nearest)),
                dict(content["read_by"]),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"no receipt of `tactful explain --json`: {error!r}") from error

    def places(self) -> Iterator[tuple[str, str, LabelDecision]]:
        """Task, label and how it was decided."""
        for task, labels in self.labels.items():
            for name, label in labels.items():
                yield task, name, label


@dataclass(frozen=True)
class Replay:
    """A receipt held against a new reading of the same text.

    Attributes:
        differences: one line for each thing that is not as it was; empty where all is.
        elsewhere: one line for each version or part of the machine that has changed, which may
            change the last decimals.
        largest: the largest difference of a score.
    """

    differences: Sequence[str]
    elsewhere: Sequence[str]
    largest: float

    def to_dict(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        return {
            "same": not self.differences,
            "differences": list(self.differences),
            "elsewhere": list(self.elsewhere),
            "largest": self.largest,
        }


def compare_receipts(before: Receipt, now: Receipt, tolerance: float) -> Replay:
    """Hold a receipt against the one of reading it again.

    With the same versions, processor and threads every logit must be the same; elsewhere the
    decisions, and the scores within a tolerance.

    Args:
        before: the receipt.
        now: of reading its text again.
        tolerance: largest difference of a score between processors.
    """
    names = [*dict.fromkeys([*before.read_by, *now.read_by])]
    changed = [
        f"{name} was {before.read_by.get(name)}, is {now.read_by.get(name)}"
        for name in names
        if name != "digest" and before.read_by.get(name) != now.read_by.get(name)
    ]
    differences = []
    digests = [receipt.read_by.get("digest") for receipt in (before, now)]
    if digests[0] != digests[1]:
        differences.append(f"the bundle's digest was {digests[0]}, is {digests[1]}")
    largest = 0.0
    new = {(task, name): label for task, name, label in now.places()}
    for task, name, old in before.places():
        label = new.pop((task, name), None)
        if label is None:
            differences.append(f"{task}.{name} is no label any more")
            continue
        gap = abs(label.score - old.score)
        largest = max(largest, gap)
        if label.decided != old.decided:
            said = ["not decided", "decided"]
            differences.append(f"{task}.{name} was {said[old.decided]}, is {said[label.decided]}")
        elif gap > tolerance or (not changed and label.logit != old.logit):
            differences.append(
                f"{task}.{name} had logit {old.logit:g} and score {old.score:g}, has "
                f"{label.logit:g} and {label.score:g}"
            )
    differences += [f"{task}.{name} is a new label" for task, name in new]
    if before.unread != now.unread:
        differences.append("other stretches of the text are left unread")
    return Replay(differences, changed, largest)


def _decision_to_dict(label: LabelDecision) -> dict[str, Any]:
    return asdict(label) | {"tokens": [asdict(token) for token in label.tokens]}


def _decision_from_dict(content: Mapping[str, Any]) -> LabelDecision:
    tokens = tuple(TokenScore(**token) for token in content["tokens"])
    for number in (content["logit"], content["score"]):
        if not isinstance(number, int | float):
            raise ValueError(f"{number!r} is no number")
    return LabelDecision(**{**content, "tokens": tokens})


def _neighbour_from_dict(content: Mapping[str, Any]) -> Neighbour:
    rest = {key: value for key, value in content.items() if key not in ("id", "distance")}
    return Neighbour(content["id"], content["distance"], rest)
