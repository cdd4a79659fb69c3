"""The ranges of activations on training replies, for static quantisation."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from tactful.batching import Pair
from tactful.cpu import available_cpus
from tactful.decisions import Floats
from tactful.encoding import Batch, ReplyEncoding
from tactful.inference import run_rows
from tactful.session import INPUTS
from tactful.tasks import Tasks
from tactful_training.candidates.quantise import Range, product_inputs


def activation_ranges(
    model: onnx.ModelProto,
    pairs: Sequence[Pair],
    encoding: ReplyEncoding,
    tasks: Tasks,
    *,
    keep_fp32: Collection[str] = (),
) -> dict[str, Range]:
    """The least and the greatest value of each product's input, each the mean over batches.

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
    ends: dict[str, list[Range]] = {name: [] for name in names}

    def forward(batch: Batch) -> tuple[Floats, Floats]:
        feed = {name: getattr(batch, name) for name in INPUTS}
        logits, token_scores, *values = session.run([*outputs, *names], feed)
        present = batch.attention_mask.astype(bool)
        for name, value in zip(names, values, strict=True):
            some = value[present] if value.shape[:2] == present.shape else value
            ends[name].append((float(some.min()), float(some.max())))
        return logits, token_scores

    run_rows(encoding.encode(pairs), encoding, forward, tasks)
    means = {name: np.mean(some, axis=0) for name, some in ends.items()}
    return {name: (float(low), float(high)) for name, (low, high) in means.items()}
