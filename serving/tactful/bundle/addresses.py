"""Bundles from an MLflow registry: ``models:/tactful@champion`` and the like.

The tracking server is that of ``MLFLOW_TRACKING_URI``, else the SQLite store ``mlflow.db`` in the
working folder. What is fetched is verified like any other bundle.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from tactful.errors import BundleError, MissingExtraError

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


@contextlib.contextmanager
def fetched(uri: str) -> Iterator[Path]:
    """The folder of a bundle that MLflow holds, while the context lasts.

    Args:
        uri: ``models:/NAME@ALIAS``, ``models:/NAME/VERSION`` or ``runs:/RUN/model``.

    Raises:
        BundleError: there is no such model, it holds no bundle, or the store does not answer.
        MissingExtraError: what is needed to open the store is not installed.
    """
    mlflow = import_mlflow(f"the bundle {uri}")
    store = mlflow.get_tracking_uri()
    if store.startswith(_SQLITE) and not os.path.isfile(store.removeprefix(_SQLITE)):
        # MLflow would make an empty one.
        raise BundleError(
            uri, [f"there is no MLflow store {store}; set {URI_VARIABLE} to where the model is"]
        )
    with tempfile.TemporaryDirectory(prefix="tactful-") as folder:
        try:
            model = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=folder))
        except ImportError as error:  # mlflow-skinny without what opens a database
            raise MissingExtraError(f"the MLflow store {store} ({error})", "registry") from error
        except Exception as error:  # MLflow's own, requests', SQLAlchemy's, OSErrors
            raise BundleError(uri, [f"MLflow at {store}: {_first_line(error)}"]) from error
        yield _bundle_in(model, uri)


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
