"""Makes the files of OUTPUT from committed parts; the same parts give the same bytes."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

from tactful.batch.arrow_columns import added_types, arrow_array, well_formed
from tactful.batch.column_types import TEXT, ColumnType, arrow_type, fitted, merged
from tactful.batch.csv_cells import cell_text, defused
from tactful.batch.durable import writing
from tactful.batch.errors import JobError
from tactful.batch.formats import KeptOpen, compressing
from tactful.batch.parquet_rows import ParquetReader
from tactful.batch.readers import open_reader
from tactful.batch.report import PartReport
from tactful.batch.scorer import LINE
from tactful.batch.spec import JobSpec, Target
from tactful.batch.workspace import Entry, Workspace
from tactful.output.flat_rows import FlatRows
from tactful.reading.tasks import Tasks
from tactful.storage import SyncedFile, written_aside

# Rows of a Parquet row group: large enough to compress and to be skipped, small in memory.
_GROUP_ROWS = 64_000
_GROUP_BYTES = 1 << 26
_COPY = 1 << 20


class Assembler:
    """Writes the files of a job.

    Args:
        spec: the job.
        workspace: where its parts are.
        tasks: the tasks of the bundle.
        bundle: its id.
    """

    def __init__(self, spec: JobSpec, workspace: Workspace, tasks: Tasks, bundle: str) -> None:
        self._spec, self._workspace, self._tasks, self._bundle = spec, workspace, tasks, bundle
        options = spec.options
        self._flat = FlatRows(tasks, bundle, scores=options.scores, prefix=options.prefix)

    def write(self, target: Target, path: Path) -> SyncedFile:
        """Write one file of OUTPUT.

        Raises:
            JobError: it cannot be written, or a part was damaged after it was committed.
        """
        with writing(path), written_aside(path) as file:
            sink = cast(BinaryIO, file)
            if target.kind.format == "parquet":
                self._parquet(target, sink)
            elif target.kind.format == "csv":
                with compressing(sink, target.kind.compression) as stream:
                    self._csv(target, stream)
            else:
                for chunk in self._chunks(target):
                    sink.write(chunk)
        return file

    def _entries(self, target: Target) -> Iterator[Entry]:
        return (e for e in self._workspace.entries() if e.part.source in target.sources)

    def _chunks(self, target: Target) -> Iterator[bytes]:
        for entry in self._entries(target):
            yield from self._content(entry)

    def _content(self, entry: Entry) -> Iterator[bytes]:
        path, digest = self._workspace.part_path(entry), hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(_COPY):
                digest.update(chunk)
                yield chunk
        if digest.hexdigest() != entry.sha256:
            raise JobError(f"{path} was changed after it was written; start anew: --overwrite")

    def _rows(self, target: Target) -> Iterator[dict[str, Any]]:
        rest = b""
        for chunk in self._chunks(target):
            *lines, rest = (rest + chunk).split(b"\n")
            yield from map(json.loads, lines)

    def _input_columns(self, target: Target) -> dict[str, ColumnType]:
        """The input columns of a file whose parts are JSON lines."""
        report = PartReport()
        for entry in self._entries(target):
            report.add(entry.report)
        columns = report.columns
        source = self._spec.sources[target.sources[0]]
        if source.kind.format != "jsonl":
            reader = open_reader(source, self._spec.options)
            columns = dict.fromkeys(reader.columns or (), TEXT)
            reader.close()
        if report.lines:
            line = self._spec.options.prefix + LINE
            columns = {**columns, line: merged(columns.get(line, TEXT), TEXT)}
        return columns

    def _csv(self, target: Target, stream: Any) -> None:
        text = io.TextIOWrapper(stream, encoding="utf-8", newline="", write_through=False)
        writer = csv.writer(text)
        last = defused if self._spec.options.csv_escape else str
        names = [*self._input_columns(target), *self._flat.columns]
        joined = frozenset(
            self._spec.options.prefix + t.name for t in self._tasks if t.kind == "multilabel"
        )
        writer.writerow([last(well_formed(name)) for name in names])
        for row in self._rows(target):
            cells = [last(cell_text(row.get(name), joined=name in joined)) for name in names]
            try:
                "".join(cells).encode()
            except UnicodeEncodeError:
                cells = well_formed(cells)
            writer.writerow(cells)
        text.flush()
        text.detach()

    def _parquet(self, target: Target, sink: BinaryIO) -> None:
        import pyarrow
        import pyarrow.parquet

        tables = (
            self._stored_tables(target)
            if self._spec.part_format(target.sources[0]) == "parquet"
            else self._typed_tables(target)
        )
        schema = next(tables).schema
        metadata = {
            **(schema.metadata or {}),
            b"tactful.bundle": self._bundle.encode(),
            b"tactful.bundle_digest": self._spec.digest.encode(),
        }
        schema = schema.with_metadata(metadata)
        file = pyarrow.PythonFile(KeptOpen(sink), "w")
        with pyarrow.parquet.ParquetWriter(file, schema, compression="zstd") as writer:
            for group in _grouped(tables):
                writer.write_table(pyarrow.concat_tables(group).replace_schema_metadata(metadata))

    def _stored_tables(self, target: Target) -> Iterator[Any]:
        """An empty table that has the schema, then those of the parts."""
        import pyarrow

        reader = open_reader(self._spec.sources[target.sources[0]], self._spec.options)
        assert isinstance(reader, ParquetReader)
        schema = reader.schema
        reader.close()
        for name, kind in added_types(self._flat, self._tasks).items():
            schema = schema.append(pyarrow.field(name, kind))
        yield schema.empty_table()
        for entry in self._entries(target):
            content = b"".join(self._content(entry))
            yield pyarrow.ipc.open_stream(content).read_all()

    def _typed_tables(self, target: Target) -> Iterator[Any]:
        """An empty table that has the schema, then tables of rows that came as JSON."""
        import pyarrow

        columns = self._input_columns(target)
        added = added_types(self._flat, self._tasks)
        types = {**{name: arrow_type(kind) for name, kind in columns.items()}, **added}
        schema = pyarrow.schema([(well_formed(name), kind) for name, kind in types.items()])
        yield schema.empty_table()
        rows: list[dict[str, Any]] = []

        def table() -> Any:
            arrays = [
                arrow_array(
                    [
                        fitted(row.get(n), columns[n]) if n in columns else row.get(n)
                        for row in rows
                    ],
                    kind,
                )
                for n, kind in types.items()
            ]
            return pyarrow.Table.from_arrays(arrays, schema=schema)

        for row in self._rows(target):
            rows.append(row)
            if len(rows) == self._spec.options.part_rows:
                yield table()
                rows = []
        if rows:
            yield table()


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
