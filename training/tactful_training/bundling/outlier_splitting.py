"""Neurons with very large weights become several, each with its share (outlier channel splitting).

Weights have one scale for each output, so one weight that is hundreds of times as large as the
others of its output leaves these hardly a step. BERT-like encoders have such weights: a single
neuron of a feed-forward layer holds one or two channels of the residual stream up (Kovaleva et al.
2021; "massive activations", Sun et al. 2024). If it is there ``n`` times and its weights are
divided by ``n``, the sum is the same (Zhao et al. 2019), at the price of ``n - 1`` more neurons.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto

from tactful.reading.decisions import Floats
from tactful_training.bundling.quantisation import Graph

NEURONS_PER_COPY = 96
"""One copy at most is added for each so many neurons: 16 to 1,536, and none to fewer than 96.

Half as many bring nearly as much in the default model, twice as many no more (docs/performance.md).
"""
LARGE = 16.0
"""A weight of so many standard deviations of its output's others is an outlier."""
_ACTIVATIONS = {"Gelu", "FastGelu", "Relu"}
_OF_MEDIAN = 1.4826  # standard deviation of normal values over the median of their sizes


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
        made_by = _made_by(node, graph, makers)
        weights = graph.value(node.input[1])
        copies = _copies(weights)
        if not made_by or copies.max(initial=1) == 1:
            continue
        kept = _order(copies)
        graph.replace(node, 1, (weights / copies[:, None]).astype(np.float32)[kept])
        for step, index in made_by:
            graph.replace(step, index, graph.value(step.input[index])[..., kept])
    return split


def _made_by(
    product: NodeProto, graph: Graph, makers: dict[str, NodeProto]
) -> list[tuple[NodeProto, int]]:
    """What makes the neurons that a product takes in, back to the product before it.

    Returns:
        Nodes with the index of an input that is a constant with the neurons along its last axis.
        Empty where neurons cannot be copied: others read them, what makes them is not known, or
        layers share their weights (ALBERT) and each would need its own.
    """
    found: list[tuple[NodeProto, int]] = []
    width = [graph.constants[product.input[1]].dims[0]]
    user, name = product, product.input[0]
    while (maker := makers.get(name)) is not None and graph.users[name] == [user]:
        constants = [i for i, each in enumerate(maker.input) if each in graph.constants]
        if maker.op_type == "MatMul":
            weights = [each.input[1] for each in (maker, product)]
            own = all(len(graph.users[each]) == 1 for each in weights)
            return [*found, (maker, 1)] if constants == [1] and own else []
        if maker.op_type in ("Add", "Mul") and len(constants) == 1:
            [index] = constants
            if list(graph.constants[maker.input[index]].dims) != width:
                break
            found.append((maker, index))
            user, name = maker, maker.input[1 - index]
        elif maker.op_type in _ACTIVATIONS and len(maker.input) == 1:
            user, name = maker, maker.input[0]
        else:
            break
    return []


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
    for _ in range(len(weights) // NEURONS_PER_COPY):
        worst = int(np.argmax(largest / copies))
        if largest[worst] / copies[worst] < LARGE:
            break
        copies[worst] += 1
    return copies
