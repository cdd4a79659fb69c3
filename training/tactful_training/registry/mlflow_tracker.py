"""MLflow: what a run was, how it went and what came out.

Tracking never stops a training. Where the server fails, the tracker remembers why and goes quiet;
the caller keeps the trained weights and says how to send the run later.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from tactful.bundle.mlflow_store import (
    ARTIFACTS,
    after_move,
    import_mlflow,
    local_folder,
    not_there,
    shown_uri,
    sqlite_file,
    tracking_uri,
    working_folder,
)
from tactful_training.errors import RunError

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient


BUNDLE = "bundle"
"""Folder of the run's artifacts that holds the bundle."""
RUN_KIND = "tactful.kind"
"""Tag that tells runs of training, promotion and sweep apart."""
# MLflow's own limits on one request.
_METRICS_AT_ONCE, _PARAMS_AT_ONCE, _LONGEST = 1000, 100, 6000
# Seconds between samples of processor, memory and disk: 80 points of a training of 20 minutes.
_SAMPLING = 15


class Tracker:
    """One run in MLflow.

    Args:
        uri: the tracking URI; None takes that of `tactful.bundle.mlflow_store.tracking_uri`.

    Attributes:
        uri: the tracking URI.
        failure: why tracking stopped; None while it works.
    """

    _client: MlflowClient

    def __init__(self, uri: str | None = None) -> None:
        self.uri = uri or tracking_uri()
        self.failure: str | None = None
        self._run = ""
        self._monitor: Any = None  # MLflow's SystemMetricsMonitor, which has no types

    def __str__(self) -> str:
        return shown_uri(self.uri)

    @property
    def run_id(self) -> str | None:
        """The run, or None where none could be opened."""
        return self._run or None

    def open(
        self,
        experiment: str,
        name: str,
        run_id: str | None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Go on with a run, or begin one where it is None or unknown to this server.

        A failure from before is forgotten: the server may be back.
        """
        self.failure = None

        def action() -> None:
            self._client = connect(self.uri)
            if run_id is not None and self._continues(run_id):
                self._run = run_id
                return
            found = self._client.get_experiment_by_name(experiment)
            if found is None:
                place = _artifact_location(self.uri, experiment)
                experiment_id = self._client.create_experiment(experiment, place)
            else:
                self._check_place(found.artifact_location)
                experiment_id = found.experiment_id
            started = self._client.create_run(experiment_id, run_name=name, tags=dict(tags or {}))
            self._run = started.info.run_id

        self._attempt(action)

    def attempt(self, action: Callable[[MlflowClient, str], None]) -> None:
        """Do something with the client and the run's id, unless something failed before."""
        self._attempt(lambda: action(self._client, self._run))

    def watch_system(self) -> None:
        """Log the use of processor, memory and disk every few seconds, until the run is closed."""

        def action() -> None:
            from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

            monitor: Any = SystemMetricsMonitor
            self._monitor = monitor(
                self._run, sampling_interval=_SAMPLING, resume_logging=True, tracking_uri=self.uri
            )
            self._monitor.start()

        self._attempt(action)

    def log_params(self, params: Mapping[str, object]) -> None:
        """Log parameters; a value that is too long for MLflow is cut."""
        cut = {key: str(value)[:_LONGEST] for key, value in params.items()}
        self._send(_PARAMS_AT_ONCE, "params", cut)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags."""
        self._send(_PARAMS_AT_ONCE, "tags", tags)

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Log values at a step (an epoch)."""
        self._send(_METRICS_AT_ONCE, "metrics", metrics, int(time.time() * 1000), step)

    def _send(self, at_once: int, kind: str, values: Mapping[str, Any], *when: int) -> None:
        """Log params, tags or metrics in as many requests as MLflow wants."""

        def action() -> None:
            from mlflow.entities import Metric, Param, RunTag

            entry: Any = {"params": Param, "tags": RunTag, "metrics": Metric}[kind]
            named = paths(values)
            entries = [entry(named[key], value, *when) for key, value in values.items()]
            for start in range(0, len(entries), at_once):
                some: Any = {kind: entries[start : start + at_once]}
                self._client.log_batch(self._run, **some)

        self._attempt(action)

    def log_folder(self, folder: Path, name: str) -> None:
        """Upload the files of a folder as artifacts under ``name``."""
        self._attempt(lambda: self._client.log_artifacts(self._run, str(folder), name))

    def close(self, status: Literal["FINISHED", "FAILED", "KILLED"]) -> None:
        """End the run."""
        if self._monitor is not None:
            self._monitor.finish()
            self._monitor = None
        self._attempt(lambda: self._client.set_terminated(self._run, status))

    @contextmanager
    def closing(self) -> Iterator[None]:
        """End the run with the block: finished, killed by an interrupt or failed by an error."""
        try:
            yield
        except KeyboardInterrupt:
            self.close("KILLED")
            raise
        except Exception:
            self.close("FAILED")
            raise
        self.close("FINISHED")

    def _continues(self, run_id: str) -> bool:
        """Take a run up again; False where this server does not have it any more."""
        from mlflow.exceptions import MlflowException

        try:
            run = self._client.get_run(run_id)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise
        if run.info.lifecycle_stage != "active":
            return False
        self._check_place(run.info.artifact_uri)
        self._client.update_run(run_id, status="RUNNING")
        return True

    def _check_place(self, location: str) -> None:
        """Refuse to make a place anew that was moved: nobody would look for artifacts there."""
        place = local_folder(location)
        working = None if place is None else working_folder(place)
        if place is None or working is None:
            return
        if not working.is_dir() or after_move(place, self.uri) is not None:
            raise RunError(
                f"{not_there(place, self.uri)}; or begin another experiment: "
                "--set tracking.experiment=NAME"
            )

    def _attempt(self, action: Callable[[], None]) -> None:
        """Do it unless something failed before; never raise."""
        if self.failure is not None:
            return
        try:
            action()
        except Exception as error:  # MLflow's own, requests', SQLAlchemy's, OSErrors
            self.failure = (str(error).strip() or type(error).__name__).splitlines()[0]


def connect(uri: str) -> MlflowClient:
    """A client of a tracking server, which becomes the process's own."""
    mlflow = import_mlflow("tracking")
    mlflow.set_tracking_uri(uri)  # artifact stores and models ask for the global one
    client: MlflowClient = mlflow.MlflowClient(uri)
    return client


def _artifact_location(uri: str, experiment: str) -> str | None:
    """Where the artifacts of a new experiment go; None leaves it to the server.

    MLflow unquotes the path of the working folder: one that this changes is given as a URI.
    """
    folder = Path(ARTIFACTS).resolve()
    if sqlite_file(uri) is None or local_folder(urlsplit(str(folder)).path) == folder:
        return None
    return (folder / parts([experiment])[experiment]).as_uri()


# MLflow takes words, spaces and a few signs; a part of a path that is only dots would be another.
_NOT_IN_NAMES = re.compile(r"[^/\w\-. :]")
_ONLY_DOTS = re.compile(r"(?<![^/])\.+(?![^/])")
_SUFFIX = 6
_PART_LENGTH = 60  # of one part: MLflow takes paths of 250 characters


def paths(names: Iterable[str]) -> dict[str, str]:
    """Name to a name for MLflow, ``/`` parting it as before; different names stay different."""
    return _distinct({name: _clear(name) for name in names})


def parts(names: Iterable[str]) -> dict[str, str]:
    """The same for names that become one part of a path: ``/`` is replaced too, the end cut off.

    The parts depend on the names alone, not on their order: the same labels have the same metrics
    in every run.
    """
    return _distinct(
        {name: _clear(name.replace("/", "_"))[:_PART_LENGTH].strip() for name in names}
    )


def _clear(name: str) -> str:
    return _ONLY_DOTS.sub("_", _NOT_IN_NAMES.sub("_", name))


def _distinct(cleared: dict[str, str]) -> dict[str, str]:
    """Where two would be one, those that had to be changed get some digits of their digest."""
    times = Counter(cleared.values())
    return {
        name: clear if times[clear] == 1 or clear == name else f"{clear}-{_digits(name)}"
        for name, clear in cleared.items()
    }


def _digits(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_SUFFIX]
