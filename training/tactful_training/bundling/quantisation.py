"""int8 products and embeddings, in the operators that onnxruntime runs fastest on a CPU.

Weights are symmetric int8 with a scale for each output column; activations are uint8 with a zero
point, since ``u8 x s8`` is what processors have instructions for (VNNI). A product becomes one
``MatMulIntegerToFloat``, which scales back and adds the bias in the same pass. Activations get
their range from the batch itself (dynamic; Jacob et al. 2018) or from training replies (static: no
pass over the values for a minimum and maximum, and the replies that share a batch do not share a
range).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from tactful.reading.decisions import Floats
from tactful_training.bundling.fusion import CONTRIB
from tactful_training.bundling.weight_rounding import round_in_turn

Range = tuple[float, float]

# A smaller product costs less than turning its input into integers; the heads are such products.
_LEAST_COLUMNS = 64
# A table of fewer numbers saves nothing worth the trouble. That of positions is larger: whole steps
# move the logits of the default model by less than a thousandth.
_LEAST_TABLE = 1 << 17
_UINT8_STEPS = 255


def quantise(
    model: onnx.ModelProto,
    *,
    ranges: Mapping[str, Range] | None = None,
    means: Mapping[str, tuple[Floats, Floats]] | None = None,
    moments: Mapping[str, NDArray[np.float64]] | None = None,
    bits: int = 8,
    keep_fp32: Collection[str] = (),
) -> onnx.ModelProto:
    """Quantise the large products and embedding tables of a graph.

    Args:
        model: fp32; not changed.
        ranges: name of each product's input to its least and greatest value; None: dynamic.
        means: name of each product's input to the mean of its channels ``[D]``, before and after it
            became whole steps; then the mean error of each product is taken off by its bias
            (bias correction, Nagel et al. 2019).
        moments: name of each product's input to how its channels vary together ``[D, D]``; then
            weights are rounded in turn (`tactful_training.bundling.weight_rounding`), else to the
            nearest step.
        bits: of the weights; 7 keeps sums of two products within int16, which processors without
            VNNI saturate at.
        keep_fp32: a product whose node name contains one of these stays as it is.
    """
    largest = 2 ** (bits - 1) - 1
    return _Quantiser(model, ranges, means or {}, moments or {}, largest, keep_fp32).run()


def product_inputs(model: onnx.ModelProto, keep_fp32: Collection[str] = ()) -> list[str]:
    """Names of the inputs of all products that `quantise` would replace, each once."""
    graph = Graph(model)
    names = [node.input[0] for node in model.graph.node if graph.is_product(node, keep_fp32)]
    return list(dict.fromkeys(names))


def as_steps(values: Floats, ends: Range) -> Floats:
    """What is left of activations after they became uint8 steps of a static range."""
    scale, zero = _scale(ends)
    steps = (np.rint(values / np.float32(scale)) + zero).clip(0, _UINT8_STEPS)
    rounded: Floats = (steps - zero) * np.float32(scale)
    return rounded


def _scale(ends: Range) -> tuple[float, int]:
    """Scale and zero point of uint8 steps."""
    low, high = min(ends[0], 0.0), max(ends[1], 0.0)
    scale = (high - low) / _UINT8_STEPS or 1.0
    return scale, round(-low / scale)


class Graph:
    """The constants of a graph, and who uses each value."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self.users: dict[str, list[NodeProto]] = {}
        for node in model.graph.node:
            for name in node.input:
                self.users.setdefault(name, []).append(node)

    def value(self, name: str) -> NDArray[np.float32]:
        """The numbers of a constant."""
        return numpy_helper.to_array(self.constants[name])

    def replace(self, node: NodeProto, index: int, values: NDArray[np.float32]) -> None:
        """Let a node take in other numbers for a constant; whoever else takes it keeps the old."""
        name = node.input[index]
        if len(self.users[name]) == 1:
            self.constants[name].CopyFrom(numpy_helper.from_array(values, name))
            return
        own = f"{node.output[0]}/{index}/own"
        tensor = self._model.graph.initializer.add()
        tensor.CopyFrom(numpy_helper.from_array(values, own))
        self.users[name] = [each for each in self.users[name] if each is not node]
        self.users[own], self.constants[own] = [node], tensor
        node.input[index] = own

    def is_product(self, node: NodeProto, keep_fp32: Collection[str]) -> bool:
        """Whether `quantise` replaces this product."""
        weights = self.constants.get(node.input[1]) if node.op_type == "MatMul" else None
        return (
            weights is not None
            and len(weights.dims) == 2
            and weights.dims[1] >= _LEAST_COLUMNS
            and not any(part in node.name for part in keep_fp32)
        )

    def is_table(self, node: NodeProto) -> bool:
        """Whether this looks rows of a large table up."""
        table = self.constants.get(node.input[0]) if node.op_type == "Gather" else None
        return (
            table is not None
            and table.data_type == TensorProto.FLOAT
            and len(table.dims) == 2
            and table.dims[0] * table.dims[1] >= _LEAST_TABLE
        )

    def bias_after(self, node: NodeProto) -> tuple[NodeProto, str] | None:
        """The addition of a constant vector that is all that a product is used for."""
        users = self.users.get(node.output[0], [])
        if len(users) != 1 or users[0].op_type != "Add":
            return None
        [other] = [name for name in users[0].input if name != node.output[0]] or [""]
        vector = self.constants.get(other)
        columns = self.constants[node.input[1]].dims[1]
        return (users[0], other) if vector is not None and vector.dims == [columns] else None


