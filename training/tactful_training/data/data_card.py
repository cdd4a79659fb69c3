"""The card of a data set: a README.md whose front matter names the tasks.

The front matter is that of a Hugging Face data-set card with one more key::

    ---
    license: cc-by-4.0
    tasks:
      - {name: tone, kind: single, labels: {warm: "kind, friendly", cold: "curt"}}
    ---
    # prose

The card of a public set says under ``originals`` what its original files must be; that of one which
was prepared also says, in one line, with which fold and accepted differences::

    prepared: {"fold": 2, "differences": ["train.tsv: SHA-256 …"]}
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tactful.reading.tasks import Tasks
from tactful_training.config.strict_yaml import YamlError, parse_yaml
from tactful_training.errors import DataError

CARD = "README.md"
ORIGINALS = "originals"
"""Key of the front matter under which a public set describes its original files."""
_PREPARED = "prepared"
_FENCE = "---"

_Count = Annotated[int, Field(ge=0)]
_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Hub(_Section):
    """Where the Hugging Face hub has the set."""

    id: str
    config: str | None = None


class Counts(_Section):
    """What a split must hold: rows, and rows that have each label, by task."""

    rows: _Count
    labels: dict[str, dict[str, _Count]]


class Originals(_Section):
    """The block ``originals`` of a card's front matter.

    Attributes:
        set: name of the set.
        files: original file to its SHA-256.
        counts: split to what it must hold; ``all`` stands for all splits together.
        hub: where the hub has it, if it can be read from there.
    """

    set: str
    files: dict[str, _Digest]
    counts: dict[str, Counts]
    hub: Hub | None = None


@dataclass(frozen=True)
class Card:
    """What a data-set card declares.

    Attributes:
        tasks: the tasks, in the order of the label axis.
        front_matter: everything the front matter says, ``tasks`` too.
        path: the card's file.
    """

    tasks: Tasks
    front_matter: Mapping[str, Any]
    path: Path


def read_card(path: Path) -> Card:
    """Read the card of a data set.

    Args:
        path: the card itself, or the folder that holds it as ``README.md``.

    Raises:
        DataError: there is no card, or its front matter or tasks cannot be used.
    """
    if path.is_dir():
        path = path / CARD
    try:
        if path.exists() and not path.is_file():  # to open a pipe may wait for ever
            raise DataError(f"the data card {path} is no file")
        lines = path.read_bytes().decode("utf-8-sig").split("\n")
    except FileNotFoundError as error:
        raise DataError(
            f"no data card {path}: a data set needs a {CARD} whose front matter names its tasks"
        ) from error
    except OSError as error:
        raise DataError(f"the data card {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"the data card {path} is not UTF-8 text (byte {error.start})") from error
    front_matter = _front_matter(lines, path)
    if "tasks" not in front_matter:
        raise DataError(
            f"the front matter of {path} has no 'tasks'; it needs a list like "
            '- {name: tone, kind: single, labels: {warm: "kind, friendly", …}}'
        )
    try:
        tasks = Tasks.from_dicts(front_matter["tasks"])
    except ValueError as error:
        raise DataError(f"the tasks of {path}: {error}") from error
    return Card(tasks=tasks, front_matter=front_matter, path=path)


def read_originals(card: Card) -> Originals:
    """What a card says of its original files.

    Raises:
        DataError: the card says nothing of them, or something else than it may.
    """
    if ORIGINALS not in card.front_matter:
        raise DataError(
            f"the front matter of {card.path} has no {ORIGINALS!r}: it is no public set"
        )
    try:
        return Originals.model_validate(card.front_matter[ORIGINALS])
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join([ORIGINALS, *map(str, problem["loc"])])
        raise DataError(f"{card.path}: {where}: {problem['msg']}") from error


def card_for(folder: Path, card: Card, fold: int | None, differences: Sequence[str]) -> bytes:
    """The content of the card of a set that is prepared in a folder (resolved).

    The card that a repository keeps stays as it is, so that preparing changes no tracked file.
    """
    content = card.path.read_bytes()
    said: dict[str, Any] = {} if fold is None else {"fold": fold}
    if differences:
        said["differences"] = list(differences)
    earlier = _PREPARED in card.front_matter
    if not earlier and (not said or card.path.parent.resolve() == folder):
        return content
    lines = content.decode("utf-8-sig").split("\n")
    end = [at for at, line in enumerate(lines) if line.rstrip() == _FENCE][1]
    head = [line for line in lines[:end] if not line.startswith(f"{_PREPARED}:")]
    if said:  # JSON is YAML too
        head.append(f"{_PREPARED}: {json.dumps(said, ensure_ascii=False)}")
    return "\n".join([*head, *lines[end:]]).encode()


def recorded_fold(card: Card) -> int | None:
    """The fold that a prepared set's card names, if it names one."""
    said = card.front_matter.get(_PREPARED)
    fold = said.get("fold") if isinstance(said, dict) else None
    return fold if isinstance(fold, int) else None


def _front_matter(lines: list[str], path: Path) -> dict[str, Any]:
    fences = [index for index, line in enumerate(lines) if line.rstrip() == _FENCE]
    if len(fences) < 2 or fences[0] != 0:
        raise DataError(
            f"{path} has no front matter: it must begin with YAML between two lines '{_FENCE}'"
        )
    try:
        content = parse_yaml("\n".join(lines[1 : fences[1]]))
    except YamlError as error:
        place = path if error.line is None else f"{path}:{error.line + 1}"
        raise DataError(f"{place}: the front matter is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"the front matter of {path} must be a mapping of keys to values")
    return content
