"""Lines of a (compressed) file as bytes, from any offset on."""

from __future__ import annotations

from pathlib import Path

from tactful.batch.formats import Compression, uncompressed

# A longer line is no row of a table: a JSON array in one line, a file of another kind.
LONGEST_LINE = 1 << 26
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SKIP = 1 << 20


class ByteLines:
    """Reads lines; knows its place in the uncompressed bytes. A byte order mark is passed over.

    Args:
        path: the file.
        compression: what its bytes went through.

    Attributes:
        position: offset of the next line, uncompressed bytes.
    """

    def __init__(self, path: Path, compression: Compression) -> None:
        self._path = path
        self._compression = compression
        self._open()

    def _open(self) -> None:
        self._raw = self._path.open("rb")
        self._stream = uncompressed(self._raw, self._compression)
        marked = self._stream.peek(3)[:3] == BYTE_ORDER_MARK
        self._origin = self.position = len(self._stream.read(3)) if marked else 0

    @property
    def read(self) -> int:
        """How many bytes of the file itself have been read, roughly."""
        return self._raw.tell()

    def seek(self, offset: int) -> None:
        """Go to an offset in the uncompressed bytes; backwards in a compressed file is slow."""
        offset = max(offset, self._origin)
        if offset == self.position:
            return
        if not self._compression:
            self._stream.seek(offset)
            self.position = offset
            return
        if offset < self.position:
            self.close()
            self._open()
        while self.position < offset:
            skipped = len(self._stream.read(min(_SKIP, offset - self.position)))
            if not skipped:
                raise EOFError(f"it ends at byte {self.position} of its content")
            self.position += skipped

    def line(self) -> tuple[bytes, bool]:
        """The next line with its end, and whether it is whole; empty at the end of the file.

        Of a line longer than `LONGEST_LINE` the beginning is given, the rest is skipped.
        """
        line = self._stream.readline(LONGEST_LINE)
        self.position += len(line)
        whole = len(line) < LONGEST_LINE or line.endswith(b"\n")
        rest = b"" if whole else line
        while rest and not rest.endswith(b"\n"):
            rest = self._stream.readline(LONGEST_LINE)
            self.position += len(rest)
        return line, whole

    def close(self) -> None:
        """Release the file."""
        self._stream.close()
        self._raw.close()