class _Quantiser:
    def __init__(
        self,
        model: onnx.ModelProto,
        ranges: Mapping[str, Range] | None,
        means: Mapping[str, tuple[Floats, Floats]],
        moments: Mapping[str, NDArray[np.float64]],
        largest: int,
        keep_fp32: Collection[str],
    ) -> None:
        self._source, self._graph = model, Graph(model)
        self._ranges, self._means, self._moments = ranges, means, moments
        self._largest, self._keep = largest, keep_fp32
        self._nodes: list[NodeProto] = []
        self._constants: dict[str, TensorProto] = {}
        self._done: set[str] = set()

    def run(self) -> onnx.ModelProto:
        skipped: set[str] = set()  # outputs of additions that went into a product
        for node in self._source.graph.node:
            if self._graph.is_product(node, self._keep):
                skipped |= self._product(node)
            elif self._graph.is_table(node):
                self._table(node)
            elif node.output[0] not in skipped:
                self._nodes.append(node)
        quantised = onnx.ModelProto()
        quantised.CopyFrom(self._source)
        graph = quantised.graph
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        graph.node.extend(self._nodes)
        used = Counter(name for node in self._nodes for name in node.input)
        constants = {**self._graph.constants, **self._constants}
        graph.initializer.extend(tensor for name, tensor in constants.items() if used[name])
        if CONTRIB not in {domain.domain for domain in quantised.opset_import}:
            quantised.opset_import.append(helper.make_opsetid(CONTRIB, 1))
        return quantised

    def _product(self, node: NodeProto) -> set[str]:
        values, weights = node.input
        self._activation(values)
        self._weights(weights, axis=0, largest=self._largest)
        output, bias, skipped = node.output[0], "", set[str]()
        if found := self._graph.bias_after(node):
            addition, bias = found
            output = addition.output[0]
            skipped = {output}
        if values in self._means:
            bias = self._corrected(node, bias)
        self._add(
            "MatMulIntegerToFloat",
            [
                *(f"{values}/q", f"{weights}/q", f"{values}/scale", f"{weights}/scale"),
                *(f"{values}/zero", "", bias),
            ],
            [output],
            domain=CONTRIB,
        )
        return skipped

    def _corrected(self, node: NodeProto, bias: str) -> str:
        """A bias that takes off the mean error of a product of whole steps."""
        values, weights = node.input
        exact, rounded = self._means[values]
        steps, scale = (self._constants[f"{weights}/{part}"] for part in ("q", "scale"))
        columns = numpy_helper.to_array(steps).astype(np.float32) * numpy_helper.to_array(scale)
        error = rounded @ columns - exact @ self._graph.value(weights)
        corrected = -error
        if bias:
            corrected = corrected + self._graph.value(bias)
        # Not after its weights: other products may share them, and read other values.
        name = f"{node.output[0]}/bias"
        self._constant(name, corrected.astype(np.float32))
        return name

    def _activation(self, name: str) -> None:
        if name in self._done:
            return
        self._done.add(name)
        outputs = [f"{name}/q", f"{name}/scale", f"{name}/zero"]
        if self._ranges is None:
            self._add("DynamicQuantizeLinear", [name], outputs)
            return
        scale, zero = _scale(self._ranges[name])
        self._constant(outputs[1], np.float32(scale))
        self._constant(outputs[2], np.uint8(zero))
        self._add("QuantizeLinear", [name, *outputs[1:]], outputs[:1])

    def _table(self, node: NodeProto) -> None:
        """A scale for each row, so that a rare token's small vector keeps its digits."""
        table, indices = node.input
        self._weights(table, axis=1, largest=127)
        output = node.output[0]
        self._add("Gather", [f"{table}/q", indices], [f"{output}/row"])
        self._add("Cast", [f"{output}/row"], [f"{output}/steps"], to=TensorProto.FLOAT)
        self._add("Gather", [f"{table}/scale", indices], [f"{output}/row_scale"])
        self._add("Mul", [f"{output}/steps", f"{output}/row_scale"], [output])

    def _moments_of(self, weights: str) -> NDArray[np.float64] | None:
        """The sum over the inputs of all products that share weights; None where none are given."""
        if not self._moments:
            return None
        products = [
            node for node in self._graph.users[weights] if self._graph.is_product(node, self._keep)
        ]
        total: NDArray[np.float64] = np.sum(
            [self._moments[node.input[0]] for node in products], axis=0
        )
        return total

    def _weights(self, name: str, *, axis: int, largest: int) -> None:
        if name in self._done:
            return
        self._done.add(name)
        values = self._graph.value(name)
        scale = np.abs(values).max(axis=axis, keepdims=True) / largest
        scale[scale == 0] = 1
        moments = self._moments_of(name) if axis == 0 else None  # a table is not multiplied
        if moments is None:
            steps = np.clip(np.rint(values / scale), -largest, largest).astype(np.int8)
        else:
            steps = round_in_turn(values, scale[0], moments, largest)
        self._constant(f"{name}/q", steps)
        self._constant(f"{name}/scale", (scale[0] if axis == 0 else scale).astype(np.float32))

    def _constant(self, name: str, value: NDArray[Any] | np.generic) -> None:
        self._constants[name] = numpy_helper.from_array(np.asarray(value), name)

    def _add(
        self, kind: str, inputs: list[str], outputs: list[str], domain: str = "", **attributes: Any
    ) -> None:
        self._nodes.append(
            helper.make_node(
                kind, inputs, outputs, f"{outputs[0]}/{kind}", domain=domain, **attributes
            )
        )
