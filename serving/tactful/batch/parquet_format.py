"""Parquet: streamed in row groups; the Arrow types of a file stay what they are."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from tactful.batch.arrow_values import (
    DEEPEST,
    added_types,
    arrow_array,
    column_values,
    depth_of,
    is_broken,
    json_value,
    well_formed,
)
from tactful.batch.column_types import ColumnType, arrow_type, fitted
from tactful.batch.job_spec import Part, Row
from tactful.batch.table_formats import KeptOpen
from tactful.errors import InputError, JobError
from tactful.output.flat_rows import FlatRows
from tactful.reading.tasks import Tasks

_BUFFER = 1 << 20
# Rows of a row group: large enough to compress and to be skipped, small in memory.
_GROUP_ROWS = 64_000
_GROUP_BYTES = 1 << 26


class ParquetReader:
    """Reads a Parquet file; a part is a range of its rows.

    Args:
        path: the file.
        reply_column: the column of the reply.
        context_column: the column of the context.

    Attributes:
        schema: the Arrow schema of the file.

    Raises:
        JobError: it is no Parquet file, or names a column twice.
    """

    columns: tuple[str, ...]

    def __init__(self, path: Path, reply_column: str, context_column: str) -> None:
        import pyarrow
        import pyarrow.parquet

        self._path, self._reply, self._context = path, reply_column, context_column
        try:
            # A buffer: pages are read as they are needed, not whole columns of a row group.
            # Microseconds: what INT96 holds as nanoseconds would wrap outside 1677 to 2262.
            self._file = pyarrow.parquet.ParquetFile(
                path, buffer_size=_BUFFER, coerce_int96_timestamp_unit="us"
            )
            self.schema = self._file.schema_arrow
            self.columns = tuple(self.schema.names)
        except (pyarrow.ArrowException, UnicodeDecodeError) as error:
            raise JobError(f"{path} is no readable Parquet file: {error}") from error
        for field in self.schema:
            if depth_of(field.type) > DEEPEST:
                raise JobError(
                    f"{path}: the column {field.name!r} is nested more than {DEEPEST} levels deep, "
                    "which Arrow passes on no further; write its value as text"
                )
        if repeated := sorted({n for n in self.columns if self.columns.count(n) > 1}):
            raise JobError(f"{path}: columns named twice: {', '.join(repeated)}")
        self._size = path.stat().st_size
        self._position = self._file.metadata.num_rows
        self._batches: Iterator[Any] = iter(())

    def plan(self, start: int, first: int, part_rows: int) -> Iterator[tuple[int, int, int, int]]:
        """From a part's end on: (stop, next_first, rows, read) of each further part."""
        total = self._file.metadata.num_rows
        while start < total:
            rows = min(part_rows, total - start)
            start += rows
            first += rows
            yield start, first, rows, self._size * start // total

    def table(self, part: Part) -> Any:
        """The rows of a part as an Arrow table."""
        import pyarrow

        if part.start != self._position:
            self._seek(part.start)
        taken, missing = [], part.rows
        while missing:
            batch = self._batch()
            if batch.num_rows > missing:
                self._batches = _chained(batch.slice(missing), self._batches)
                batch = batch.slice(0, missing)
            taken.append(batch)
            missing -= batch.num_rows
            self._position += batch.num_rows
        return pyarrow.Table.from_batches(taken, self.schema)

    def _seek(self, row: int) -> None:
        metadata = self._file.metadata
        group, start = 0, 0
        while start + metadata.row_group(group).num_rows <= row:
            start += metadata.row_group(group).num_rows
            group += 1
        groups = range(group, metadata.num_row_groups)
        self._batches = self._file.iter_batches(batch_size=1024, row_groups=groups)
        self._position = start
        while self._position < row:
            batch = self._batch()
            skipped = min(batch.num_rows, row - self._position)
            if skipped < batch.num_rows:
                self._batches = _chained(batch.slice(skipped), self._batches)
            self._position += skipped

    def _batch(self) -> Any:
        import pyarrow

        try:
            batch = next(self._batches, None)
        except pyarrow.ArrowException as error:
            raise EOFError(str(error)) from error
        if batch is None:
            raise EOFError(f"it ends at row {self._position}")
        return batch

    def texts(self, table: Any) -> Iterator[Row]:
        """Reply and context of each row of a table, without its other columns."""
        replies = column_values(table, self._reply)
        contexts = column_values(table, self._context)
        for reply, context in zip(replies, contexts, strict=True):
            given = {self._reply: reply, self._context: context}
            yield Row(_or_none(reply), _or_none(context), error=_text_error(given))

    def rows(self, part: Part) -> Iterator[Row]:
        """The rows of a part with values that JSON can hold."""
        table = self.table(part)
        columns = [column_values(table, name) for name in self.columns]
        for row in zip(*columns, strict=True):
            given = dict(zip(self.columns, row, strict=True))
            reply, context = _or_none(given.get(self._reply)), _or_none(given.get(self._context))
            values = {name: json_value(value) for name, value in given.items()}
            yield Row(reply, context, values, error=_text_error(given))

    def close(self) -> None:
        """Release the file."""
        self._file.close()


