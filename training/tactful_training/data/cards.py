"""The card of a data set: a README.md whose front matter names the tasks.

The front matter is that of a Hugging Face data-set card with one more key::

    ---
    license: cc-by-4.0
    tasks:
      - {name: tone, kind: single, labels: {warm: "kind, friendly", cold: "curt"}}
    ---
    # prose
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tactful.reading.tasks import Tasks
from tactful_training.config.yaml_files import YamlError, parse_yaml
from tactful_training.errors import DataError

CARD = "README.md"
ORIGINALS = "originals"
"""Key of the front matter under which a public set describes its original files."""
FENCE = "---"
"""The line before and after the front matter."""


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


def _front_matter(lines: list[str], path: Path) -> dict[str, Any]:
    fences = [index for index, line in enumerate(lines) if line.rstrip() == FENCE]
    if len(fences) < 2 or fences[0] != 0:
        raise DataError(
            f"{path} has no front matter: it must begin with YAML between two lines '{FENCE}'"
        )
    try:
        content = parse_yaml("\n".join(lines[1 : fences[1]]))
    except YamlError as error:
        place = path if error.line is None else f"{path}:{error.line + 1}"
        raise DataError(f"{place}: the front matter is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"the front matter of {path} must be a mapping of keys to values")
    return content
