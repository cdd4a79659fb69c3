"""How fast this machine multiplies matrices in onnxruntime, and how much of it a model needs."""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

# Large enough that nothing but the product counts, small enough for a second.
_ROWS, _INNER, _COLUMNS = 2048, 1024, 4096
_ROUNDS = 7
# The products that hold weights, in every form of the graph.
_PRODUCTS = {"MatMul", "MatMulIntegerToFloat", "MatMulInteger"}


def peak(*, int8: bool, threads: int) -> float:
    """Operations per second (a multiplication and an addition are two) of one large product.

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
    for _ in range(1 + _ROUNDS):
        begin = time.perf_counter()
        session.run_with_iobinding(binding)
        seconds.append(time.perf_counter() - begin)
    return 2 * _ROWS * _INNER * _COLUMNS / statistics.median(seconds[1:])


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
