"""Weights rounded in turn: by the paper's formula, and nearer to the product than each alone."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tactful_training.bundling.quantisation import quantise
from tactful_training.bundling.weight_rounding import round_in_turn

INPUTS, OUTPUTS = 150, 80  # more inputs than a block has, more outputs than a product of the heads


def related_inputs(count: int = 600) -> np.ndarray:
    """Inputs that vary together, some much more than others."""
    random = np.random.default_rng(5)
    mixed = random.normal(size=(count, 40)) @ random.normal(size=(40, INPUTS))
    own = random.normal(size=(count, INPUTS))
    values: np.ndarray = (mixed + own) * random.uniform(0.2, 3, INPUTS)
    return values


def weights_and_scale() -> tuple[np.ndarray, np.ndarray]:
    weights = np.random.default_rng(3).normal(size=(INPUTS, OUTPUTS))
    return weights, np.abs(weights).max(axis=0) / 7


def nearest(weights: np.ndarray, scale: np.ndarray) -> np.ndarray:
    steps: np.ndarray = np.rint(weights / scale).astype(np.int8)
    return steps


def test_it_is_what_the_formula_says() -> None:
    weights, scale = weights_and_scale()
    moments = related_inputs().T @ related_inputs()
    left = weights / scale
    damped = moments + 0.01 * np.trace(moments) / INPUTS * np.eye(INPUTS)
    expected = np.zeros(weights.shape, dtype=int)
    todo = np.argsort(-np.diag(moments)).tolist()
    while todo:
        now = todo[0]
        inverse = np.linalg.inv(damped[np.ix_(todo, todo)])  # of those that are not rounded yet
        expected[now] = np.rint(left[now]).clip(-7, 7)
        error = left[now] - expected[now]
        left[todo] -= np.outer(inverse[:, 0] / inverse[0, 0], error)
        todo.pop(0)
    found = round_in_turn(weights, scale, moments, 7)
    assert found.dtype == np.int8
    # A weight in the middle between two steps may fall to either.
    assert (found == expected).mean() > 0.999
    assert (expected != nearest(weights, scale)).mean() > 0.2


def test_the_product_is_nearer_than_with_the_nearest_steps() -> None:
    weights, scale = weights_and_scale()
    seen, unseen = np.split(related_inputs(1200), 2)
    turn = round_in_turn(weights, scale, seen.T @ seen, 7)
    assert np.abs(turn).max() == 7
    for values in (seen, unseen):
        errors = [
            np.linalg.norm(values @ (steps * scale - weights))
            for steps in (turn, nearest(weights, scale))
        ]
        assert errors[0] < 0.6 * errors[1]


@pytest.mark.parametrize("moments", [np.zeros((INPUTS, INPUTS)), np.diag(np.arange(INPUTS) + 1.0)])
def test_inputs_that_do_not_vary_together_take_the_nearest_steps(moments: np.ndarray) -> None:
    weights, scale = weights_and_scale()
    found = round_in_turn(weights, scale, moments, 7)
    np.testing.assert_array_equal(found, nearest(weights, scale))


def test_products_that_share_weights_share_what_is_known_of_their_inputs() -> None:
    weights = np.random.default_rng(3).normal(size=(INPUTS, OUTPUTS)).astype(np.float32)
    nodes = [helper.make_node("MatMul", [name, "weights"], [f"{name}/y"], name) for name in "ab"]
    graph = helper.make_graph(
        nodes,
        "shared",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["T", INPUTS]) for n in "ab"],
        [helper.make_tensor_value_info(f"{n}/y", TensorProto.FLOAT, ["T", OUTPUTS]) for n in "ab"],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    a, b = (values.T @ values for values in np.split(related_inputs(), [100]))
    ranges = dict.fromkeys("ab", (-9.0, 9.0))
    whole = quantise(model, ranges=ranges, moments={"a": a, "b": b}, bits=4)
    kept = {each.name: numpy_helper.to_array(each) for each in whole.graph.initializer}
    both = round_in_turn(weights, kept["weights/scale"], a + b, 7)
    np.testing.assert_array_equal(kept["weights/q"], both)
    alone = round_in_turn(weights, kept["weights/scale"], a, 7)
    assert (both != alone).any()
    # One that stays in fp32 has no say.
    whole = quantise(model, ranges=ranges, moments={"a": a}, bits=4, keep_fp32=["b"])
    kept = {each.name: numpy_helper.to_array(each) for each in whole.graph.initializer}
    np.testing.assert_array_equal(kept["weights/q"], alone)


def test_inputs_that_are_not_finite_are_refused() -> None:
    weights, scale = weights_and_scale()
    moments = np.eye(INPUTS)
    moments[3, 3] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        round_in_turn(weights, scale, moments, 7)
