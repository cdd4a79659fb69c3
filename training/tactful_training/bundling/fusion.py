"""Fused operators in an exported graph, by `onnxruntime.transformers`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import onnx
import transformers
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
