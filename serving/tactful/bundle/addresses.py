"""Where bundles come from: the one place that resolves their addresses.

A folder, a ``.tar.gz`` archive or a model in MLflow (``models:/tactful@champion``, ``runs:/…``)
becomes the bytes of its files; whether they are those of a bundle, `manifest` says. MLflow's server
is that of ``MLFLOW_TRACKING_URI``, else the SQLite store ``mlflow.db`` in the working folder.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import logging
import os
import stat
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from tactful.bundle.manifest import FILES, MAX_BUNDLE_BYTES, is_ignored
from tactful.errors import BundleError, MissingExtraError

Files = dict[str, bytes]
ARCHIVE_SUFFIXES = (".tar.gz", ".tgz")
HOW_TO_GET_ONE = (
    "train one with `tactful train` (in a clone: `make train`), or name a bundle with --bundle "
    "or $TACTFUL_BUNDLE"
)
SCHEMES = ("models:/", "runs:/")
URI_VARIABLE = "MLFLOW_TRACKING_URI"
DEFAULT_DATABASE = Path("mlflow.db")
"""In the working folder, where no server is named."""
_SQLITE = "sqlite:///"
# Before MLflow is imported; what the user has set stays.
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # A few seconds, not minutes, until a server that is not there is given up.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    # Standard output belongs to the commands.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
_CHATTY = ("alembic", "mlflow", "urllib3")


def is_registry_uri(address: object) -> bool:
    """Whether a bundle's address is one of MLflow and no path."""
    return str(address).startswith(SCHEMES)


def absolute(address: str | Path) -> str:
    """The address as it can be handed to another process; links of a path are followed."""
    return str(address) if is_registry_uri(address) else str(Path(address).resolve())


def read_files(address: str | Path) -> tuple[Files, list[str]]:
    """Read the files of a bundle, each of them once.

    Args:
        address: a folder, an archive, ``models:/NAME@ALIAS``, ``models:/NAME/VERSION`` or
            ``runs:/RUN/model``.

    Returns:
        Name to content of the regular files whose names a bundle has, and one line for everything
        else that is there. What `is_ignored` is not looked at.

    Raises:
        BundleError: there is nothing, it cannot be read, or MLflow does not answer.
        MissingExtraError: what is needed to open the MLflow store is not installed.
    """
    try:
        if is_registry_uri(address):
            with _fetched(str(address)) as folder:
                return _read_folder(folder)
        path = Path(address)
        if path.is_dir() and address != "":  # which as a path would be the working directory
            return _read_folder(path)
        if address == "" or not path.exists():
            raise BundleError(address or "''", [f"it does not exist; {HOW_TO_GET_ONE}"])
        if path.name.endswith(ARCHIVE_SUFFIXES):
            return _read_archive(path)
    except (OSError, ValueError) as error:  # ValueError: a damaged archive, a NUL in the path
        raise BundleError(address, [f"cannot be read: {error}"]) from error
    raise BundleError(address, [f"neither a folder nor an archive ({', '.join(ARCHIVE_SUFFIXES)})"])


def tracking_uri() -> str:
    """The MLflow store: from the environment, else SQLite in `DEFAULT_DATABASE`.

    Absolute: MLflow keeps connections by URI, and a relative one changes its meaning with the
    working folder.
    """
    return os.environ.get(URI_VARIABLE) or f"{_SQLITE}{DEFAULT_DATABASE.resolve()}"


def import_mlflow(feature: str = "a bundle from MLflow") -> Any:
    """The module ``mlflow``, quiet and with a tracking URI.

    Raises:
        MissingExtraError: it is not installed.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        mlflow: Any = import_module("mlflow")
    except ImportError as error:
        raise MissingExtraError(feature, "registry") from error
    for name in _CHATTY:  # after the import, which sets them
        logging.getLogger(name).setLevel(logging.ERROR)
    if not mlflow.tracking.is_tracking_uri_set():
        mlflow.set_tracking_uri(tracking_uri())
    return mlflow


def _read_folder(folder: Path) -> tuple[Files, list[str]]:
    contents: Files = {}
    problems = []
    room = MAX_BUNDLE_BYTES
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if is_ignored(entry.name) and not entry.is_dir(follow_symlinks=False):
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
                        continue
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


@contextlib.contextmanager
def _fetched(uri: str) -> Iterator[Path]:
    """The folder of a bundle that MLflow holds, while the context lasts."""
    with downloaded(uri) as model:
        yield _bundle_in(model, uri)


def run_behind(uri: str) -> str:
    """The id of the MLflow run that a ``runs:/`` address names or a registered version is of.

    Raises:
        BundleError: there is no such version, or the store does not answer.
        MissingExtraError: what is needed to open the store is not installed.
    """
    scheme, _, name = uri.partition(":/")
    if scheme == "runs":
        return name.strip("/").partition("/")[0]
    model, at, alias = name.strip("/").partition("@")
    plain, _, version = name.strip("/").rpartition("/")
    if not (plain or at):
        raise BundleError(uri, ["write models:/NAME@ALIAS or models:/NAME/VERSION"])
    with _store(uri) as mlflow:
        client = mlflow.MlflowClient()
        if at:
            found = client.get_model_version_by_alias(model, alias)
        else:
            found = client.get_model_version(plain, version)
    return str(found.run_id)


@contextlib.contextmanager
def downloaded(uri: str) -> Iterator[Path]:
    """What MLflow holds at an address, in a folder that lasts as long as the context.

    Raises:
        BundleError: there is nothing, or the store does not answer.
        MissingExtraError: what is needed to open the store is not installed.
    """
    with tempfile.TemporaryDirectory(prefix="tactful-") as folder:
        with _store(uri) as mlflow:
            found = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=folder))
        yield found


@contextlib.contextmanager
def _store(uri: str) -> Iterator[Any]:
    """MLflow with a store that is there; what it raises becomes ours."""
    mlflow = import_mlflow(f"the bundle {uri}")
    store = mlflow.get_tracking_uri()
    if store.startswith(_SQLITE) and not os.path.isfile(store.removeprefix(_SQLITE)):
        # MLflow would make an empty one.
        raise BundleError(
            uri, [f"there is no MLflow store {store}; set {URI_VARIABLE} to where the model is"]
        )
    try:
        yield mlflow
    except ImportError as error:  # mlflow-skinny without what opens a database
        raise MissingExtraError(f"the MLflow store {store} ({error})", "registry") from error
    except Exception as error:  # MLflow's own, requests', SQLAlchemy's, OSErrors
        raise BundleError(uri, [f"MLflow at {store}: {_first_line(error)}"]) from error


def _bundle_in(model: Path, uri: str) -> Path:
    """Where in a logged model (or in a folder of artifacts) the bundle lies."""
    if (model / "manifest.json").is_file():
        return model
    found = [path for path in (model / "data").glob("*/manifest.json") if path.is_file()]
    if len(found) != 1:
        raise BundleError(uri, ["it was not logged by tactful: no bundle under data/"])
    return found[0].parent


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
