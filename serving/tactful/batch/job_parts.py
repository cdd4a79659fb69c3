"""Parts of a job: planned, read and scored, by one code here and on all machines of a cluster."""

from __future__ import annotations

import contextlib
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from tactful.batch.column_types import add_columns, type_of
from tactful.batch.csv_format import CsvReader
from tactful.batch.job_progress_and_summary import PartReport
from tactful.batch.job_spec import DEFAULT_CONTEXT, JobSpec, Part, ResultOptions, Row, Source
from tactful.batch.jsonl_format import JsonlReader, json_line
from tactful.batch.parquet_format import ParquetReader, write_part
from tactful.batch.table_formats import compressing
from tactful.classifier import pair_or_error
from tactful.errors import ColumnTakenError, InputError, JobError
from tactful.output.flat_rows import FlatRows
from tactful.reading.encoding import Pair
from tactful.reading.readings import Reading

if TYPE_CHECKING:
    from tactful.classifier import Classifier

LINE = "line"  # the column of rows that could not be taken apart
Reader = JsonlReader | CsvReader | ParquetReader
Write = Callable[[BinaryIO], PartReport]
"""Writes the content of a part and says what became of its rows."""
Run = Callable[[Iterable[Part]], Iterator[tuple[Part, Write]]]
"""An engine: takes parts as it needs them, gives them back in the same order."""


def open_reader(source: Source, options: ResultOptions) -> Reader:
    """Open an input file.

    Raises:
        JobError: its format cannot be read, or a column that was asked for is missing.
    """
    path, kind = source.path, source.kind
    asked = options.reply_column, options.context_column
    if options.delimiter is not None and kind.format != "csv":
        raise JobError(f"--delimiter is for CSV, but {path} is {kind.format}; leave it out")
    if kind.format == "jsonl":
        return JsonlReader(path, kind.compression, *asked)
    reader: CsvReader | ParquetReader
    if kind.format == "csv":
        called = None if source.name.endswith(path.name) else source.name
        reader = CsvReader(path, kind.compression, *asked, options.delimiter, called=called)
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


def rows_of(sources: Sequence[Source], options: ResultOptions) -> Iterator[tuple[Source, Row]]:
    """Every row of some files, in order, lazily, with the file that it stands in.

    Raises:
        JobError: a file is damaged, changed meanwhile, or lacks the column of the reply.
    """
    spec = JobSpec(tuple(sources), (), options, "")
    reader, opened = None, -1
    with contextlib.ExitStack() as open_files:
        for part in plan_parts(spec, None):
            source = sources[part.source]
            with failures_named(source):
                if part.source != opened or reader is None:
                    open_files.close()
                    check_unchanged(source)
                    reader, opened = open_reader(source, options), part.source
                    open_files.callback(reader.close)
                for row in reader.rows(part):
                    yield source, row
    for source in sources:
        check_unchanged(source)


def check_columns(spec: JobSpec, flat: FlatRows) -> None:
    """Refuse files whose columns do not go together, or stand where columns are added.

    Raises:
        ColumnTakenError: a column has the name of an added one.
        JobError: a column that was asked for is missing; or files that make one table differ.
    """
    options = spec.options
    for target in spec.targets:
        first = None
        for index in target.sources:
            source = spec.sources[index]
            with failures_named(source), contextlib.closing(open_reader(source, options)) as file:
                if file.columns is None:
                    continue
                if taken := [name for name in file.columns if name in flat.columns]:
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
            bundle.heads.tasks,
            bundle.id,
            scores=options.scores,
            prefix=options.prefix,
            notes=options.notes,
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
        format = self._spec.options.format

        def items() -> Iterator[Pair | InputError]:
            for row in rows:
                ahead.append(row)
                yield row.error or pair_or_error((row.reply, row.context))

        for result in self._classifier.classify_many(items(), errors="return", format=format):
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
                        add_columns(report.columns, types)
                stream.write(json_line(self._whole(row), self._flat.row(result)))
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
        reader: ParquetReader = self._open(part.source)  # type: ignore[assignment]
        with failures_named(self._spec.sources[part.source]):
            table = reader.table(part)
        report, added = PartReport(), []
        for row, result in self._results(reader.texts(table)):
            report.count(row, result)
            added.append(self._flat.row(result))
        write_part(sink, table, added, self._flat, self._classifier.bundle.heads.tasks)
        return report
