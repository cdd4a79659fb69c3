"""Other int8 engines over the same network: OpenVINO with NNCF, and Optimum's dynamic int8.

Neither is a dependency. Where a package is not installed, or cannot make its form of the graph, the
peer is left out and named.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from tactful.reading.encoding import Batch, Pair, ReplyEncoding
from tactful.reading.session import INPUTS

OPENVINO = "OpenVINO, int8 (NNCF), batches of 32"
OPTIMUM = "Optimum, int8 (dynamic), batches of 32"
PACKAGES = {OPENVINO: ("openvino", "nncf"), OPTIMUM: ("optimum",)}
"""What each peer needs."""
_CALIBRATION = 128  # replies, at most
Feed = dict[str, NDArray[np.int64]]


def make_int8_peers(
    exported: Path, encoding: ReplyEncoding, pairs: Sequence[Pair], folder: Path
) -> tuple[dict[str, str], dict[str, str]]:
    """Make the int8 form of each peer that is installed.

    Args:
        exported: the architecture as plain ONNX, fp32.
        encoding: of windows; each reply in one.
        pairs: (reply, context), of which some calibrate.
        folder: where the forms go.

    Returns:
        The peer's name to its model file; to why it is left out.
    """
    makers: dict[str, Callable[[], Path]] = {
        OPENVINO: lambda: _by_nncf(exported, encoding, pairs[:_CALIBRATION], folder),
        OPTIMUM: lambda: _by_optimum(exported, folder),
    }
    made: dict[str, str] = {}
    left_out: dict[str, str] = {}
    for name, make in makers.items():
        if lacking := [each for each in PACKAGES[name] if find_spec(each) is None]:
            left_out[name] = f"not installed: {', '.join(lacking)}"
            continue
        try:
            made[name] = str(make())
        except Exception as error:  # of another project's internals
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            left_out[name] = f"cannot be made: {reason}"
    return made, left_out


def open_openvino(path: str, threads: int) -> tuple[Callable[[list[Feed]], None], ...]:
    """Two ways to run feeds: side by side for many, and all threads for one.

    Args:
        path: the model of `make_int8_peers`.
        threads: of both.
    """
    import openvino

    core = openvino.Core()
    options = {"INFERENCE_NUM_THREADS": threads}
    many, one = (
        core.compile_model(path, "CPU", {**options, "PERFORMANCE_HINT": hint})
        for hint in ("THROUGHPUT", "LATENCY")
    )
    queue, request = openvino.AsyncInferQueue(many), one.create_infer_request()

    def run_many(feeds: list[Feed]) -> None:
        for feed in feeds:
            queue.start_async(feed)
        queue.wait_all()

    def run_one(feeds: list[Feed]) -> None:
        for feed in feeds:
            request.infer(feed)

    return run_many, run_one


def as_feed(batch: Batch) -> Feed:
    """A batch by the names of the graph's inputs."""
    return {name: getattr(batch, name) for name in INPUTS}


def _by_nncf(exported: Path, encoding: ReplyEncoding, pairs: Sequence[Pair], folder: Path) -> Path:
    os.environ.setdefault("NNCF_CI", "1")  # it would report to its makers
    import nncf
    import openvino

    feeds = [as_feed(encoding.collate(row.windows)) for row in encoding.encode(pairs)]
    model: Any = nncf.quantize(
        openvino.Core().read_model(exported),
        nncf.Dataset(feeds),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(feeds),
    )
    path = folder / "openvino.xml"
    openvino.save_model(model, path)
    return path


def _by_optimum(exported: Path, folder: Path) -> Path:
    from optimum.onnxruntime import ORTQuantizer
    from optimum.onnxruntime.configuration import AutoQuantizationConfig

    config = AutoQuantizationConfig.avx512_vnni(is_static=False, per_channel=True)
    ORTQuantizer(exported).quantize(save_dir=folder, quantization_config=config)
    [path] = folder.glob("*quantized*.onnx")
    onnx.checker.check_model(path)
    onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return path
