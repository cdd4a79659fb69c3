"""The MLflow store: where it is, and how the bundle of a registered model comes out of it.

The store is that of ``MLFLOW_TRACKING_URI``, else SQLite in ``mlflow.db`` in the working folder.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit
from urllib.request import url2pathname

from tactful.errors import BundleError, MissingExtraError, TactfulError

URI_VARIABLE = "MLFLOW_TRACKING_URI"
DEFAULT_DATABASE = Path("mlflow.db")
"""In the working folder, where no server is named."""
ARTIFACTS = "mlruns"
"""Folder of artifacts, which MLflow makes in the working folder."""
_PLAIN, _QUOTED = "sqlite:///", "sqlite+pysqlite:///"
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


def tracking_uri() -> str:
    """The MLflow store: from the environment, else SQLite in `DEFAULT_DATABASE`.

    Absolute: MLflow keeps connections by URI, and a relative one changes its meaning with the
    working folder.
    """
    return os.environ.get(URI_VARIABLE) or sqlite_uri(DEFAULT_DATABASE.resolve())


def sqlite_uri(database: Path) -> str:
    """The URI of an SQLite store, which `sqlite_file` undoes.

    Signs that mean something in a URI are quoted. Then the driver is named, which means the same:
    without it MLflow would make the folder that the quoted path looks like.

    Raises:
        TactfulError: the SQLAlchemy that is installed cannot open such a path.
    """
    path = str(database)
    if not {"%", "?"} & set(path):
        return _PLAIN + path
    if not _unquotes():
        raise TactfulError(
            f"{database}: a folder with '%' or '?' in its name can hold an MLflow store with "
            f"SQLAlchemy 2.1 or newer only; update it, rename the folder, or set {URI_VARIABLE}"
        )
    return _QUOTED + quote(path)


def sqlite_file(uri: str) -> Path | None:
    """The file of an SQLite store; None of any other."""
    if uri.startswith(_QUOTED):
        return Path(unquote(uri.removeprefix(_QUOTED)))
    if not uri.startswith(_PLAIN):
        return None
    path = uri.removeprefix(_PLAIN).partition("?")[0]
    return Path(unquote(path) if "%" in path and _unquotes() else path)


def shown_uri(uri: str) -> str:
    """The URI of a store as people read it: paths as they are."""
    database = sqlite_file(uri)
    return uri if database is None else f"{_PLAIN}{database}"


def local_folder(location: str) -> Path | None:
    """Where on this machine artifacts lie; None where MLflow keeps them elsewhere."""
    parts = urlsplit(location)
    if parts.scheme not in ("", "file"):
        return None
    # As MLflow does, which unquotes a path without a scheme too.
    return Path(url2pathname(parts.path if parts.scheme else location))


def working_folder(artifacts: Path) -> Path | None:
    """The working folder that artifacts are in; None where MLflow chose another place."""
    return next((each.parent for each in artifacts.parents if each.name == ARTIFACTS), None)


def after_move(artifacts: Path, uri: str) -> Path | None:
    """Where artifacts went if their folder was moved together with its SQLite store."""
    database, old = sqlite_file(uri), working_folder(artifacts)
    if database is None or old is None or artifacts.exists():
        return None
    moved = database.absolute().parent / artifacts.relative_to(old)
    return moved if moved.exists() else None


def not_there(artifacts: Path, uri: str) -> str:
    """What to say of a folder of artifacts that is missing, and what to do."""
    database, old = sqlite_file(uri), working_folder(artifacts)
    link = ""
    if database is not None and old is not None:
        link = f", or leave a link in its place: ln -s '{database.absolute().parent}' '{old}'"
    return (
        f"MLflow at {shown_uri(uri)} keeps its files in {artifacts}, which is not there any more: "
        f"the folder was moved or deleted. Move it back{link}"
    )


def import_mlflow(feature: str = "a bundle from MLflow") -> Any:
    """The module ``mlflow``, quiet and with a tracking URI.

    Raises:
        MissingExtraError: it is not installed.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    _find_home()
    try:
        mlflow: Any = import_module("mlflow")
    except ImportError as error:
        raise MissingExtraError(feature, "registry") from error
    for name in _CHATTY:  # after the import, which sets them
        logging.getLogger(name).setLevel(logging.ERROR)
    if not mlflow.tracking.is_tracking_uri_set():
        mlflow.set_tracking_uri(tracking_uri())
    return mlflow


@contextlib.contextmanager
def fetched(uri: str) -> Iterator[Path]:
    """The folder of a bundle that MLflow holds, while the context lasts.

    Args:
        uri: ``models:/NAME@ALIAS``, ``models:/NAME/VERSION`` or ``runs:/RUN/model``.

    Raises:
        BundleError: there is no such model, it holds no bundle, or the store does not answer.
        MissingExtraError: what is needed to open the store is not installed.
    """
    with downloaded(uri) as model:
        yield _bundle_in(model, uri)


