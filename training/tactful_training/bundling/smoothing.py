"""Activations with a few large channels become even ones, and their weights uneven (SmoothQuant).

A product ``x W`` is the same as ``(x / s) (s W)`` with a factor for each channel of ``x`` (Xiao et
al. 2023). Whole steps of one width hold ``x / s`` more closely where its channels are of like size.
The factors are powers of the channels' sizes, whatever the weights are (AWQ, Lin et al. 2024).

Where ``x`` comes out of attention, the values' weights are divided and nothing is left to do. Where
it comes out of a layer norm, that norm's own weights are divided, and the sum beside the products,
which needs ``x`` as it was, multiplies again. Anything else, as what comes out of a GELU, is
multiplied itself. A multiplication is spent only on what is uneven enough.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, helper, numpy_helper

from tactful.reading.decisions import Floats
from tactful_training.bundling.quantisation import Graph

STRENGTH = 0.65
"""Power of a channel's size that it is divided by: 0 leaves all to activations, 1 to weights.

Of the inputs of products of the default model those that are uneven lose least between 0.6 and 0.7
(docs/performance.md).
"""
UNEVEN = 3.7
"""How many times the middle channel the largest one must be for a multiplication of its own.

In the default model these are what layer norms give (4.1 to 19 times) and the inputs of the second
products of the lower four feed-forward layers (10 to 19 times). Those of the upper two (3.1 to 3.3)
lose little by rounding.
"""
# Of the largest channel: what calibration replies left silent may speak one day, and must not be
# multiplied without bounds then.
_LEAST = 1e-3
_VALUE = 2  # among the inputs of attention: query, key, value, bias
_BIAS = 3


def smooth(
    model: onnx.ModelProto,
    largest: Mapping[str, Floats],
    *,
    strength: float = STRENGTH,
    keep_fp32: Collection[str] = (),
) -> onnx.ModelProto:
    """Even out the inputs of a graph's products; it computes the same.

    Args:
        model: fp32, fused; not changed.
        largest: name of each product's input to the greatest absolute value of each channel
            ``[D]``.
        strength: see `STRENGTH`.
        keep_fp32: as for `quantise`.
    """
    return _Smoother(model, strength, keep_fp32).run(largest)


class _Smoother:
    def __init__(self, model: onnx.ModelProto, strength: float, keep_fp32: Collection[str]) -> None:
        self._model = onnx.ModelProto()
        self._model.CopyFrom(model)
        self._graph = Graph(self._model)
        self._makers = {name: node for node in self._model.graph.node for name in node.output}
        self._strength, self._keep = strength, keep_fp32

    def run(self, largest: Mapping[str, Floats]) -> onnx.ModelProto:
        for name, channels in largest.items():
            maker = self._makers.get(name)
            products = [
                node
                for node in self._graph.users.get(name, [])
                if self._graph.is_product(node, self._keep) and node.input[0] == name
            ]
            if maker is None or not products or not channels.any():
                continue
            factors = self._factors(channels)
            others = [
                node
                for node in self._graph.users[name]
                if not any(node is product for product in products)
            ]
            uneven = bool(channels.max() > UNEVEN * np.median(channels))
            attends = not others and maker.op_type == "MultiHeadAttention"
            if attends and (made := self._values(maker)):
                self._divide_values(maker, made, factors)
            elif (uneven or not others) and _is_whole_norm(maker):
                self._divide_norm(maker, others, factors)
            elif uneven:
                self._multiply(name, np.float32(1) / factors, products, f"{name}/even")
            else:
                continue
            for node in products:
                self._scale(node, 1, factors[:, None])
        return self._model

    def _factors(self, channels: Floats) -> Floats:
        """What each channel is divided by."""
        factors = np.maximum(channels, _LEAST * channels.max()) ** self._strength
        # Only the relation matters: their geometric mean is 1, so that nothing overflows.
        even: Floats = (factors / np.exp(np.log(factors).mean())).astype(np.float32)
        return even

    def _divide_norm(self, norm: NodeProto, others: list[NodeProto], factors: Floats) -> None:
        name = norm.output[0]
        for index in (1, 2):
            self._scale(norm, index, 1 / factors)
        if others:
            self._multiply(name, factors, others, f"{name}/whole")

    def _multiply(self, name: str, factors: Floats, users: list[NodeProto], result: str) -> None:
        """Let some users of a value take it multiplied."""
        constant = f"{result}/factors"
        self._model.graph.initializer.append(numpy_helper.from_array(factors, constant))
        for node in users:
            for index, given in enumerate(node.input):
                if given == name:
                    node.input[index] = result
        made_by = [name in node.output for node in self._model.graph.node]
        multiply = helper.make_node("Mul", [name, constant], [result], f"{result}/Mul")
        self._model.graph.node.insert(made_by.index(True) + 1, multiply)

    def _values(self, attention: NodeProto) -> NodeProto | None:
        """The product behind the values of attention, where nothing else uses them."""
        made = self._makers.get(attention.input[_VALUE])
        if made is None or made.op_type != "MatMul" or len(self._graph.users[made.output[0]]) != 1:
            return None
        constants = self._graph.constants
        biased = len(attention.input) > _BIAS and attention.input[_BIAS] in constants
        return made if biased and made.input[1] in constants else None

    def _divide_values(self, attention: NodeProto, made: NodeProto, factors: Floats) -> None:
        self._scale(made, 1, 1 / factors[None, :])
        kept = np.ones(2 * len(factors), dtype=np.float32)  # of queries and keys
        self._scale(attention, _BIAS, np.concatenate([kept, 1 / factors]))

    def _scale(self, node: NodeProto, index: int, factors: NDArray[Any]) -> None:
        """Scale a constant that a node takes in."""
        scaled = self._graph.value(node.input[index]) * factors
        self._graph.replace(node, index, scaled.astype(np.float32))


def _is_whole_norm(node: NodeProto) -> bool:
    """Whether this is a layer norm with weights and a bias."""
    return node.op_type == "LayerNormalization" and len(node.input) == 3
