"""Where bundles come from: the one place that resolves their addresses.

A folder, a ``.tar.gz`` archive, a model in MLflow (``models:/tactful@champion``, ``runs:/…``) or a
repository of the Hugging Face hub (``hf://owner/name``) becomes the bytes of its files; whether
they are those of a bundle, `manifest_check` says. The default model is looked for in the working
folder first, then in the package, which carries one where it was installed from a release.
"""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
import zlib
from pathlib import Path

from tactful.bundle.hub_store import SCHEME, download
from tactful.bundle.manifest_check import (
    FILES,
    MAX_BUNDLE_BYTES,
    MAX_SIGNATURE_BYTES,
    SIGNATURE,
    is_ignored,
)
from tactful.bundle.mlflow_store import fetched
from tactful.errors import BundleError

Files = dict[str, bytes]
ARCHIVE_SUFFIXES = (".tar.gz", ".tgz")
DEFAULT_BUNDLE = "models/tactful"
"""What is read where no bundle is named."""
SHIPPED = Path(__file__).resolve().parents[1] / "_shipped"
"""Where the wheel of a release carries `DEFAULT_BUNDLE`; in a checkout there is no such folder."""
HOW_TO_GET_ONE = (
    "train one with `tactful train` (in a clone: `make train`), install the wheel of a release, "
    "which carries one, or name a bundle with --bundle or $TACTFUL_BUNDLE"
)
_MLFLOW = ("models:/", "runs:/")


def is_registry_uri(address: object) -> bool:
    """Whether a bundle's address is one of MLflow and no path."""
    return str(address).startswith(_MLFLOW)


def is_remote(address: object) -> bool:
    """Whether a bundle's address is one of MLflow or of the hub and no path."""
    return is_registry_uri(address) or str(address).startswith(SCHEME)


def located(address: str | Path) -> str | Path:
    """The address itself, or that of the shipped model where it is the default and not there."""
    shipped = SHIPPED / DEFAULT_BUNDLE
    default = str(address) == DEFAULT_BUNDLE and not os.path.lexists(address)
    return shipped if default and shipped.is_dir() else address


def absolute(address: str | Path) -> str:
    """The address as it can be handed to another process; links of a path are followed."""
    return str(address) if is_remote(address) else str(Path(located(address)).resolve())


def read_files(address: str | Path) -> tuple[Files, list[str]]:
    """Read the files of a bundle, each of them once.

    Args:
        address: a folder, an archive, ``models:/NAME@ALIAS``, ``models:/NAME/VERSION``,
            ``runs:/RUN/model`` or ``hf://OWNER/NAME[@REVISION]``.

    Returns:
        Name to content of the regular files whose names a bundle has, and of its signature; and
        one line for everything else that is there. What `is_ignored` otherwise is not looked at.

    Raises:
        BundleError: there is nothing, it cannot be read, or who has it does not answer.
        MissingExtraError: what is needed to ask MLflow or the hub is not installed.
    """
    try:
        if str(address).startswith(SCHEME):
            return download(str(address)), []
        if is_registry_uri(address):
            with fetched(str(address)) as folder:
                return _read_folder(folder)
        path = Path(located(address))
        if path.is_dir() and address != "":  # which as a path would be the working directory
            return _read_folder(path)
        if address == "" or not path.exists():
            raise BundleError(address or "''", [f"it does not exist; {HOW_TO_GET_ONE}"])
        if path.name.endswith(ARCHIVE_SUFFIXES):
            return _read_archive(path)
    except (OSError, ValueError) as error:  # ValueError: a damaged archive, a NUL in the path
        raise BundleError(address, [f"cannot be read: {error}"]) from error
    raise BundleError(address, [f"neither a folder nor an archive ({', '.join(ARCHIVE_SUFFIXES)})"])


def _read_folder(folder: Path) -> tuple[Files, list[str]]:
    contents: Files = {}
    problems = []
    room = MAX_BUNDLE_BYTES
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if is_ignored(entry.name) and not entry.is_dir(follow_symlinks=False):
            if entry.name == SIGNATURE and entry.is_file(follow_symlinks=False):
                signature = _read_regular(folder / SIGNATURE, MAX_SIGNATURE_BYTES)
                contents |= {} if signature is None else {SIGNATURE: signature}
            continue
        if entry.name not in FILES:
            problems.append(f"{entry.name}: extra; a bundle has only {', '.join(FILES)}")
        elif entry.is_symlink():
            problems.append(f"{entry.name}: a symbolic link; it must be a regular file")
        elif (content := _read_regular(folder / entry.name, room)) is None:
            problems.append(f"{entry.name}: no regular file of at most {room} bytes")
        else:
            contents[entry.name] = content
            room -= len(content)
    return contents, problems


def _read_regular(path: Path, limit: int) -> bytes | None:
    """The content, or None where it is no regular file or larger than the limit."""
    # O_NOFOLLOW: since it was listed it may have become a link; O_NONBLOCK: a pipe never opens.
    flags = os.O_RDONLY
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):
        flags |= getattr(os, name, 0)
    descriptor = os.open(path, flags)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_size > limit:
        os.close(descriptor)
        return None
    with open(descriptor, "rb") as file:
        content = file.read(limit + 1)  # it may grow while it is read
    return content if len(content) <= limit else None


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


def _read_archive(path: Path) -> tuple[Files, list[str]]:
    """Read an archive into memory, whose files lie at its root or in one folder.

    Nothing is written to the disk, and no name in it is trusted.
    """
    contents: Files = {}
    problems = []
    folders = set()  # that files lie in
    listed = set()  # that are members themselves
    try:
        with path.open("rb") as file, gzip.GzipFile(fileobj=file, mode="rb") as unpacked:
            stream = _Bounded(unpacked, MAX_BUNDLE_BYTES)
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                for member in archive:
                    folder, _, name = member.name.removeprefix("./").rpartition("/")
                    if member.isdir() and not folder and name != "..":
                        listed.add(name)
                    elif member.name.startswith("/") or ".." in member.name.split("/"):
                        problems.append(f"{member.name}: absolute names and '..' are not allowed")
                    elif is_ignored(name) and "/" not in folder and not member.isdir():
                        if name == SIGNATURE and 0 < member.size <= MAX_SIGNATURE_BYTES:
                            signature = archive.extractfile(member)
                            contents |= {SIGNATURE: signature.read()} if signature else {}
                    elif name not in FILES or "/" in folder:
                        problems.append(f"{member.name}: extra; allowed: {', '.join(FILES)}")
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
