"""A neuron with very large weights becomes several; where it cannot, the graph stays as it is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from tactful_training.bundling.outlier_splitting import LARGE, NEURONS_PER_COPY, split_outliers

COPIES, WIDTH = 4, 128
NEURONS = COPIES * NEURONS_PER_COPY


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


def run_all(model: onnx.ModelProto, x: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {"x": x})


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    return run_all(model, x)[0]


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
    assert constant(split, "out_of").shape == (NEURONS + COPIES, WIDTH)
    assert np.abs(constant(split, "out_of")).max() == pytest.approx(500 / (COPIES + 1))

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


def test_copies_are_far_from_each_other() -> None:
    """Processors without VNNI add the products of two neighbours in 16 bits."""
    weights = constant(split_outliers(feed_forward()), "out_of")
    places = np.flatnonzero(np.abs(weights[:, 3]) > LARGE)
    assert len(places) == COPIES + 1
    assert np.diff(places).min() > NEURONS_PER_COPY // 2


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
        lambda model: _reads(model, "into"),
        lambda model: _reads(model, "out_of"),
        lambda model: model.graph.node[2].CopyFrom(
            helper.make_node("Softmax", ["added"], ["active"])
        ),
        lambda model: model.graph.node[2].CopyFrom(
            helper.make_node("FastGelu", ["added", "bias"], ["active"], domain="com.microsoft")
        ),
        lambda model: model.graph.initializer[2].CopyFrom(
            numpy_helper.from_array(np.ones(1, np.float32), "even")
        ),
    ],
    ids=[
        *("read twice", "an output", "shared weights before", "shared weights", "no neurons"),
        *("a bias within", "a vector of another length"),
    ],
)
def test_what_others_read_or_mixes_neurons_stays_as_it_is(
    change: Callable[[onnx.ModelProto], None],
) -> None:
    model = feed_forward()
    change(model)
    assert split_outliers(model) == model


def test_a_vector_that_others_take_stays_as_it_is_for_them() -> None:
    model, x = feed_forward(), tokens()
    _reads(model, "bias")
    split = split_outliers(model)
    assert constant(split, "out_of").shape == (NEURONS + COPIES, WIDTH)
    for ours, theirs in zip(run_all(split, x), run_all(model, x), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)


def test_neurons_share_the_copies_by_their_outliers() -> None:
    model = feed_forward()
    [weights] = [each for each in model.graph.initializer if each.name == "out_of"]
    values = numpy_helper.to_array(weights).copy()
    values[[8, 9], 3] = 240, 120
    # As many as would make a mean of sizes blind.
    values[20:40, 5] = 17
    weights.CopyFrom(numpy_helper.from_array(values, "out_of"))
    split = constant(split_outliers(model), "out_of")
    largest = np.sort(split[:, 3])[::-1]
    # Of 500, 240 and 120 the largest share is divided, one copy after the other.
    assert largest[: COPIES + 3].tolist() == pytest.approx([500 / 4] * 4 + [120] * 3)


def test_even_weights_and_products_in_fp32_stay_as_they_are() -> None:
    even = feed_forward(outlier=LARGE - 2)
    assert split_outliers(even) == even
    model = feed_forward()
    assert split_outliers(model, keep_fp32=["layer.0/output"]) == model
    # Where only the product before stays in fp32 its neurons are copied all the same.
    before = split_outliers(model, keep_fp32=["intermediate"])
    assert constant(before, "into").shape == (WIDTH, NEURONS + COPIES)
    silent = feed_forward(outlier=0)
    [weights] = [each for each in silent.graph.initializer if each.name == "out_of"]
    zeros = np.zeros((NEURONS, WIDTH), np.float32)
    weights.CopyFrom(numpy_helper.from_array(zeros, "out_of"))
    assert split_outliers(silent) == silent
