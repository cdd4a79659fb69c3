"""OUTPUT: from what was named to the files that are written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tactful.batch.errors import JobError
from tactful.batch.formats import ALLOWED, Format, Kind, kind_of, require_packages
from tactful.batch.inputs import STANDARD, InputFile
from tactful.batch.spec import Target


def find_targets(
    given: str, files: Sequence[InputFile], output_format: Format | None, *, many: bool
) -> tuple[Target, ...]:
    """The files that the job writes.

    Args:
        given: OUTPUT: a file that takes the rows of all input files, or a folder that gets one
            file for each of them.
        files: the input files.
        output_format: the format where OUTPUT's name does not say it.
        many: whether INPUT was a folder or a glob.

    Raises:
        JobError: OUTPUT is no usable name, or an input.
        MissingExtraError: its format needs an extra.
    """
    path = Path(given)
    _check_apart(given, files)
    kind = None if given.endswith("/") or path.is_dir() else kind_of(path)
    if given == STANDARD:
        kind = Kind(output_format or "jsonl")
    elif kind is None and output_format is not None and not many and not given.endswith("/"):
        kind = Kind(output_format)
    if kind is not None:
        targets: tuple[Target, ...] = (Target("", kind, tuple(range(len(files)))),)
    elif many or given.endswith("/") or path.is_dir():
        targets = tuple(
            Target(*_mirrored(file, output_format), (index,)) for index, file in enumerate(files)
        )
    else:
        raise JobError(
            f"{given} has a name that does not say its format; OUTPUT ends in {ALLOWED}, or in / "
            "for a folder, or say it with --output-format"
        )
    for target in targets:
        require_packages(target.kind)
    names = [target.name for target in targets]
    if len(set(names)) < len(names):
        raise JobError(f"{given}: several input files would be written to one of the same name")
    return targets


def check_replaceable(path: Path, made: set[str], *, overwrite: bool) -> None:
    """Refuse to replace what must not be.

    Args:
        path: OUTPUT.
        made: files of an output folder that an earlier job made there.
        overwrite: whether the user allowed it.

    Raises:
        JobError: something is there.
    """
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not overwrite:
        raise JobError(
            f"{path} exists and is not what this command makes; name another OUTPUT, or replace "
            "it with --overwrite"
        )
    if path.is_dir():
        present = {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()}
        if not present <= made:
            foreign = sorted(present - made)[0]
            raise JobError(
                f"{path} holds files that no job made ({foreign}); it will not be replaced: name "
                "another OUTPUT or empty it"
            )
    elif not path.is_file():
        raise JobError(f"{path} is no regular file and cannot be replaced; name another OUTPUT")


def _mirrored(file: InputFile, output_format: Format | None) -> tuple[str, Kind]:
    kind = file.kind
    if output_format is None or output_format == kind.format:
        return file.name, kind
    new = Kind(output_format, "" if output_format == "parquet" else kind.compression)
    stem = file.name[: -len(kind.suffix)]
    return stem + new.suffix, new


def _check_apart(given: str, files: Sequence[InputFile]) -> None:
    output = os.path.realpath(given)
    for file in files:
        real = os.path.realpath(file.path)
        if given != STANDARD and (real == output or real.startswith(output + os.sep)):
            raise JobError(f"OUTPUT {given} is (or holds) the input {file.path}; name another")
