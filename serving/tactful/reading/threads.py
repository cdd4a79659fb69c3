"""Threads that run batches side by side, one thread a batch."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock

from tactful.errors import ModelError
from tactful.reading.passes import Pass
from tactful.reading.processor import available_cpus
from tactful.reading.session import Session


class Workers:
    """Runs the batches of a pass, each on one thread of its own.

    Two threads within one batch wait for each other after every operation, a few hundred times a
    batch; side by side they never do. That is worth a second session, made when it is first
    needed: who reads one short reply at a time never pays for it.

    Args:
        model: the bytes of an ONNX file.
        threads: how many batches run at once; by default the processors this process may use.
    """

    def __init__(self, model: bytes, *, threads: int | None = None) -> None:
        self._model: bytes | None = model
        self._threads = available_cpus() if threads is None else threads
        self._lock = Lock()

    def run(self, rows: Pass) -> list[Future[None]]:
        """Run all batches of a pass; each future is done when its batch is."""
        self._open()
        return [self._executor.submit(rows.run, index, self._session) for index in range(len(rows))]

    def _open(self) -> None:
        with self._lock:
            if self._model is not None:
                try:
                    self._session = Session(self._model, threads=1)
                except ValueError as error:  # it ran before, with other threads
                    raise ModelError(
                        f"there is no second session for reading side by side: {error}"
                    ) from error
                self._executor = ThreadPoolExecutor(self._threads, "tactful")
                self._model = None
