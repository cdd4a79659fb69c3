"""What a merge leaves beside the rows: who changed which row and why, a version, a line of changes.

``history.jsonl`` has a line for each row that was added or corrected::

    {"row": "a-0001-2", "split": "train", "version": "1.1.0", "by": "Kim", "at": "2026-11-26T…",
     "why": "guide, ruling 7", "from": "mine.csv: 'a-0001-2'",
     "before": {"labels": …, "evidence": …}, "after": {"labels": …, "evidence": …}}

``before`` is null for a row that was added. ``CHANGELOG.md`` has a paragraph for each version, and
the front matter of the card names the newest.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tactful_training.data.data_card import Card
from tactful_training.errors import DataError

HISTORY, CHANGES = "history.jsonl", "CHANGELOG.md"
FIRST_VERSION = "1.0.0"
"""Of a set whose card names none."""
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")
_KEY = "version"
_TITLE = "# Changes"


@dataclass(frozen=True)
class Change:
    """One row that is added or corrected.

    Attributes:
        row: its id.
        split: where it is.
        who: who says so.
        when: when it was said, ISO 8601.
        why: the reason, or None.
        source: where it was said, ``file:line``.
        event: the id of the feedback that it is, or None.
        before: labels and evidence as they were; None of a row that is added.
        after: labels and evidence as they are now.
    """

    row: str
    split: str
    who: str
    when: str
    why: str | None
    source: str
    event: str | None
    before: dict[str, Any] | None
    after: dict[str, Any]

    def line(self, version: str) -> bytes:
        """Its line in the history."""
        said = {
            "row": self.row,
            "split": self.split,
            "version": version,
            "by": self.who,
            "at": self.when,
            "why": self.why,
            "from": self.source,
            **({} if self.event is None else {"event": self.event}),
            "before": self.before,
            "after": self.after,
        }
        return f"{json.dumps(said)}\n".encode()

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def next_version(card: Card) -> str:
    """The version after that of a card: other rows are a minor change.

    Raises:
        DataError: the card's version is none.
    """
    given = str(card.front_matter.get(_KEY, FIRST_VERSION))
    match = _VERSION.fullmatch(given)
    if match is None:
        raise DataError(
            f"{card.path}: version {given!r} is not like {FIRST_VERSION}; write it as three numbers"
        )
    return f"{match[1]}.{int(match[2]) + 1}.0"


def with_version(content: bytes, version: str) -> bytes:
    """The content of a card that names another version, all else as it was."""
    lines = content.decode("utf-8-sig").split("\n")
    end = [at for at, line in enumerate(lines) if line.rstrip() == "---"][1]
    line = f"{_KEY}: {version}"
    for at in range(1, end):
        if re.match(rf"{_KEY}\s*:", lines[at]):
            lines[at] = line
            break
    else:
        lines.insert(1, line)
    return "\n".join(lines).encode()


def changelog(before: bytes, version: str, day: str, changes: Sequence[Change]) -> bytes:
    """The list of changes with a paragraph more, the newest first.

    Args:
        before: the list so far, or nothing.
        version: that the changes make.
        day: on which they are made.
        changes: all of them.
    """
    rest = before.decode("utf-8-sig").removeprefix(_TITLE).strip("\n")
    counts = Counter((each.before is None, each.who, each.why) for each in changes)
    lines = [
        f"- {count} {'row' if count == 1 else 'rows'} {'added' if added else 'corrected'} by {who}"
        + (f": {' '.join(why.split())}" if why else "")
        for (added, who, why), count in counts.items()
    ]
    parts = [_TITLE, f"## {version} ({day})", "\n".join(lines), *([rest] if rest else [])]
    return ("\n\n".join(parts) + "\n").encode("utf-8", "replace")


def merged_events(history: bytes) -> set[str]:
    """The ids of the feedback that a history has already."""
    found = set()
    for line in history.split(b"\n"):
        if line.strip() and (event := json.loads(line).get("event")):
            found.add(event)
    return found
