"""Checks of the columns that files declare, before a row is read."""

from __future__ import annotations

import contextlib

from tactful.batch.errors import ColumnTakenError, JobError
from tactful.batch.parquet_rows import ParquetReader
from tactful.batch.readers import failures_named, open_reader
from tactful.batch.spec import JobSpec
from tactful.output.flat_rows import FlatRows
from tactful.reading.tasks import Tasks


def check_columns(spec: JobSpec, tasks: Tasks) -> None:
    """Refuse files whose columns do not go together, or stand where columns are added.

    Raises:
        ColumnTakenError: a column has the name of an added one.
        JobError: a column that was asked for is missing; or files that make one table differ.
    """
    options = spec.options
    added = FlatRows(tasks, "", scores=options.scores, prefix=options.prefix).columns
    for target in spec.targets:
        first = None
        for index in target.sources:
            source = spec.sources[index]
            with failures_named(source), contextlib.closing(open_reader(source, options)) as file:
                if file.columns is None:
                    continue
                if taken := [name for name in file.columns if name in added]:
                    raise ColumnTakenError.named(str(source.path), taken)
                columns = file.columns
                types = list(map(str, file.schema)) if isinstance(file, ParquetReader) else []
            if target.kind.format == "jsonl":
                continue
            if first is None:
                first = (source, columns, types)
            elif first[1:] != (columns, types):
                there = sorted({*columns, *types} ^ {*first[1], *first[2]})
                raise JobError(
                    f"{source.path} has other columns than {first[0].path} "
                    f"({', '.join(there) or 'another order'}); one file cannot hold both: name a "
                    "folder as OUTPUT (ending in /), or JSONL"
                )
