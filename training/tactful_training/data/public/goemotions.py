"""GoEmotions: Reddit comments with any of 27 emotions, or neutral.

The lines of ``train.tsv``, ``dev.tsv`` and ``test.tsv`` are ``text TAB label numbers TAB comment``,
the comment by its id; ``labels.txt`` has the names of the numbers, from 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tactful.reading.tasks import Tasks
from tactful_training.data.public.original_files import Converted, convert_lines, lines_of
from tactful_training.errors import DataError

TASK = "emotions"
_LABELS = "labels.txt"
FILES = {"train": "train.tsv", "validation": "dev.tsv", "test": "test.tsv"}


def to_rows(files: Mapping[str, bytes], tasks: Tasks, fold: int) -> Converted:
    """The official split; a comment is a reply without context."""
    names = tasks.named(TASK).names
    problems = []
    if _LABELS in files:  # not from the hub, which has the names elsewhere
        there = tuple(name for _, name in lines_of(_LABELS, files[_LABELS]) if name)
        if there != names:
            # As it is written where that is hard to see: a space at its end, say.
            seen = [n if n.isprintable() and n == n.strip() else repr(n) for n in there]
            problems.append(
                f"{_LABELS} names {', '.join(seen)}; expected {', '.join(names)}, in this order"
            )
    found = convert_lines(files, FILES, lambda _, place, line: [_row(place, line, names)])
    return Converted(found.rows, [*problems, *found.problems])


def hub_line(row: Mapping[str, Any]) -> str:
    """A row of the configuration ``simplified`` as a line of the original file."""
    return f"{row['text']}\t{','.join(map(str, row['labels']))}\t{row['id']}"


def _row(place: str, line: str, names: tuple[str, ...]) -> dict[str, Any]:
    cells = line.split("\t")
    if len(cells) != 3:
        raise DataError(f"{place}: {len(cells)} cells; expected text, label numbers, comment id")
    text, numbers, comment = cells
    try:
        labels = [names[_number(number)] for number in numbers.split(",")]
    except (ValueError, IndexError) as error:
        raise DataError(
            f"{place}: labels {numbers!r}; expected numbers from 0 to {len(names) - 1}"
        ) from error
    return {"id": comment, "reply": text, "labels": {TASK: labels}}


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()):  # not "-1", which would be the last label
        raise ValueError(text)
    return int(text)
