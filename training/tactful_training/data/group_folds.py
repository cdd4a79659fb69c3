"""Folds of cross-validation: each row is held out once, and the rows of a group together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold

from tactful_training.data.labelled_row import Row
from tactful_training.errors import DataError


def group_folds(
    rows: Sequence[Row], folds: int, seed: int, where: str | Path
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Part rows into folds by group.

    Args:
        rows: the rows.
        folds: how many, at least 2.
        seed: of which groups fall together.
        where: the rows are from, for the error.

    Returns:
        For each fold the places of all other rows, and its own, both rising.

    Raises:
        DataError: there are fewer groups than folds, or fewer than two folds.
    """
    groups = [row.group for row in rows]
    number = len(set(groups))
    if not 2 <= folds <= number:
        raise DataError(
            f"{folds} folds need as many groups of rows, and at least 2; {where}: the {len(rows)} "
            f"rows are of {number} groups, which stay together; allowed: 2 to {number} folds"
        )
    parts: Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]
    parts = GroupKFold(folds, shuffle=True, random_state=seed).split(rows, groups=groups)
    return parts
