"""From what was named as INPUT and OUTPUT to the files that are read and written."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import shutil
import stat
import sys
import zlib
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO, NamedTuple

from tactful.batch.job_spec import STANDARD, Source, Target
from tactful.batch.job_workspace import was_made
from tactful.batch.table_formats import (
    ALLOWED,
    Compression,
    Format,
    Kind,
    first_bytes,
    kind_of,
    require_packages,
)
from tactful.csv_dialect import CsvDialectError, read_dialect
from tactful.errors import JobError

_MAGIC: dict[bytes, Kind] = {
    b"\x1f\x8b": Kind("jsonl", ".gz"),
    b"\x28\xb5\x2f\xfd": Kind("jsonl", ".zst"),
    b"PAR1": Kind("parquet"),
}


class InputFile(NamedTuple):
    """A file to be read; ``name`` is relative to the folder that was given."""

    path: Path
    name: str
    kind: Kind


def find_files(given: str, input_format: Format | None, output: Path) -> list[InputFile]:
    """The files that INPUT names, in the order in which they are read.

    Args:
        given: a file, a folder (all files of a known format in it, at any depth; names that start
            with ``.`` or ``_`` are passed over) or a glob.
        input_format: the format of files whose name does not say it.
        output: what an earlier job made there is no input of a folder or glob.

    Raises:
        JobError: there is none, one cannot be read, or their formats differ.
        MissingExtraError: the format needs an extra.
    """
    path = Path(given)
    if path.is_dir():
        found = [
            InputFile(file, file.relative_to(path).as_posix(), kind)
            for file in sorted(path.rglob("*"))
            if not file.is_dir()
            and not any(part[0] in "._" for part in file.relative_to(path).parts)
            and (kind := kind_of(file)) is not None
        ]
    elif path.exists() or not glob.has_magic(given):
        found = [InputFile(path, path.name, _kind(path, input_format))]
    else:
        paths = sorted(Path(name) for name in glob.glob(given, recursive=True))
        paths = [path for path in paths if not path.is_dir()]
        above = Path(os.path.commonpath([path.parent for path in paths])) if paths else Path()
        found = [
            InputFile(path, path.relative_to(above).as_posix(), _kind(path, input_format))
            for path in paths
        ]
    if path not in (file.path for file in found) and was_made(output):
        found = [file for file in found if not _is_within(file.path, output)] or found
    if not found:
        raise JobError(f"{given} holds no file to score; files must end in {ALLOWED}")
    formats = sorted({file.kind.format for file in found})
    if len(formats) > 1:
        raise JobError(
            f"{given} holds files of several formats ({', '.join(formats)}); score them one format "
            f"at a time, for example with a glob like '{given.rstrip('/')}/**/*.{formats[0]}*'"
        )
    for file in found:
        require_packages(file.kind)
        if not os.path.lexists(file.path):
            raise JobError(f"{file.path} does not exist; INPUT is a file, a folder, a glob or -")
        if not file.path.is_file():
            raise JobError(
                f"{file.path} is no regular file (a pipe, a device or a broken link); remove it, "
                "or name it alone as INPUT"
            )
        if not os.access(file.path, os.R_OK):
            raise JobError(f"{file.path} cannot be read: permission denied")
    return found


def can_be_read_once(given: str) -> bool:
    """Whether INPUT is standard input, a pipe or a device, and no file that can be read again."""
    path = Path(given)
    return given == STANDARD or (path.exists() and not path.is_dir() and not _is_regular(path))


def keep_stream(
    given: str, path: Path, input_format: Format | None, reply_column: str
) -> InputFile:
    """Copy what can be read but once to a file, so that it can be read in parts and again.

    Compression and Parquet are recognised; otherwise it is what ``input_format`` or its name says,
    or CSV where its first record names the column of the reply, or JSONL.

    Raises:
        JobError: nothing comes in, it is a device, or it is plainly none of these.
    """
    called = "standard input" if given == STANDARD else "a pipe"
    with _opened_once(given) as stream, path.open("wb") as file:
        shutil.copyfileobj(stream, file)
    with path.open("rb") as file:
        start = file.read(4)
    magic = next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), Kind("jsonl"))
    kind = magic
    if magic.format != "parquet":
        named = kind_of(Path(given))
        require_packages(magic)  # before it is unpacked
        format = input_format or (
            named.format if named else _format_of(path, magic.compression, reply_column, called)
        )
        kind = Kind(format, magic.compression)
    require_packages(kind)
    return InputFile(path, called, kind)


def _format_of(path: Path, compression: Compression, reply_column: str, called: str) -> Format:
    """What a stream whose name does not say it holds, by how it begins."""
    try:
        head = first_bytes(path, compression)
    except (OSError, zlib.error):  # damaged; said where the rows are read
        return "jsonl"
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not start or start.startswith(b"{"):
        return "jsonl"
    with contextlib.suppress(CsvDialectError):
        if reply_column in read_dialect(called, head, {reply_column}).columns:
            return "csv"
    raise JobError(
        f"{called} begins neither with a JSON object nor with names of columns among which "
        f"{reply_column!r} is; say what it is with --input-format, and name the reply's column "
        "with --reply-column"
    )


def _opened_once(given: str) -> AbstractContextManager[BinaryIO]:
    if given == STANDARD or _is_standard_input(given):
        if sys.stdin is None or sys.stdin.isatty():
            raise JobError(f"INPUT is {given} but nothing comes in on standard input")
        return nullcontext(sys.stdin.buffer)
    mode = os.stat(given).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or os.path.samefile(given, os.devnull)):
        raise JobError(
            f"{given} is a device or a socket; INPUT is a file, a pipe, a folder, a glob or -"
        )
    try:
        return Path(given).open("rb")
    except OSError as error:
        raise JobError(f"{given} cannot be read: {error.strerror or error}") from error


def _is_standard_input(given: str) -> bool:
    try:
        return os.path.samestat(os.stat(given), os.fstat(sys.stdin.fileno()))
    except (AttributeError, OSError, ValueError):  # there is none, or it is no file
        return False


def _is_regular(path: Path) -> bool:
    # What is opened under these names may go on where another reader stopped (macOS).
    descriptor = os.path.abspath(path).startswith(("/dev/fd/", "/dev/std", "/proc/"))
    return path.is_file() and not descriptor


def _is_within(path: Path, folder: Path) -> bool:
    """Whether it is this file, or lies in this folder."""
    real, above = os.path.realpath(path), os.path.realpath(folder)
    return real == above or real.startswith(above + os.sep)


def described(files: Sequence[InputFile]) -> tuple[Source, ...]:
    """The files with size and digest; reads all of them once."""
    sources = []
    for path, name, kind in files:
        try:
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise JobError(f"{path} cannot be read: {error.strerror or error}") from error
        sources.append(Source(path, name, kind, status.st_size, status.st_mtime_ns, digest))
    return tuple(sources)


def _kind(path: Path, input_format: Format | None) -> Kind:
    kind = kind_of(path)
    if kind is None and input_format is not None:
        kind = Kind(input_format)
    if kind is None:
        raise JobError(
            f"{path} has a name that does not say its format; files end in {ALLOWED}, or say it "
            "with --input-format"
        )
    return kind


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
    if given != STANDARD and can_be_read_once(given):
        raise JobError(
            f"{given} is no regular file, but OUTPUT is put in its place when it is complete; name "
            "another, or write to - and pass that on: tactful score INPUT - | …"
        )
    for file in files:
        if given != STANDARD and _is_within(file.path, path):
            raise JobError(f"OUTPUT {given} is (or holds) the input {file.path}; name another")
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
        raise JobError(
            f"{given}: several input files would be written to one of the same name; name a file "
            "as OUTPUT, which takes the rows of all"
        )
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


def _mirrored(file: InputFile, output_format: Format | None) -> tuple[str, Kind]:
    kind = file.kind
    if output_format is None or output_format == kind.format:
        return file.name, kind
    new = Kind(output_format, "" if output_format == "parquet" else kind.compression)
    stem = file.name[: -len(kind.suffix)]
    return stem + new.suffix, new
