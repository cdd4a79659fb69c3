"""ESConv: emotional support conversations whose supporter turns carry a strategy.

Each line of ``train.txt``, ``valid.txt`` and ``test.txt`` is a dialogue in JSON; the turns of its
``dialog`` are spoken by the seeker (``usr``) or the supporter (``sys``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tactful.reading.tasks import Tasks
from tactful_training.data.public.original_files import Converted, convert_lines
from tactful_training.errors import DataError

TASK = "strategy"
CONTEXT_TURNS = 3
FILES = {"train": "train.txt", "validation": "valid.txt", "test": "test.txt"}
_SPEAKERS = {"usr": "Seeker", "sys": "Supporter"}


def to_rows(files: Mapping[str, bytes], tasks: Tasks, fold: int) -> Converted:
    """The official split; each supporter turn with what was said in the turns before it."""
    known = tasks.named(TASK).names

    def convert(split: str, place: str, line: str) -> Iterator[dict[str, Any]]:
        number = int(place.rpartition(":")[2])
        return _rows(place, f"{split}-{number:04d}", _dialogue(place, line), known)

    return convert_lines(files, FILES, convert)


def hub_line(row: Mapping[str, Any]) -> str:
    """A row of the hub's text files as a line of the original file: it is one."""
    return str(row["text"])


def _dialogue(place: str, line: str) -> Sequence[Mapping[str, str]]:
    try:
        turns = [
            {key: str(turn[key]) for key in ("speaker", "text", "strategy") if key in turn}
            for turn in json.loads(line)["dialog"]
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{place}: not a dialogue in JSON ({error})") from error
    for number, turn in enumerate(turns, start=1):
        if turn.get("speaker") not in _SPEAKERS or "text" not in turn:
            raise DataError(
                f"{place}: turn {number} needs a text and a speaker: {' or '.join(_SPEAKERS)}"
            )
    return turns


def _rows(
    place: str, dialogue: str, turns: Sequence[Mapping[str, str]], known: Sequence[str]
) -> Iterator[dict[str, Any]]:
    for number, turn in enumerate(turns, start=1):
        if turn["speaker"] != "sys":
            continue
        if turn.get("strategy") not in known:
            raise DataError(
                f"{place}: turn {number} has the strategy {turn.get('strategy')!r}; expected one "
                f"of {', '.join(known)}"
            )
        before = turns[max(0, number - 1 - CONTEXT_TURNS) : number - 1]
        yield {
            "id": f"{dialogue}-{number:03d}",
            "group": dialogue,
            "context": "\n".join(f"{_SPEAKERS[t['speaker']]}: {t['text']}" for t in before),
            "reply": turn["text"],
            "labels": {TASK: turn["strategy"]},
        }
