"""The file of soft labels of a training split, made by one trained model or several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tactful.reading.tasks import Tasks
from tactful_training.config.config_schema import Config
from tactful_training.data.joined_sets import load_sets
from tactful_training.data.labelled_row import Row
from tactful_training.errors import DataError
from tactful_training.fitting.soft_label_file import check_name, write_soft_labels
from tactful_training.fitting.soft_labels import SoftLabels, mean_of
from tactful_training.fitting.teacher import open_teacher


@dataclass(frozen=True)
class Softened:
    """What was written.

    Attributes:
        path: the file.
        rows: how many rows it speaks of.
        size: bytes.
        teachers: address (of folds the name) to the sha256 of the weights.
    """

    path: Path
    rows: int
    size: int
    teachers: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "path": str(self.path)}

    def __str__(self) -> str:
        asked = ", ".join(f"{name} ({digest[:12]})" for name, digest in self.teachers.items())
        return f"{self.path}: soft labels of {self.rows} rows, {self.size / 1e6:.1f} MB, of {asked}"


def soften(config: Config, teachers: Sequence[str], out: Path) -> Softened:
    """Ask teachers about the training split and write the mean of their answers.

    Args:
        config: names the data and how long texts are read.
        teachers: their addresses, see `tactful_training.fitting.teacher`.
        out: the file; an older one is replaced at the end.

    Raises:
        DataError: the data cannot be used, or the file cannot be written.
        EncoderError: a teacher cannot be used.
    """
    check_target(out)
    data = load_sets(config.data)
    rows = data.splits(config.data.allow_missing_tasks, config.data.limit).rows["train"]
    opened = [open_teacher(each, data.tasks, config.encoding.limits) for each in teachers]
    answers = zip(*(each.read(rows) for each in opened), strict=True)
    soft = [mean_of(each, data.tasks) for each in answers]
    digests = {each.source.address: each.source.sha256 for each in opened}
    return write(out, rows, soft, data.tasks, digests)


def check_target(out: Path) -> None:
    """Check that a file of soft labels can be where it is to go, before anything takes long.

    Raises:
        DataError: its name ends with something else, its folder is not there, or it is one itself.
    """
    check_name(out)
    if out.is_dir() or not out.absolute().parent.is_dir():
        what = "it is a folder" if out.is_dir() else f"there is no folder {out.absolute().parent}"
        raise DataError(f"{out} cannot be written: {what}")


def write(
    out: Path,
    rows: Sequence[Row],
    soft: Sequence[SoftLabels],
    tasks: Tasks,
    teachers: dict[str, str],
) -> Softened:
    """Write the file and say what is in it.

    Raises:
        DataError: the disk refuses.
    """
    try:
        write_soft_labels(out, rows, soft, tasks)
    except OSError as error:
        raise DataError(f"{out} cannot be written: {error}") from error
    return Softened(out, len(rows), out.stat().st_size, teachers)
