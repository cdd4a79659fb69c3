"""Neurons with very large weights become several, each with its share (outlier channel splitting).

Weights have one scale for each output, so one weight that is hundreds of times as large as the
others of its output leaves these hardly a step. BERT-like encoders have such weights: a single
neuron of a feed-forward layer holds one or two channels of the residual stream up (Kovaleva et al.
2021; "massive activations", Sun et al. 2024). If it is there ``n`` times and its weights are
divided by ``n``, the sum is the same (Zhao et al. 2019), at the price of ``n - 1`` more neurons.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, numpy_helper

from tactful.reading.decisions import Floats
from tactful_training.bundling.quantisation import Graph

MOST = 96
"""Copies may be one of so many neurons at most: 16 of 1,536, what they cost is not measurable.

In the default model half of them halve the errors of weights, twice as many bring nothing more.
"""
LARGE = 16.0
"""A weight of so many standard deviations of its output's others is an outlier."""
_ACTIVATIONS = {"Gelu", "FastGelu", "QuickGelu", "Relu", "Tanh"}
_OF_MEDIAN = 1.4826  # standard deviation of normal values over the median of their sizes


@dataclass(frozen=True)
class _Neurons:
    """What is between two products and has one number for each neuron.

    Attributes:
        ingoing: the product that makes them.
        vectors: names of the constants that are added or multiplied on the way.
    """

    ingoing: NodeProto
    vectors: list[str]


def split_outliers(model: onnx.ModelProto, *, keep_fp32: Collection[str] = ()) -> onnx.ModelProto:
    """Split the neurons whose outgoing weights are outliers; the graph computes the same.

    Args:
        model: fp32, fused; not changed.
        keep_fp32: as for `quantise`; weights of such products stay as they are.
    """
    split = onnx.ModelProto()
    split.CopyFrom(model)
    graph = Graph(split)
    makers = {name: node for node in split.graph.node for name in node.output}
    for output in split.graph.output:  # what leaves the graph keeps its shape
        makers.pop(output.name, None)
    for node in split.graph.node:
        if not graph.is_product(node, keep_fp32):
            continue
        neurons = _neurons(node, graph, makers)
        outgoing = graph.constants[node.input[1]]
        if neurons is None or len(graph.users[outgoing.name]) != 1:
            continue
        weights = numpy_helper.to_array(outgoing)
        copies = _copies(weights)
        if copies.max(initial=1) == 1:
            continue
        kept = _order(copies)
        shares = (weights / copies[:, None]).astype(np.float32)[kept]
        outgoing.CopyFrom(numpy_helper.from_array(shares, outgoing.name))
        for name in (neurons.ingoing.input[1], *neurons.vectors):
            values = numpy_helper.to_array(graph.constants[name])[..., kept]
            graph.constants[name].CopyFrom(numpy_helper.from_array(values, name))
    return split


def _neurons(product: NodeProto, graph: Graph, makers: dict[str, NodeProto]) -> _Neurons | None:
    """What leads to a product, back to the one before it; None where neurons cannot be copied."""
    vectors: list[str] = []
    width = [graph.constants[product.input[1]].dims[0]]
    user, name = product, product.input[0]
    while (maker := makers.get(name)) is not None:
        if graph.users[name] != [user]:
            return None
        constants = [each for each in maker.input if each in graph.constants]
        if any(len(graph.users[each]) != 1 for each in constants):
            return None
        if maker.op_type == "MatMul":
            return _Neurons(maker, vectors) if constants == [maker.input[1]] else None
        if maker.op_type in ("Add", "Mul") and len(constants) == 1:
            if list(graph.constants[constants[0]].dims) != width:
                return None
            vectors += constants
        elif maker.op_type not in _ACTIVATIONS or len(maker.input) != 1:
            return None
        [before] = [each for each in maker.input if each not in graph.constants]
        user, name = maker, before
    return None


def _order(copies: NDArray[np.int64]) -> NDArray[np.int64]:
    """The neurons in their new order, each as often as it is to be there.

    Its copies are far apart: without VNNI the products of two neighbours are added in 16 bits,
    which have no room for those of two copies.
    """
    neurons = np.repeat(np.arange(len(copies)), copies)
    nth = np.arange(len(neurons)) - np.repeat(np.cumsum(copies) - copies, copies)
    places = (neurons + nth * len(copies) / copies[neurons]) % len(copies)
    return neurons[np.argsort(places, kind="stable")]


def _copies(weights: Floats) -> NDArray[np.int64]:
    """How often each neuron is to be there, ``[D]``.

    Args:
        weights: outgoing, ``[D, outputs]``.
    """
    sizes = np.abs(weights)
    spread = _OF_MEDIAN * np.median(sizes, axis=0)
    known = spread > 0
    largest = (sizes[:, known] / spread[known]).max(axis=1, initial=0.0)
    copies = np.ones(len(weights), dtype=np.int64)
    for _ in range(len(weights) // MOST):
        worst = int(np.argmax(largest / copies))
        if largest[worst] / copies[worst] < LARGE:
            break
        copies[worst] += 1
    return copies
