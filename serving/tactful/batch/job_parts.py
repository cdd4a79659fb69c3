"""Scores one part: the same code in a local job and on every machine of a cluster."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO

from tactful.batch.column_types import merged_columns, type_of
from tactful.batch.errors import ColumnTakenError
from tactful.batch.formats import KeptOpen, compressing
from tactful.batch.parts import Part, Reader, Row
from tactful.batch.readers import failures_named, open_reader
from tactful.batch.report import PartReport
from tactful.batch.spec import JobSpec
from tactful.classifier import pair_or_error
from tactful.errors import InputError
from tactful.output.flat_rows import FlatRows
from tactful.reading.readings import Reading
from tactful.reading.stream import Pair

if TYPE_CHECKING:
    from tactful.batch.parquet_rows import ParquetReader
    from tactful.classifier import Classifier

_encoded = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

LINE = "line"  # the column of rows that could not be taken apart


class PartScorer:
    """Scores parts of a job; parts of one file are quickest in order.

    Args:
        spec: the job.
        classifier: its bundle, loaded.
    """

    def __init__(self, spec: JobSpec, classifier: Classifier) -> None:
        self._spec = spec
        self._classifier = classifier
        options, bundle = spec.options, classifier.bundle
        self._flat = FlatRows(
            bundle.heads.tasks, bundle.id, scores=options.scores, prefix=options.prefix
        )
        self._added = frozenset(self._flat.columns)
        self._reader: Reader | None = None
        self._source = -1

    def score(self, part: Part, sink: BinaryIO) -> PartReport:
        """Write a part's rows with what was added to them.

        Args:
            part: the part.
            sink: gets JSON lines, or an Arrow stream where Parquet becomes Parquet.

        Raises:
            JobError: the file cannot be read any more, or a column is taken.
        """
        if self._spec.part_format(part.source) == "parquet":
            return self._score_table(part, sink)
        return self._score_lines(part, sink)

    def close(self) -> None:
        """Release the file that is open."""
        if self._reader is not None:
            self._reader.close()

    def _open(self, source: int) -> Reader:
        if self._reader is None or self._source != source:
            self.close()
            with failures_named(self._spec.sources[source]):
                self._reader = open_reader(self._spec.sources[source], self._spec.options)
            self._source = source
        return self._reader

    def _results(self, rows: Iterable[Row]) -> Iterator[tuple[Row, Reading | InputError]]:
        """Each row with its result, in order; reads just as far ahead as the classifier does."""
        ahead: deque[Row] = deque()

        def items() -> Iterator[Pair | InputError]:
            for row in rows:
                ahead.append(row)
                yield row.error or pair_or_error((row.reply, row.context))

        for result in self._classifier.classify_many(items(), errors="return"):
            yield ahead.popleft(), result

    def _score_lines(self, part: Part, sink: BinaryIO) -> PartReport:
        kind = self._spec.target_of(part.source).kind
        reader = self._open(part.source)
        typed = kind.format != "jsonl" and reader.columns is None
        report = PartReport()
        with compressing(sink, kind.compression if kind.format == "jsonl" else "") as stream:
            for row, result in self._results(self._rows(reader, part)):
                report.count(row, result)
                if row.columns is not None:
                    self._check_free(part, row.columns)
                    if typed:
                        types = {name: type_of(value) for name, value in row.columns.items()}
                        report.columns = merged_columns(report.columns, types)
                stream.write(_json_line(self._whole(row), self._flat.row(result)))
        return report

    def _rows(self, reader: Reader, part: Part) -> Iterator[Row]:
        # Here and not around it all: what fails while the results are written is not the input.
        with failures_named(self._spec.sources[part.source]):
            yield from reader.rows(part)

    def _check_free(self, part: Part, columns: Iterable[str]) -> None:
        if not self._added.isdisjoint(columns):
            taken = [name for name in columns if name in self._added]
            file = self._spec.sources[part.source].path
            raise ColumnTakenError.named(f"{file} (at line {part.first} or soon after)", taken)

    def _whole(self, row: Row) -> bytes | Mapping[str, Any]:
        if row.line is not None:
            return {self._spec.options.prefix + LINE: row.line}
        return row.raw if row.raw is not None else row.columns or {}

    def _score_table(self, part: Part, sink: BinaryIO) -> PartReport:
        import pyarrow

        from tactful.batch.arrow_columns import with_added

        reader: ParquetReader = self._open(part.source)  # type: ignore[assignment]
        with failures_named(self._spec.sources[part.source]):
            table = reader.table(part)
        report, added = PartReport(), []
        for row, result in self._results(reader.texts(table)):
            report.count(row, result)
            added.append(self._flat.row(result))
        table = with_added(table, added, self._flat, self._classifier.bundle.heads.tasks)
        file = pyarrow.PythonFile(KeptOpen(sink), "w")
        with pyarrow.ipc.new_stream(file, table.schema) as stream:
            stream.write_table(table)
        return report


def _json_line(columns: bytes | Mapping[str, Any], added: Mapping[str, Any]) -> bytes:
    """One JSON object of both; JSON text is passed on to the letter."""
    tail = _dumped(added)
    head = columns.rstrip() if isinstance(columns, bytes) else _dumped(columns)
    body = head[:-1].rstrip()
    comma = b"" if body == b"{" else b","
    return b"".join((body, comma, tail[1:], b"\n"))


def _dumped(value: Mapping[str, Any]) -> bytes:
    try:
        return _encoded(value).encode()
    except UnicodeEncodeError:  # half a surrogate pair: JSON can say it in ASCII only
        return json.dumps(value, separators=(",", ":")).encode()
