"""The three file formats of rows, each read into plain records that know where they stand."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tactful.strict_json import unique_keys
from tactful_training.errors import DataError

SUFFIXES = (".jsonl", ".csv", ".parquet")
# A cell may hold a whole e-mail thread; the csv module's own limit is 128 KiB.
_LONGEST_CELL = 2**31 - 1


class Record(NamedTuple):
    """One row as it stands in its file.

    Attributes:
        place: ``file:line`` (JSONL, CSV) or ``file: row N`` (Parquet), for messages.
        values: column to value; None where the record cannot be decoded.
        problem: why it cannot be decoded; None where it can.
    """

    place: str
    values: dict[str, Any] | None
    problem: str | None = None


def read_records(path: Path) -> Iterator[Record]:
    """Yield the rows of a file in order; blank lines are skipped.

    Args:
        path: a file ending in .jsonl, .csv or .parquet.

    Raises:
        DataError: the file is missing, unreadable or in another format.
    """
    readers = {".jsonl": _jsonl, ".csv": _csv, ".parquet": _parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: rows are read from files ending in {', '.join(SUFFIXES)}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    return reader(path, content)


def parse_json(text: str) -> Any:
    """Parse JSON; an object that has a key twice is an error, as only one value would count.

    Raises:
        ValueError: says what is wrong.
        RecursionError: it is nested too deeply.
    """
    return json.loads(text, object_pairs_hook=unique_keys)


def _jsonl(path: Path, content: bytes) -> Iterator[Record]:
    content = content.removeprefix(b"\xef\xbb\xbf")
    # Lines end at \n alone: JSON text may hold U+2028 and others that str.splitlines splits at.
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        place = f"{path}:{number}"
        try:
            values = parse_json(line.decode("utf-8"))
        except UnicodeDecodeError as error:
            yield Record(place, None, f"not UTF-8 text (byte {error.start + 1} of the line)")
        except json.JSONDecodeError as error:
            yield Record(place, None, f"not valid JSON: {error.msg} (column {error.colno})")
        except (ValueError, RecursionError) as error:
            yield Record(place, None, f"not usable JSON: {error}")
        else:
            if isinstance(values, dict):
                yield Record(place, values)
            else:
                yield Record(place, None, 'each line must be a JSON object like {"id": …}')


def _csv(path: Path, content: bytes) -> Iterator[Record]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}:{line}: not UTF-8 text; save the file as 'CSV UTF-8'") from error
    before = csv.field_size_limit(_LONGEST_CELL)
    try:
        return iter(_csv_records(path, text))
    finally:
        csv.field_size_limit(before)


def _csv_records(path: Path, text: str) -> list[Record]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next((cells for cells in reader if cells), None)
        if header is None:
            raise DataError(f"{path} is empty; its first line must name the columns")
        if repeated := sorted({name for name in header if header.count(name) > 1}):
            raise DataError(f"{path}: columns named twice: {', '.join(repeated)}")
        records = []
        start = reader.line_num + 1  # a record may span lines; name the one it starts on
        for cells in reader:
            place, start = f"{path}:{start}", reader.line_num + 1
            if not cells:
                continue
            if len(cells) == len(header):
                records.append(Record(place, dict(zip(header, cells, strict=True))))
            else:
                problem = f"{len(cells)} cells, but {len(header)} columns are named"
                records.append(Record(place, None, problem))
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: not valid CSV: {error}") from error
    return records


def _parquet(path: Path, content: bytes) -> Iterator[Record]:
    import pyarrow
    import pyarrow.parquet

    try:
        rows = pyarrow.parquet.read_table(pyarrow.BufferReader(content)).to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} is not a readable Parquet file: {error}") from error
    for number, values in enumerate(rows, start=1):
        yield Record(f"{path}: row {number}", values)
