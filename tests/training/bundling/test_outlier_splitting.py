"""A neuron with very large weights becomes several; where it cannot, the graph stays as it is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from tactful_training.bundling.outlier_splitting import LARGE, MOST, split_outliers
from tactful_training.bundling.quantisation import quantise

NEURONS, WIDTH = 4 * MOST, 128


def feed_forward(outlier: float = 500.0, activation: str = "Gelu") -> onnx.ModelProto:
    """Two products with an activation between; one neuron has one weight that is very large."""
    random = np.random.default_rng(5)
    weights = random.normal(size=(NEURONS, WIDTH))
    weights[7, 3] = outlier
    constants = {
        "into": random.normal(size=(WIDTH, NEURONS)) / 8,
        "bias": random.normal(size=NEURONS),
        "even": random.uniform(0.5, 2, NEURONS),
        "out_of": weights,
        "last": random.normal(size=WIDTH),
    }
    domain = "com.microsoft" if activation == "Gelu" else ""
    nodes = [
        helper.make_node("MatMul", ["x", "into"], ["first"], "layer.0/intermediate"),
        helper.make_node("Add", ["bias", "first"], ["added"]),
        helper.make_node(activation, ["added"], ["active"], domain=domain),
        helper.make_node("Mul", ["active", "even"], ["hidden"]),
        helper.make_node("MatMul", ["hidden", "out_of"], ["second"], "layer.0/output"),
        helper.make_node("Add", ["second", "last"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "feed-forward",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["T", WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["T", WIDTH])],
        [numpy_helper.from_array(value.astype(np.float32), n) for n, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {"x": x})[0]


def tokens(count: int = 200) -> np.ndarray:
    return np.random.default_rng(3).normal(size=(count, WIDTH)).astype(np.float32)


def constant(model: onnx.ModelProto, name: str) -> np.ndarray:
    [tensor] = [each for each in model.graph.initializer if each.name == name]
    return numpy_helper.to_array(tensor)


@pytest.mark.parametrize("activation", ["Gelu", "Relu"])
def test_a_split_graph_computes_the_same_and_its_weights_round_less(activation: str) -> None:
    model, x = feed_forward(activation=activation), tokens()
    before = model.SerializeToString()
    split = split_outliers(model)
    assert model.SerializeToString() == before
    exact = run(model, x)
    np.testing.assert_allclose(run(split, x), exact, rtol=1e-3, atol=1e-3)
    copies = NEURONS // MOST + 1
    assert constant(split, "out_of").shape == (NEURONS + copies - 1, WIDTH)
    assert np.abs(constant(split, "out_of")).max() == pytest.approx(500 / copies)

    def error(form: onnx.ModelProto) -> float:
        """Of the channel with the large weight, by rounded weights alone."""
        rounded = onnx.ModelProto()
        rounded.CopyFrom(form)
        [tensor] = [each for each in rounded.graph.initializer if each.name == "out_of"]
        weights = numpy_helper.to_array(tensor)
        scale = np.abs(weights).max(axis=0) / 127
        whole = (np.rint(weights / scale) * scale).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(whole, "out_of"))
        return float(np.linalg.norm(run(rounded, x)[:, 3] - exact[:, 3]))

    assert error(split) < error(model) / 3
    # The quantiser takes the wider products as it takes others.
    assert np.isfinite(run(quantise(split, bits=7), x)).all()


def test_copies_are_far_from_each_other() -> None:
    """Processors without VNNI add the products of two neighbours in 16 bits."""
    weights = constant(split_outliers(feed_forward()), "out_of")
    places = np.flatnonzero(np.abs(weights[:, 3]) > LARGE)
    assert len(places) == NEURONS // MOST + 1
    assert np.diff(places).min() > MOST // 2


def _reads(model: onnx.ModelProto, name: str) -> None:
    """Somebody else reads a value, too."""
    model.graph.node.append(helper.make_node("Neg", [name], ["more"]))
    model.graph.output.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, None))


def _leaves(model: onnx.ModelProto, name: str) -> None:
    model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))


@pytest.mark.parametrize(
    "change",
    [
        lambda model: _reads(model, "active"),
        lambda model: _leaves(model, "hidden"),
        lambda model: _reads(model, "bias"),
        lambda model: _reads(model, "out_of"),
        lambda model: model.graph.node[2].CopyFrom(
            helper.make_node("Softmax", ["added"], ["active"])
        ),
    ],
    ids=["read twice", "an output", "a shared vector", "shared weights", "no neurons"],
)
def test_what_others_read_or_mixes_neurons_stays_as_it_is(
    change: Callable[[onnx.ModelProto], None],
) -> None:
    model = feed_forward()
    change(model)
    assert split_outliers(model) == model


def test_even_weights_and_products_in_fp32_stay_as_they_are() -> None:
    even = feed_forward(outlier=LARGE - 2)
    assert split_outliers(even) == even
    model = feed_forward()
    assert split_outliers(model, keep_fp32=["layer.0/output"]) == model
    # Where only the product before stays in fp32 its neurons can be copied all the same.
    assert split_outliers(model, keep_fp32=["intermediate"]) != model
    silent = feed_forward(outlier=0)
    [weights] = [each for each in silent.graph.initializer if each.name == "out_of"]
    zeros = np.zeros((NEURONS, WIDTH), np.float32)
    weights.CopyFrom(numpy_helper.from_array(zeros, "out_of"))
    assert split_outliers(silent) == silent
