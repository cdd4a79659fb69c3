"""The model in onnxruntime, on the CPU: one batch on all threads, or several side by side."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any

import numpy as np

from tactful.errors import ModelError
from tactful.reading.batches import Pass
from tactful.reading.decisions import Floats
from tactful.reading.encoding import Batch
from tactful.reading.processor import available_cpus

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
OUTPUTS = ("logits", "token_scores")
# How onnxruntime and the C++ library below it say so.
_OUT_OF_MEMORY = re.compile("Failed to allocate memory|bad_alloc|bad allocation")
_FATAL_ONLY = 4  # onnxruntime's log severity; its errors are raised, so they need no log


class Session:
    """A `batches.Forward` that runs an ONNX graph; safe to call from several threads.

    Args:
        model: the bytes of an ONNX file.
        threads: threads of one run; by default the processors this process may use.

    Raises:
        ValueError: onnxruntime cannot load the graph (its own words are quoted), or the graph has
            other inputs or outputs.
    """

    def __init__(self, model: bytes, *, threads: int | None = None) -> None:
        import onnxruntime  # half a second: not at the top, so that importing tactful is quick

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = available_cpus() if threads is None else threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = _FATAL_ONLY
        # Without this, bytes in onnxruntime's own format would be taken too, unchecked.
        options.add_session_config_entry("session.load_model_format", "ONNX")
        try:
            self._session = onnxruntime.InferenceSession(
                model,
                options,
                providers=["CPUExecutionProvider"],
                enable_fallback=0,  # it prints to stdout and tries the same again
            )
        except Exception as error:  # onnxruntime's exceptions have no common base of their own
            raise ValueError(f"onnxruntime cannot load it: {error}") from error
        _check_names("inputs", [node.name for node in self._session.get_inputs()], INPUTS)
        _check_names("outputs", [node.name for node in self._session.get_outputs()], OUTPUTS)

    @property
    def metadata(self) -> dict[str, str]:
        """The entries of the file's ``metadata_props``."""
        return dict(self._session.get_modelmeta().custom_metadata_map)

    def __call__(self, batch: Batch) -> tuple[Floats, Floats]:
        """Run one batch: logits ``[W, L]`` and token scores ``[W, T, L]``, both float32.

        Where memory does not suffice, each half of the batch is tried on its own, and so on.

        Raises:
            ModelError: the graph cannot run it, or memory does not suffice for a single window.
        """
        windows, length = batch.input_ids.shape
        try:
            return self._run(batch)
        except MemoryError as error:
            if windows == 1:
                raise ModelError(
                    f"there is not enough memory to read one window of {length} tokens ({error}); "
                    "free some, or raise this process's limit"
                ) from error
        halves = [self(part) for part in batch.halves()]
        logits, token_scores = (np.concatenate(parts) for parts in zip(*halves, strict=True))
        return logits, token_scores

    def _run(self, batch: Batch) -> tuple[Floats, Floats]:
        feed: dict[str, Any] = {name: getattr(batch, name) for name in INPUTS}
        try:
            logits, token_scores = self._session.run(OUTPUTS, feed)
        except MemoryError:
            raise
        except Exception as error:  # see above
            if _OUT_OF_MEMORY.search(str(error)):
                raise MemoryError(str(error)) from error
            windows, length = batch.input_ids.shape
            raise ModelError(
                f"onnxruntime cannot run {windows} windows of {length} tokens with ids up to "
                f"{batch.input_ids.max()}: {error}"
            ) from error
        return logits, token_scores

    def check(self, batch: Batch, labels: int) -> None:
        """Run one batch and hold the outputs against what they must be.

        Args:
            batch: any batch of known tokens.
            labels: the length of the label axis.

        Raises:
            ValueError: the graph cannot run it, or the outputs have other shapes or types.
        """
        outputs = self(batch)
        windows, length = batch.input_ids.shape
        expected = ((windows, labels), (windows, length, labels))
        for name, output, shape in zip(OUTPUTS, outputs, expected, strict=True):
            if output.shape != shape or output.dtype != "float32":
                raise ValueError(
                    f"output {name!r} of {windows} windows with {length} tokens is "
                    f"{output.dtype} {list(output.shape)}; labels.json asks for float32 "
                    f"{list(shape)} ({labels} labels in all)"
                )


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


def _check_names(what: str, given: Sequence[str], allowed: Sequence[str]) -> None:
    if sorted(given) != sorted(allowed):
        raise ValueError(
            f"its {what} are {', '.join(given) or 'none'}; expected: {', '.join(allowed)}"
        )