def _or_none(value: object) -> object:
    """None for NaN, which some write where a text is missing."""
    return None if value != value else value


def _text_error(values: Mapping[str, Any]) -> InputError | None:
    for name, value in values.items():
        if is_broken(value):
            return InputError("not_utf8", f"the text of {name!r} is not UTF-8")
    return None


def _chained(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest


def write_parquet(sink: BinaryIO, tables: Iterator[Any], metadata: Mapping[bytes, bytes]) -> None:
    """Write tables of one schema as a Parquet file.

    Args:
        sink: gets the bytes; stays open.
        tables: the first one gives the schema, and may be empty.
        metadata: added to that of the schema.
    """
    import pyarrow
    import pyarrow.parquet

    schema = next(tables).schema
    metadata = {**(schema.metadata or {}), **metadata}
    file = pyarrow.PythonFile(KeptOpen(sink), "w")
    schema = schema.with_metadata(metadata)
    with pyarrow.parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for group in _grouped(tables):
            writer.write_table(pyarrow.concat_tables(group).replace_schema_metadata(metadata))


def write_part(
    sink: BinaryIO, table: Any, rows: Sequence[Mapping[str, Any]], flat: FlatRows, tasks: Tasks
) -> None:
    """Write a part's table, with the columns of flat rows at its end, as an Arrow stream."""
    import pyarrow

    for name, kind in added_types(flat, tasks).items():
        table = table.append_column(name, arrow_array([row[name] for row in rows], kind))
    file = pyarrow.PythonFile(KeptOpen(sink), "w")
    with pyarrow.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table)


def stored_tables(
    schema: Any, flat: FlatRows, tasks: Tasks, parts: Iterable[bytes]
) -> Iterator[Any]:
    """An empty table with a file's schema and the added columns, then what `write_part` wrote."""
    import pyarrow

    for name, kind in added_types(flat, tasks).items():
        schema = schema.append(pyarrow.field(name, kind))
    yield pyarrow.Table.from_batches([], schema)  # `empty_table` knows no nested extension
    for content in parts:
        yield pyarrow.ipc.open_stream(content).read_all()


def typed_tables(
    columns: Mapping[str, ColumnType],
    flat: FlatRows,
    tasks: Tasks,
    rows: Iterable[Mapping[str, Any]],
    at_once: int,
) -> Iterator[Any]:
    """An empty table that has the schema, then tables of rows that came as JSON.

    Args:
        columns: the input columns and their types.
        flat: the added ones.
        tasks: of the bundle.
        rows: name to JSON value.
        at_once: rows of a table.
    """
    import pyarrow

    types = {name: arrow_type(kind) for name, kind in columns.items()} | added_types(flat, tasks)
    schema = pyarrow.schema([(well_formed(name), kind) for name, kind in types.items()])
    yield pyarrow.Table.from_batches([], schema)
    remaining = iter(rows)
    while taken := list(itertools.islice(remaining, at_once)):
        arrays = [
            arrow_array(
                [fitted(row.get(n), columns[n]) if n in columns else row.get(n) for row in taken],
                kind,
            )
            for n, kind in types.items()
        ]
        yield pyarrow.Table.from_arrays(arrays, schema=schema)


def _grouped(tables: Iterator[Any]) -> Iterator[Sequence[Any]]:
    """Tables in row groups of a good size."""
    group: list[Any] = []
    rows = size = 0
    for table in tables:
        group.append(table)
        rows += table.num_rows
        size += table.nbytes
        if rows >= _GROUP_ROWS or size >= _GROUP_BYTES:
            yield group
            group, rows, size = [], 0, 0
    if group:
        yield group
