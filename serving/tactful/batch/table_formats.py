"""The three formats of tables, and files that may be compressed."""

from __future__ import annotations

import gzip
import io
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, cast, get_args

from tactful.csv_dialect import HEAD_BYTES
from tactful.errors import JobError, MissingExtraError

Format = Literal["jsonl", "csv", "parquet"]
Compression = Literal["", ".gz", ".zst"]
FORMATS: tuple[Format, ...] = get_args(Format)
ALLOWED = ".jsonl, .csv (also with .gz or .zst after it) or .parquet"
_EXTRA = "batch"
_BUFFER = 1 << 20
Peekable = io.BufferedReader | gzip.GzipFile


class Kind(NamedTuple):
    """How a file is to be read or written."""

    format: Format
    compression: Compression = ""

    @property
    def suffix(self) -> str:
        """What the name of such a file ends with."""
        return f".{self.format}{self.compression}"


def kind_of(path: Path) -> Kind | None:
    """What a file's name says of its content; None where it says nothing.

    Raises:
        JobError: the name promises compressed Parquet.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    compression: Compression = ""
    if suffixes and suffixes[-1] in (".gz", ".zst"):
        compression = cast(Compression, suffixes.pop())
    if not suffixes or suffixes[-1][1:] not in FORMATS:
        return None
    kind = Kind(cast(Format, suffixes[-1][1:]), compression)
    if kind.format == "parquet" and compression:
        raise JobError(
            f"{path}: Parquet is compressed inside the file and cannot be read in pieces through "
            f"{compression}; name (or unpack) it as .parquet"
        )
    return kind


def require_packages(kind: Kind) -> None:
    """Check that what a format needs is installed.

    Raises:
        MissingExtraError: it needs the extra ``batch``.
    """
    if kind.format == "parquet":
        _pyarrow("Parquet")
    elif kind.compression == ".zst":
        _pyarrow("Zstandard compression (.zst)")


def uncompressed(raw: io.BufferedReader, compression: Compression) -> Peekable:
    """The uncompressed bytes of an open file, whose own position then tells how far they are."""
    if compression == ".gz":
        return gzip.GzipFile(fileobj=raw, mode="rb")
    if compression == ".zst":
        pa = _pyarrow("Zstandard compression (.zst)")
        stream = pa.CompressedInputStream(pa.PythonFile(raw, "r"), "zstd")
        return io.BufferedReader(stream, _BUFFER)
    return raw


def first_bytes(path: Path, compression: Compression) -> bytes:
    """The first `HEAD_BYTES` of a file, uncompressed."""
    head = b""
    with path.open("rb") as raw, uncompressed(raw, compression) as stream:
        try:
            while len(head) < HEAD_BYTES and (more := stream.read1(HEAD_BYTES)):
                head += more
        except EOFError:  # it was cut off; said where the rows are read
            pass
    return head


def compressing(sink: BinaryIO, compression: Compression) -> AbstractContextManager[Any]:
    """A stream that writes compressed bytes to ``sink``; the same content gives the same bytes.

    Closing it leaves ``sink`` open. Several streams may follow one another in one file.
    """
    if compression == ".gz":
        return gzip.GzipFile(filename="", fileobj=sink, mode="wb", mtime=0, compresslevel=6)
    if compression == ".zst":
        pa = _pyarrow("Zstandard compression (.zst)")
        return cast(
            AbstractContextManager[Any],
            pa.CompressedOutputStream(pa.PythonFile(KeptOpen(sink), "w"), "zstd"),
        )
    return KeptOpen(sink)


class KeptOpen(io.RawIOBase):
    """Passes bytes on and does not close what it passes them to."""

    def __init__(self, sink: BinaryIO) -> None:
        self._sink = sink

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any, /) -> int:
        """Pass bytes on."""
        return self._sink.write(data)


def _pyarrow(feature: str) -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise MissingExtraError(feature, _EXTRA) from error
    return pyarrow
