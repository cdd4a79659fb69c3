"""What the public sets have in common, and the list of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tactful.reading.tasks import Tasks
from tactful_training.data.public import epitome, esconv, goemotions
from tactful_training.data.public.rows import Splits
from tactful_training.errors import DataError

ToRows = Callable[[Mapping[str, bytes], Tasks, int], Splits]


@dataclass(frozen=True)
class PublicSet:
    """How one set is read.

    Attributes:
        to_rows: from the original files (name to content), the card's tasks and the fold to rows.
        hub_line: a row of the table on the Hugging Face hub as a line of the original file.
        hub_files: name of a split on the hub to the original file that it stands for; none where
            the set is not read from there.
        folds: how many folds there are to choose from; 0 where the split is the official one.
    """

    to_rows: ToRows
    hub_line: Callable[[Mapping[str, Any]], str] = str
    hub_files: Mapping[str, str] = field(default_factory=dict)
    folds: int = 0


SETS = {
    "goemotions": PublicSet(
        goemotions.to_rows,
        hub_line=goemotions.hub_line,
        hub_files={"train": "train.tsv", "validation": "dev.tsv", "test": "test.tsv"},
    ),
    "esconv": PublicSet(
        esconv.to_rows,
        hub_line=esconv.hub_line,
        hub_files={"train": "train.txt", "validation": "valid.txt", "test": "test.txt"},
    ),
    "epitome": PublicSet(epitome.to_rows, folds=epitome.FOLDS),
}


def find_set(name: str) -> PublicSet:
    """The set of that name.

    Raises:
        DataError: there is none.
    """
    if name not in SETS:
        raise DataError(f"no public set {name!r}; there are: {', '.join(SETS)}")
    return SETS[name]


def chosen_fold(name: str, fold: int | None) -> int:
    """The fold to make, counted from 1; 1 where none is chosen, or where there are none.

    Raises:
        DataError: the set has no such fold.
    """
    folds = find_set(name).folds
    if fold is not None and not folds:
        raise DataError(f"{name} has an official split and no folds; leave --fold out")
    if fold is not None and not 1 <= fold <= folds:
        raise DataError(f"{name} has the folds 1 to {folds}, not {fold}")
    return fold or 1
