"""Rows of a Parquet file, streamed in row groups; their Arrow types stay what they are."""

from __future__ import annotations

import base64
import datetime
import decimal
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tactful.batch.errors import JobError
from tactful.batch.parts import Part, Row
from tactful.errors import InputError

_BUFFER = 1 << 20


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
            self._file = pyarrow.parquet.ParquetFile(path, buffer_size=_BUFFER)
        except pyarrow.ArrowException as error:
            raise JobError(f"{path} is no readable Parquet file: {error}") from error
        self.schema = self._file.schema_arrow
        self.columns = tuple(self.schema.names)
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
        replies = _values(table, self._reply)
        contexts = _values(table, self._context)
        for offset, (reply, context) in enumerate(zip(replies, contexts, strict=True)):
            yield self._row(reply, context, None, offset)

    def rows(self, part: Part) -> Iterator[Row]:
        """The rows of a part with values that JSON can hold."""
        table = self.table(part)
        columns = [[_json_value(v) for v in _values(table, name)] for name in self.columns]
        for offset, row in enumerate(self.texts(table)):
            values = {
                name: column[offset] for name, column in zip(self.columns, columns, strict=True)
            }
            yield Row(row.reply, row.context, values, error=row.error)

    def _row(self, reply: object, context: object, values: Any, offset: int) -> Row:
        error = None
        for name, value in ((self._reply, reply), (self._context, context)):
            if isinstance(value, _Broken) and error is None:
                error = InputError("not_utf8", f"the text of {name!r} is not UTF-8")
        return Row(reply, context, values, error=error)

    def close(self) -> None:
        """Release the file."""
        self._file.close()


class _Broken(str):
    """Text that was not UTF-8; its bytes are escaped."""

    __slots__ = ()


def _chained(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest


def _values(table: Any, name: str) -> Sequence[Any]:
    """A column as Python values; text that is not UTF-8 is a `_Broken`, not an exception."""
    import pyarrow
    import pyarrow.compute

    if name not in table.column_names:
        return [None] * table.num_rows
    column = table.column(name)
    if pyarrow.types.is_dictionary(column.type):
        column = pyarrow.chunked_array(
            [chunk.dictionary_decode() for chunk in column.chunks], column.type.value_type
        )
    kind = column.type
    if pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind):
        # Arrow does not look at the bytes, Python would refuse the whole column.
        return [_text(value) for value in column.cast(pyarrow.large_binary()).to_pylist()]
    if pyarrow.types.is_timestamp(kind) or pyarrow.types.is_duration(kind):
        return column.cast(pyarrow.string()).to_pylist()  # type: ignore[no-any-return]
    return column.to_pylist()  # type: ignore[no-any-return]


def _text(value: bytes | None) -> str | None:
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return _Broken(value.decode(errors="backslashreplace"))


def _json_value(value: Any) -> Any:
    """The nearest that JSON has: ISO dates, decimals as text, bytes as Base64, NaN as null."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case list() | tuple():
            return [_json_value(item) for item in value]
        case dict():
            return {key: _json_value(item) for key, item in value.items()}
        case datetime.date() | datetime.time():
            return value.isoformat()
        case decimal.Decimal():
            return str(value)
        case bytes():
            return base64.b64encode(value).decode()
        case _:
            return str(value)
