"""A bundle as one ``.tar.gz``: read without trusting its names, written byte for byte alike."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path


class _Bounded(io.RawIOBase):
    """A stream that fails instead of giving more than so many bytes: a small archive may unpack
    to more than memory holds.
    """

    def __init__(self, stream: gzip.GzipFile, limit: int) -> None:
        self._stream = stream
        self._left = limit

    def read(self, size: int = -1) -> bytes:
        content = self._stream.read(size if 0 <= size <= self._left else self._left + 1)
        self._left -= len(content)
        if self._left < 0:
            raise ValueError("unpacks to more than a bundle may hold")
        return content


def read_archive(
    path: Path, names: Sequence[str], limit: int
) -> tuple[dict[str, bytes], list[str]]:
    """Read an archive into memory; nothing is written to the disk.

    The files lie at its root or in one folder.

    Args:
        path: the archive.
        names: the file names it may hold.
        limit: most bytes it may unpack to.

    Returns:
        Name to content, and one line for every member that is extra, a link or twice there.

    Raises:
        ValueError: it is damaged, unpacks to too much or holds an absolute name or ``..``.
    """
    contents: dict[str, bytes] = {}
    problems = []
    folders = set()  # that files lie in
    listed = set()  # that are members themselves
    try:
        with path.open("rb") as file, gzip.GzipFile(fileobj=file, mode="rb") as unpacked:
            stream = _Bounded(unpacked, limit)
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                for member in archive:
                    folder, _, name = member.name.removeprefix("./").rpartition("/")
                    if member.isdir() and not folder and name != "..":
                        listed.add(name)
                    elif member.name.startswith("/") or ".." in member.name.split("/"):
                        problems.append(f"{member.name}: absolute names and '..' are not allowed")
                    elif name not in names or "/" in folder:
                        problems.append(f"{member.name}: extra; allowed: {', '.join(names)}")
                    elif member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
                        problems.append(f"{name}: a link or no regular file in the archive")
                    elif name in contents:
                        problems.append(f"{name}: twice in the archive")
                    else:
                        content = archive.extractfile(member)
                        contents[name] = content.read() if content else b""
                        folders.add(folder)
            while stream.read(2**20):  # to the end, where gzip checks its sum
                pass
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"the archive is damaged: {error}") from error
    extra = listed - folders - {"", "."}
    problems += [
        f"{name}: extra; only the folder of the files is allowed" for name in sorted(extra)
    ]
    if len(folders) > 1:
        problems.append(f"files lie in several folders: {', '.join(sorted(folders))}")
    return contents, problems


def archive_bytes(folder: str, contents: Mapping[str, bytes]) -> bytes:
    """A ``.tar.gz`` of some files in one folder; the same files give the same bytes."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(contents):
            member = tarfile.TarInfo(f"{folder}/{name}")  # time, owner and group 0 by default
            member.size = len(contents[name])
            archive.addfile(member, io.BytesIO(contents[name]))
    return gzip.compress(plain.getvalue(), mtime=0)
