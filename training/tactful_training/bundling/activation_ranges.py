"""The ranges of activations on training replies, for static quantisation."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper

from tactful.reading.decisions import Floats
from tactful.reading.encoding import Batch, ReplyEncoding
from tactful.reading.passes import run_rows
from tactful.reading.processor import available_cpus
from tactful.reading.session import INPUTS
from tactful.reading.stream import Pair
from tactful.reading.tasks import Tasks
from tactful_training.bundling.quantisation import Range, product_inputs

_PORTION = 512  # tokens


def activation_ranges(
    model: onnx.ModelProto,
    pairs: Sequence[Pair],
    encoding: ReplyEncoding,
    tasks: Tasks,
    *,
    keep_fp32: Collection[str] = (),
) -> dict[str, Range]:
    """The least and the greatest value of each product's input, each the mean over some 512 tokens.

    Means, since the very largest value is several times as large as those of most batches, and
    would take the steps of the scale away from them; cutting off more than that costs quality,
    for a few large channels carry much of what these encoders know.

    Args:
        model: the fp32 graph; not changed.
        pairs: (reply, context), of the training split.
        encoding: how they are read.
        tasks: the tasks of the label axis.
        keep_fp32: as for `quantise`.
    """
    names = product_inputs(model, keep_fp32)
    probed = onnx.ModelProto()
    probed.CopyFrom(model)
    outputs = [output.name for output in model.graph.output]
    probed.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = available_cpus()
    session = onnxruntime.InferenceSession(
        probed.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    ends: list[NDArray[np.float64]] = []  # of each batch: [names, 2]
    tokens: list[int] = []

    def forward(batch: Batch) -> tuple[Floats, Floats]:
        feed = {name: getattr(batch, name) for name in INPUTS}
        logits, token_scores, *values = session.run([*outputs, *names], feed)
        ends.append(np.array([(value.min(), value.max()) for value in values]))
        tokens.append(batch.input_ids.size)
        return logits, token_scores

    run_rows(encoding.encode(pairs), encoding, forward, tasks)
    # Batches are of all sizes, and extremes grow with the size: only like sizes have a mean.
    portions = np.cumsum(tokens) // _PORTION
    starts = np.flatnonzero(np.diff(portions, prepend=-1))
    low = np.minimum.reduceat([each[:, 0] for each in ends], starts).mean(axis=0)
    high = np.maximum.reduceat([each[:, 1] for each in ends], starts).mean(axis=0)
    return dict(zip(names, zip(low.tolist(), high.tolist(), strict=True), strict=True))
