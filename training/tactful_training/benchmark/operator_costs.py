"""How fast this machine multiplies matrices in onnxruntime, and how much of it a model needs."""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from rich.table import Table

from tactful.bundle.loading import Bundle
from tactful.reading.batches import run_rows
from tactful.reading.decisions import Floats
from tactful.reading.encoding import Batch, Pair, ReplyEncoding
from tactful.reading.processor import available_cpus
from tactful.reading.session import INPUTS, OUTPUTS

# Large enough that nothing but the product counts, small enough for a second.
_ROWS, _INNER, _COLUMNS = 2048, 1024, 4096
_PEAK_ROUNDS = 7
# The products that hold weights, in every form of the graph.
_PRODUCTS = {"MatMul", "MatMulIntegerToFloat", "MatMulInteger"}


def peak(*, int8: bool, threads: int) -> float:
    """Operations per second (a multiplication and an addition are two) of one large product.

    The best of a few rounds, as STREAM has it (McCalpin 1995): what else the machine does can only
    make it look slower than it is.

    Args:
        int8: ``MatMulInteger`` of uint8 and int8; else ``MatMul`` of fp32.
        threads: of the session.
    """
    random = np.random.default_rng(0)
    values: NDArray[Any]
    weights: NDArray[Any]
    if int8:
        values = random.integers(0, 255, (_ROWS, _INNER), dtype=np.uint8)
        weights = random.integers(-127, 127, (_INNER, _COLUMNS), dtype=np.int8)
        kind, given, made = "MatMulInteger", TensorProto.UINT8, TensorProto.INT32
    else:
        values = random.random((_ROWS, _INNER), dtype=np.float32)
        weights = random.random((_INNER, _COLUMNS), dtype=np.float32)
        kind, given, made = "MatMul", TensorProto.FLOAT, TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node(kind, ["values", "weights"], ["product"])],
        "peak",
        [helper.make_tensor_value_info("values", given, values.shape)],
        [helper.make_tensor_value_info("product", made, (_ROWS, _COLUMNS))],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    # Into memory that is there already: fresh pages would be timed as well.
    product = np.empty((_ROWS, _COLUMNS), np.int32 if int8 else np.float32)
    binding = session.io_binding()
    binding.bind_ortvalue_input("values", onnxruntime.OrtValue.ortvalue_from_numpy(values))
    binding.bind_ortvalue_output("product", onnxruntime.OrtValue.ortvalue_from_numpy(product))
    seconds = []
    for _ in range(1 + _PEAK_ROUNDS):
        begin = time.perf_counter()
        session.run_with_iobinding(binding)
        seconds.append(time.perf_counter() - begin)
    return 2 * _ROWS * _INNER * _COLUMNS / min(seconds[1:])


def operations_per_token(content: bytes) -> int:
    """Operations of the products with weights, for one token.

    Attention between tokens is left out: it depends on lengths and is no product with weights.
    """
    graph = onnx.load_from_string(content).graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    total = 0
    for node in graph.node:
        if node.op_type in _PRODUCTS and len(shapes.get(node.input[1], ())) == 2:
            inner, columns = shapes[node.input[1]]
            total += 2 * inner * columns
    return total


_ROUNDS = 3


def profile(bundle: Bundle, pairs: Sequence[Pair]) -> tuple[dict[str, float], int]:
    """Seconds of each kind of operator while pairs are read, with all threads in each batch.

    Args:
        bundle: what reads.
        pairs: (reply, context).

    Returns:
        Operator to its seconds, largest first, and the number of tokens that were read.
    """
    heads = bundle.heads
    encoding = ReplyEncoding(bundle.files["tokenizer.json"], heads.limits)
    encoded = encoding.encode(pairs)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = available_cpus()
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder, "profile"))
        session = onnxruntime.InferenceSession(
            bundle.files["model.onnx"], options, providers=["CPUExecutionProvider"]
        )

        def forward(batch: Batch) -> tuple[Floats, Floats]:
            logits, scores = session.run(OUTPUTS, {name: getattr(batch, name) for name in INPUTS})
            return logits, scores

        for _ in range(_ROUNDS):
            run_rows(encoded, encoding, forward, heads.tasks)
        events = json.loads(Path(session.end_profiling()).read_text())
    seconds: Counter[str] = Counter()
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("kernel_time"):
            kind = event["args"]["op_name"]
            if kind != "If":  # the operators of the way it takes have events of their own
                seconds[kind] += event["dur"] / 1e6
    tokens = sum(len(window.input_ids) for row in encoded for window in row.windows)
    return dict(seconds.most_common()), _ROUNDS * tokens


def render_profile(seconds: dict[str, float], tokens: int) -> Table:
    """For a terminal: microseconds per token and shares."""
    total = sum(seconds.values())
    table = Table(box=None, pad_edge=False, title_justify="left")
    table.add_column("operator")
    table.add_column("µs per token", justify="right")
    table.add_column("share", justify="right")
    for name, value in seconds.items():
        table.add_row(name, f"{1e6 * value / tokens:.2f}", f"{value / total:.1%}")
    table.add_row("all", f"{1e6 * total / tokens:.2f}", "")
    return table
