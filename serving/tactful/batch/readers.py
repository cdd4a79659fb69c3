"""Opens input files by their format."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator

from tactful.batch.csv_rows import CsvReader
from tactful.batch.errors import JobError
from tactful.batch.jsonl_rows import JsonlReader
from tactful.batch.parquet_rows import ParquetReader
from tactful.batch.parts import Part, Reader
from tactful.batch.spec import DEFAULT_CONTEXT, JobSpec, Options, Source


def open_reader(source: Source, options: Options) -> Reader:
    """Open an input file.

    Raises:
        JobError: its format cannot be read, or a column that was asked for is missing.
    """
    path, kind = source.path, source.kind
    asked = options.reply_column, options.context_column
    if kind.format == "jsonl":
        return JsonlReader(path, kind.compression, *asked)
    reader: CsvReader | ParquetReader
    if kind.format == "csv":
        reader = CsvReader(path, kind.compression, *asked)
    else:
        reader = ParquetReader(path, *asked)
    # The context is optional; one that was asked for by another name is not.
    needed = asked if options.context_column != DEFAULT_CONTEXT else asked[:1]
    for option, name in zip(("reply", "context"), needed, strict=False):
        if name not in reader.columns:
            raise JobError(
                f"{path} has no column {name!r}; its columns: {', '.join(reader.columns)}. Name "
                f"the {option}'s with --{option}-column"
            )
    return reader


@contextlib.contextmanager
def failures_named(source: Source) -> Iterator[None]:
    """Turn what vanished, damaged or cut-off files raise into a message that names the file."""
    try:
        yield
    except (EOFError, zlib.error) as error:
        raise JobError(f"{source.path} is damaged or was cut off: {error}") from error
    except OSError as error:
        raise JobError(f"{source.path} cannot be read: {error.strerror or error}") from error


def check_unchanged(source: Source) -> None:
    """Refuse to go on with a file that is not the one that the job started with.

    Raises:
        JobError: it was changed or is gone.
    """
    with failures_named(source):
        status = source.path.stat()
    if (status.st_size, status.st_mtime_ns) != (source.size, source.modified):
        raise JobError(
            f"{source.path} was changed while it was read; score a copy that nobody writes to"
        )


def plan_parts(spec: JobSpec, after: Part | None) -> Iterator[Part]:
    """The parts of a job, or those after one, in order; files are read just as far as asked."""
    index = 0 if after is None else after.index + 1
    for number in range(0 if after is None else after.source, len(spec.sources)):
        start, first = 0, 1
        if after is not None and number == after.source:
            start, first = after.stop, after.next_first
        source = spec.sources[number]
        with failures_named(source), contextlib.closing(open_reader(source, spec.options)) as file:
            for stop, next_first, rows, read in file.plan(start, first, spec.options.part_rows):
                yield Part(index, number, start, stop, first, next_first, rows, read)
                index, start, first = index + 1, stop, next_first