@contextlib.contextmanager
def downloaded(uri: str) -> Iterator[Path]:
    """What MLflow holds at an address, in a folder that lasts as long as the context.

    Raises:
        BundleError: there is nothing, or the store does not answer.
        MissingExtraError: what is needed to open the store is not installed.
    """
    with tempfile.TemporaryDirectory(prefix="tactful-") as folder:
        with _store(uri) as mlflow:
            found = _moved(mlflow, uri)
            if found is None:
                fetch = mlflow.artifacts.download_artifacts
                found = Path(fetch(artifact_uri=uri, dst_path=folder))
        yield found


def run_behind(uri: str) -> str:
    """The id of the MLflow run that a ``runs:/`` address names or a registered version is of.

    Raises:
        BundleError: there is no such version, or the store does not answer.
        MissingExtraError: what is needed to open the store is not installed.
    """
    scheme, _, name = uri.partition(":/")
    if scheme == "runs":
        return name.strip("/").partition("/")[0]
    if "@" not in name and "/" not in name.strip("/"):
        raise BundleError(uri, ["write models:/NAME@ALIAS or models:/NAME/VERSION"])
    with _store(uri) as mlflow:
        return str(_version(mlflow.MlflowClient(), name).run_id)


def _version(client: Any, address: str) -> Any:
    """A registered version by ``NAME@ALIAS`` or ``NAME/VERSION``."""
    name, at, alias = address.strip("/").partition("@")
    if at:
        return client.get_model_version_by_alias(name, alias)
    return client.get_model_version(*address.strip("/").rsplit("/", 1))


@contextlib.contextmanager
def _store(uri: str) -> Iterator[Any]:
    """MLflow with a store that is there; what it raises becomes ours."""
    mlflow = import_mlflow(f"the bundle {uri}")
    store = mlflow.get_tracking_uri()
    database, name = sqlite_file(store), shown_uri(store)
    if database is not None and not database.is_file():  # MLflow would make an empty one
        problem = f"there is no MLflow store {name}; set {URI_VARIABLE} to where the model is"
        raise BundleError(uri, [problem])
    try:
        yield mlflow
    except TactfulError:
        raise
    except ImportError as error:  # mlflow-skinny without what opens a database
        raise MissingExtraError(f"the MLflow store {name} ({error})", "registry") from error
    except Exception as error:  # MLflow's own, requests', SQLAlchemy's, OSErrors
        raise BundleError(uri, [f"MLflow at {name}: {_first_line(error)}"]) from error


def _moved(mlflow: Any, uri: str) -> Path | None:
    """Where a model's files are now, if they were moved together with an SQLite store.

    Raises:
        BundleError: they are nowhere; MLflow would find an empty model there.
    """
    store = mlflow.get_tracking_uri()
    place = None if sqlite_file(store) is None else _place(mlflow.MlflowClient(), uri)
    if place is None or place.exists():
        return None
    moved, working = after_move(place, store), working_folder(place)
    if moved is None and working is not None and (uri.startswith("models") or not working.is_dir()):
        raise BundleError(uri, [not_there(place, store)])
    return moved


def _place(client: Any, uri: str) -> Path | None:
    """The local folder of a model's files, in a store that has it; None if it is elsewhere."""
    scheme, _, name = uri.partition(":/")
    name = name.strip("/")
    if scheme == "runs":
        run_id, _, path = name.partition("/")
        run = client.get_run(run_id)
        models = run.outputs.model_outputs if run.outputs else ()
        for model in (client.get_logged_model(each.model_id) for each in models):
            if model.name == path:
                return local_folder(model.artifact_location)
        return local_folder(f"{run.info.artifact_uri}/{path}")
    if "/" not in name and "@" not in name:
        return local_folder(client.get_logged_model(name).artifact_location)
    if name.endswith("/latest"):
        return None
    found = _version(client, name)
    return local_folder(client.get_model_version_download_uri(found.name, str(found.version)))


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


def _find_home() -> None:
    """Give this process a home if it has none, as in a container run by any user id.

    MLflow cannot be imported without one. Nobody else can put settings into it.
    """
    try:
        Path.home()
    except RuntimeError:
        home = tempfile.mkdtemp(prefix="tactful-home-")
        atexit.register(shutil.rmtree, home, ignore_errors=True)
        os.environ["HOME"] = home


def _unquotes() -> bool:
    """Whether SQLAlchemy unquotes the path of a URI, as it does from 2.1 on."""
    try:
        make_url = import_module("sqlalchemy.engine").make_url
    except ImportError:  # which whoever opens the store will say
        return True
    return bool(make_url("sqlite:///%25").database == "%")
