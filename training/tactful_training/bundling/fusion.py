"""Fused operators in an exported graph; attention that is masked only where there is padding."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import onnx
import transformers
from onnx import NodeProto, TensorProto, helper
from onnxruntime.transformers.fusion_options import FusionOptions
from onnxruntime.transformers.onnx_model_bert import BertOnnxModel

CONTRIB = "com.microsoft"
"""The domain of onnxruntime's own operators."""
_LOGGERS = ("onnxruntime.transformers", "fusion_base", "onnx_model", "")


@dataclass(frozen=True)
class Fused:
    """A graph after fusion.

    Attributes:
        model: the graph.
        operators: fused operator to how often it stands in the graph; only those that do.
    """

    model: onnx.ModelProto
    operators: dict[str, int]


def fuse(content: bytes, encoder: transformers.PreTrainedConfig, *, every: bool) -> Fused:
    """Replace stretches of plain operations by operators that compute them in one go.

    Args:
        content: an exported graph with eager attention.
        encoder: the configuration of its encoder; without heads and width nothing is fused.
        every: all that onnxruntime knows for BERT: embedding + layer norm, attention, bias + GELU,
            skip + layer norm. False: only those whose kernels are faster on a CPU than what they
            replace, attention and GELU (measured in docs/performance.md).
    """
    options = FusionOptions("bert")
    options.use_multi_head_attention = True
    if not every:
        options.enable_embed_layer_norm = False
        options.enable_skip_layer_norm = False
        options.enable_bias_skip_layer_norm = False
        options.enable_bias_gelu = False
    heads = int(getattr(encoder, "num_attention_heads", 0))
    width = int(getattr(encoder, "hidden_size", 0))
    with quiet():
        graph = BertOnnxModel(onnx.load_from_string(content), heads, width)
        graph.optimize(options)
        graph.topological_sort()  # onnxruntime sorts by itself, others refuse what is not sorted
        counts = graph.get_fused_operator_statistics()
    domains = {each.domain for each in graph.model.opset_import}
    if any(node.domain not in domains for node in graph.model.graph.node):
        graph.model.opset_import.append(onnx.helper.make_opsetid(CONTRIB, 1))
    return Fused(graph.model, {name: int(count) for name, count in counts.items() if count})


@contextmanager
def quiet() -> Iterator[None]:
    """Keep onnxruntime's tools, which report each step to the root logger, off the screen."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


_ATTENTION = "MultiHeadAttention"
_MASK_AT = 4  # among its inputs: query, key, value, bias, key_padding_mask
_NO_PADDING = "attention_mask/no_padding"
_LEAST = "attention_mask/least"


def mask_where_needed(model: onnx.ModelProto) -> onnx.ModelProto:
    """Give each masked attention a way without the mask, taken by batches without padding.

    Without a mask onnxruntime runs its flash attention (cf. Dao et al. 2022), which never writes
    the whole table of weights: for one reply a tenth faster in all, more for long ones. The weights
    of the model stand outside of both ways, so that nothing is stored or packed twice.

    Args:
        model: a fused graph with an input ``attention_mask``; changed in place. One without masked
            ``MultiHeadAttention`` stays as it is.
    """
    graph = model.graph
    if not any(_is_masked(node) for node in graph.node):
        return model
    nodes = [
        helper.make_node("ReduceMin", ["attention_mask"], [_LEAST], _LEAST, keepdims=0),
        helper.make_node("Cast", [_LEAST], [_NO_PADDING], _NO_PADDING, to=TensorProto.BOOL),
        *(_either(node) if _is_masked(node) else node for node in graph.node),
    ]
    del graph.node[:]
    graph.node.extend(nodes)
    return model


def _is_masked(node: NodeProto) -> bool:
    masked = len(node.input) > _MASK_AT and bool(node.input[_MASK_AT])
    return node.op_type == _ATTENTION and masked and len(node.output) == 1


def _either(node: NodeProto) -> NodeProto:
    inputs = list(node.input)
    inputs[_MASK_AT] = ""
    return helper.make_node(
        "If",
        [_NO_PADDING],
        node.output,
        f"{node.name}/If",
        then_branch=_branch(node, inputs, "unmasked"),
        else_branch=_branch(node, list(node.input), "masked"),
    )


def _branch(node: NodeProto, inputs: list[str], name: str) -> onnx.GraphProto:
    attention = NodeProto()
    attention.CopyFrom(node)
    del attention.input[:], attention.output[:]
    attention.input.extend(inputs)
    output = f"{node.output[0]}/{name}"
    attention.output.append(output)
    attention.name = f"{node.name}/{name}"
    value = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
    return helper.make_graph([attention], name, [], [value])
