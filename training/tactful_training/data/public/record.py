"""What a prepared set says of its own making: one line in the front matter of its card.

``prepared: {"fold": 2, "differences": ["train.tsv: SHA-256 …"]}``, where there is a fold or an
accepted difference to tell. The card that a repository keeps stays as it is, so that preparing a
set changes no tracked file.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tactful_training.data.cards import FENCE, Card

_KEY = "prepared"


def card_for(folder: Path, card: Card, fold: int | None, differences: Sequence[str]) -> bytes:
    """The card of a set prepared in a folder (resolved)."""
    content = card.path.read_bytes()
    said: dict[str, Any] = {} if fold is None else {"fold": fold}
    if differences:
        said["differences"] = list(differences)
    earlier = _KEY in card.front_matter
    if not earlier and (not said or card.path.parent.resolve() == folder):
        return content
    lines = content.decode("utf-8-sig").split("\n")
    end = [at for at, line in enumerate(lines) if line.rstrip() == FENCE][1]
    head = [line for line in lines[:end] if not line.startswith(f"{_KEY}:")]
    if said:  # JSON is YAML too
        head.append(f"{_KEY}: {json.dumps(said, ensure_ascii=False)}")
    return "\n".join([*head, *lines[end:]]).encode()


def recorded_fold(card: Card) -> int | None:
    """The fold that a prepared set's card names, if it names one."""
    said = card.front_matter.get(_KEY)
    fold = said.get("fold") if isinstance(said, dict) else None
    return fold if isinstance(fold, int) else None
