from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from random import Random

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from tactful.reading.batches import RowOutput, run_rows
from tactful.reading.decisions import Heads, calibrated_scores, decide
from tactful.reading.processor import instructions
from tactful.reading.session import Session
from tactful_training.bundling.activations import Calibration
from tactful_training.bundling.calibration import calibrate
from tactful_training.bundling.candidates import CandidateBuilder, check_parity
from tactful_training.bundling.fusion import Fused, fuse, mask_where_needed
from tactful_training.bundling.quantisation import as_steps, product_inputs, quantise
from tactful_training.bundling.smoothing import smooth
from tactful_training.config.config_schema import CandidateName, Config
from tactful_training.errors import ExportError
from tactful_training.fitting.model import LabelAttentionModel
from tactful_training.fitting.onnx_export import export_onnx
from tactful_training.fitting.training_inputs import TrainingInputs

LAYERS = 2
# With avx2 alone, sums of two 8-bit products saturate.
SATURATES = instructions() == ("avx2",)


@pytest.fixture(scope="module")
def builder(
    make_config: Callable[..., Config],
    inputs: TrainingInputs,
    model: LabelAttentionModel,
    exported: bytes,
) -> CandidateBuilder:
    pairs = [(row.reply, row.context) for row in inputs.rows["train"]]
    return CandidateBuilder(
        exported,
        model.encoder.config,
        make_config().quantisation,
        pairs,
        inputs.encoding,
        inputs.tasks,
    )


def outputs(content: bytes, inputs: TrainingInputs) -> list[RowOutput]:
    pairs = [(row.reply, row.context) for row in inputs.rows["validation"]]
    encoded = inputs.encoding.encode(pairs)
    return run_rows(encoded, inputs.encoding, Session(content, threads=1), inputs.tasks)


def operators(content: bytes) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load_from_string(content).graph.node)


def ways(content: bytes) -> list[tuple[list[str], list[str]]]:
    """Operators of both ways of each choice in the graph: without and with padding."""
    return [
        tuple([each.op_type for each in attribute.g.node] for attribute in node.attribute[::-1])  # type: ignore[misc]
        for node in onnx.load_from_string(content).graph.node
        if node.op_type == "If"
    ]


def test_onnxruntime_fuses_every_block_of_the_export(
    model: LabelAttentionModel, exported: bytes
) -> None:
    every = fuse(exported, model.encoder.config, every=True)
    assert every.operators == {
        "EmbedLayerNormalization": 1,
        "MultiHeadAttention": LAYERS,
        "BiasGelu": LAYERS,
        "SkipLayerNormalization": 2 * LAYERS,
    }


def test_the_form_that_ships_fuses_attention_and_gelu(
    builder: CandidateBuilder, inputs: TrainingInputs
) -> None:
    assert ways(builder.fp32().content) == [(["MultiHeadAttention"],) * 2] * LAYERS
    counts = operators(builder.fp32().content)
    assert counts["Gelu"] == LAYERS
    assert counts["Erf"] == counts["SkipLayerNormalization"] == counts["BiasGelu"] == 0


def test_fusion_changes_no_result(
    builder: CandidateBuilder, exported: bytes, inputs: TrainingInputs
) -> None:
    parity = check_parity(
        outputs(exported, inputs), outputs(builder.fp32().content, inputs), tolerance=1e-4
    )
    assert parity.rows == len(inputs.rows["validation"])


@pytest.mark.parametrize("name", ["fp32", "int8-static"])
def test_the_graph_is_valid_onnx(builder: CandidateBuilder, name: str) -> None:
    content = (builder.fp32() if name == "fp32" else builder.int8("int8-static")).content
    onnx.checker.check_model(onnx.load_from_string(content))


@pytest.mark.parametrize("name", ["fp32", "int8-static"])
def test_padding_is_seen_by_nothing(
    builder: CandidateBuilder, inputs: TrainingInputs, name: str
) -> None:
    session = Session((builder.fp32() if name == "fp32" else builder.int8("int8-static")).content)
    [encoded] = inputs.encoding.encode([("Sorry about the wait, Ana.", "Where is it?")])
    length = len(encoded.windows[0].input_ids)
    logits, scores = session(inputs.encoding.collate(encoded.windows))
    padded_logits, padded_scores = session(inputs.encoding.collate(encoded.windows, length + 9))
    close = 1e-5 if name == "fp32" else float(np.abs(logits).max()) / 10
    assert padded_logits == pytest.approx(logits, abs=close)
    assert padded_scores[:, :length] == pytest.approx(scores, abs=close)


def test_a_graph_without_fused_attention_stays_as_it_is() -> None:
    before = product()
    assert mask_where_needed(product()) == before


@pytest.fixture(scope="module", params=["int8-static", "int8-dynamic"])
def int8(
    request: pytest.FixtureRequest,
    builder: CandidateBuilder,
    inputs: TrainingInputs,
    make_config: Callable[..., Config],
) -> tuple[Session, Heads]:
    """A quantised form and its thresholds."""
    content = builder.int8(request.param).content
    config = make_config()
    heads = calibrate(
        inputs.rows["validation"],
        outputs(content, inputs),
        inputs.tasks,
        limits=inputs.encoding.limits,
        min_positives=config.calibration.min_positives,
        evidence_tasks=(),
    )
    return Session(content), heads


@settings(max_examples=8, deadline=None)
@given(order=st.randoms(use_true_random=False), budget=st.sampled_from([64, 512]))
def test_int8_decides_in_batches_as_one_by_one(
    int8: tuple[Session, Heads], inputs: TrainingInputs, order: Random, budget: int
) -> None:
    session, heads = int8
    encoded = inputs.encoding.encode(
        [
            (row.reply, row.context)
            for split in ("train", "validation")
            for row in inputs.rows[split]
        ]
    )
    order.shuffle(encoded)
    together = run_rows(encoded, inputs.encoding, session, inputs.tasks, token_budget=budget)
    alone = [
        output
        for row in encoded
        for output in run_rows([row], inputs.encoding, session, inputs.tasks)
    ]
    one, other = (
        decide(calibrated_scores(np.stack([row.logits for row in rows]), heads), heads)
        for rows in (together, alone)
    )
    assert (one == other).mean() >= 0.995


@pytest.mark.parametrize(
    "name",
    [
        "int8-static",
        "int8-dynamic",
        "int8-dynamic-7bit",
        "int8-dynamic-all-fused",
        "int8-dynamic-unfused",
        "int8-dynamic-unsigned",
    ],
)
def test_every_candidate_reads_nearly_as_fp32(
    builder: CandidateBuilder, inputs: TrainingInputs, name: str
) -> None:
    candidate = builder.int8(name)  # type: ignore[arg-type]
    assert candidate.precision == "int8"
    assert (
        sum(operators(candidate.content)[kind] for kind in ("MatMulInteger", "QAttention"))
        or (operators(candidate.content)["MatMulIntegerToFloat"])
    )
    reference = outputs(builder.fp32().content, inputs)
    found = outputs(candidate.content, inputs)
    gaps = np.abs(np.stack([a.logits - b.logits for a, b in zip(reference, found, strict=True)]))
    spread = np.stack([row.logits for row in reference]).std()
    assert 0 < gaps.max() < (spread if SATURATES else spread / 2)
    with pytest.raises(ExportError, match="does not reproduce"):
        check_parity(reference, found, tolerance=1e-6)


def test_a_candidate_that_cannot_be_made_is_named(
    make_config: Callable[..., Config], inputs: TrainingInputs, model: LabelAttentionModel
) -> None:
    broken = CandidateBuilder(
        b"no graph",
        model.encoder.config,
        make_config().quantisation,
        [],
        inputs.encoding,
        inputs.tasks,
    )
    with pytest.raises(ExportError, match="int8-dynamic-unfused cannot be made"):
        broken.int8("int8-dynamic-unfused")


def test_only_the_form_with_static_ranges_has_them_in_the_graph(
    builder: CandidateBuilder, inputs: TrainingInputs
) -> None:
    assert operators(builder.int8("int8-static").content)["DynamicQuantizeLinear"] == 0
    dynamic = operators(builder.int8("int8-dynamic").content)
    assert dynamic["DynamicQuantizeLinear"] > 0
    assert dynamic["QuantizeLinear"] == 0


def test_ranges_hold_the_means_of_what_is_seen(
    builder: CandidateBuilder, inputs: TrainingInputs
) -> None:
    pairs = [(row.reply, row.context) for row in inputs.rows["train"]]
    graph = builder.fused.model
    ranges = Calibration(pairs, inputs.encoding, inputs.tasks).ranges(graph)
    assert list(ranges) == product_inputs(graph)
    assert all(low < 0 < high for low, high in ranges.values())
    # How the replies fall into batches must not matter much: extremes grow with what is looked at.
    fewer = Calibration(pairs[::-1], inputs.encoding, inputs.tasks).ranges(graph)
    assert fewer == {name: pytest.approx(ends, rel=0.1) for name, ends in ranges.items()}
    gelu = [low for name, (low, _) in ranges.items() if "intermediate" in name]
    assert len(gelu) in (0, LAYERS)
    assert all(-0.171 < low < 0 for low in gelu)  # the least value of GELU is -0.17


def test_covariances_are_of_all_tokens_that_are_read(
    builder: CandidateBuilder, inputs: TrainingInputs
) -> None:
    pairs = [(row.reply, row.context) for row in inputs.rows["train"][:40]]
    graph = onnx.ModelProto()
    graph.CopyFrom(builder.fused.model)
    calibration = Calibration(pairs, inputs.encoding, inputs.tasks)
    # Narrow, so that whole steps are not what they were made of.
    ranges = {name: (low / 8, high / 8) for name, (low, high) in calibration.ranges(graph).items()}
    covariances = calibration.covariances(graph, ranges, calibration.means(graph, ranges))
    assert list(covariances) == product_inputs(graph)
    name = product_inputs(graph)[-1]
    graph.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    values = []
    for encoded in inputs.encoding.encode(pairs):
        batch = inputs.encoding.collate(encoded.windows)  # one reply alone: nothing is padded
        feed = {each.name: getattr(batch, each.name) for each in session.get_inputs()}
        values.append(session.run([name], feed)[0].reshape(-1, covariances[name].shape[0]))
    expected = np.cov(as_steps(np.concatenate(values), ranges[name]), rowvar=False, bias=True)
    # A value between two steps may fall to either.
    np.testing.assert_allclose(covariances[name], expected, atol=0.01 * np.abs(expected).max())


def product(columns: int = 96, *, bias: bool = True) -> onnx.ModelProto:
    """Tokens looked up in a table of a million numbers, then a product with a bias."""
    random = np.random.default_rng(5)
    table = random.normal(size=(4096, 256)).astype(np.float32)
    table[7] *= 100
    weights = random.normal(size=(256, columns)).astype(np.float32)
    constants = {"table": table, "weights": weights, "bias": np.arange(columns, dtype=np.float32)}
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["hidden"]),
        helper.make_node("MatMul", ["hidden", "weights"], ["product"], "layer.0/dense"),
    ]
    nodes.append(
        helper.make_node("Add", ["product", "bias"], ["out"])
        if bias
        else helper.make_node("Relu", ["product"], ["out"])
    )
    graph = helper.make_graph(
        nodes,
        "product",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["B", "T"])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["B", "T", columns])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}


def run(model: onnx.ModelProto, ids: list[list[int]]) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {"ids": np.array(ids)})[0]


@pytest.mark.parametrize("bias", [True, False])
def test_a_product_takes_its_bias_along(bias: bool) -> None:
    model = product(bias=bias)
    small = quantise(model, bits=7 if SATURATES else 8)
    assert [node.op_type for node in small.graph.node][-2:] == (
        ["DynamicQuantizeLinear", "MatMulIntegerToFloat"]
        if bias
        else ["MatMulIntegerToFloat", "Relu"]
    )
    ids = [[1, 2, 3], [4, 5, 6]]
    close = 3 if SATURATES else 1.5  # of a spread of 16
    assert run(small, ids) == pytest.approx(run(model, ids), abs=close)
    assert small.ByteSize() < model.ByteSize() / 3.5


def test_a_table_has_a_scale_for_each_row() -> None:
    model = product()
    table, small = constants(model)["table"], constants(quantise(model))
    assert "table" not in small
    restored = small["table/q"] * small["table/scale"]
    steps = np.abs(table).max(axis=1, keepdims=True) / 127
    assert (np.abs(restored - table) <= steps / 2 + 1e-6).all()
    assert small["table/q"].dtype == np.int8


def test_seven_bits_leave_room_for_a_sum_of_two() -> None:
    weights = constants(quantise(product(), bits=7))["weights/q"]
    assert np.abs(weights.astype(int)).max() == 63
    assert np.abs(constants(quantise(product()))["weights/q"].astype(int)).max() == 127


def test_layers_can_be_kept_and_small_products_are() -> None:
    kept = quantise(product(), keep_fp32=["layer.0/"])
    assert [node.op_type for node in kept.graph.node][-2:] == ["MatMul", "Add"]
    assert product_inputs(product(), ["layer.0/"]) == []
    assert product_inputs(product()) == ["hidden"]
    assert product_inputs(product(columns=24)) == []


def test_a_static_range_is_used_as_given() -> None:
    small = constants(quantise(product(), ranges={"hidden": (-2.0, 8.0)}))
    assert small["hidden/scale"] == pytest.approx(10 / 255)
    assert small["hidden/zero"] == 51


def uneven(model: onnx.ModelProto, inputs: TrainingInputs) -> onnx.ModelProto:
    """A few channels of every layer norm much larger than the others, as pretrained ones have."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for tensor in changed.graph.initializer:
        if tensor.name.endswith("LayerNorm.weight"):
            values = numpy_helper.to_array(tensor).copy()
            values[[3, 17]] *= 30
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return changed


def test_a_smooth_graph_computes_the_same_and_rounds_less(
    builder: CandidateBuilder, inputs: TrainingInputs
) -> None:
    graph = uneven(builder.fused.model, inputs)
    pairs = [(row.reply, row.context) for row in inputs.rows["train"][:48]]
    calibration = Calibration(pairs, inputs.encoding, inputs.tasks)
    largest = calibration.largest(graph)
    assert all(channels.max() > 5 * np.median(channels) for channels in largest.values())
    smoothed = smooth(graph, largest)
    assert graph.SerializeToString() == uneven(builder.fused.model, inputs).SerializeToString()
    added = Counter(node.op_type for node in smoothed.graph.node)
    added.subtract(Counter(node.op_type for node in graph.graph.node))
    # Beside each layer norm that a large product reads, for the sum that needs it as it was.
    assert +added == {"Mul": LAYERS}
    reference = outputs(graph.SerializeToString(), inputs)
    check_parity(reference, outputs(smoothed.SerializeToString(), inputs), tolerance=1e-3)
    even = calibration.largest(smoothed)
    spread = [
        np.mean([channels.max() / np.median(channels) for channels in each.values()])
        for each in (largest, even)
    ]
    assert spread[1] < spread[0] / 2

    def error(form: onnx.ModelProto) -> float:
        quantised = quantise(form, ranges=calibration.ranges(form), bits=7 if SATURATES else 8)
        found = outputs(quantised.SerializeToString(), inputs)
        gaps = [a.logits - b.logits for a, b in zip(reference, found, strict=True)]
        return float(np.linalg.norm(gaps))

    assert error(smoothed) < error(graph)


@pytest.mark.parametrize("times", [30, 2])
def test_an_uneven_value_of_any_maker_is_multiplied_itself(times: int) -> None:
    model = product()
    [table] = [tensor for tensor in model.graph.initializer if tensor.name == "table"]
    values = numpy_helper.to_array(table).copy()
    values[:, [3, 17]] *= times
    table.CopyFrom(numpy_helper.from_array(values, "table"))
    ids = np.random.default_rng(3).integers(8, 4096, (1, 400))
    hidden = values[ids][0]
    smoothed = smooth(model, {"hidden": np.abs(hidden).max(axis=0)})
    exact, same = (run(each, ids.tolist()) for each in (model, smoothed))
    np.testing.assert_allclose(same, exact, rtol=1e-3, atol=1e-3)
    if times == 2:  # even enough
        assert smoothed == model
        return
    assert [node.op_type for node in smoothed.graph.node] == ["Gather", "Mul", "MatMul", "Add"]
    [name] = product_inputs(smoothed)
    even = hidden * constants(smoothed)[f"{name}/factors"]
    errors = []
    for form, read, taken in ((model, "hidden", hidden), (smoothed, name, even)):
        ends = float(taken.min()), float(taken.max())
        whole = quantise(form, ranges={read: ends}, bits=7 if SATURATES else 8)
        errors.append(float(np.linalg.norm(run(whole, ids.tolist()) - exact)))
    assert errors[1] < errors[0] / 2


def test_silent_channels_are_no_reason_to_multiply() -> None:
    model = product()
    assert smooth(model, {"hidden": np.zeros(256, dtype=np.float32)}) == model
    channels = np.ones(256, dtype=np.float32)
    channels[:200] = 0  # most of them: the middle one is silent as well
    factors = constants(smooth(model, {"hidden": channels}))["hidden/even/factors"]
    # Should they speak one day, they are a hundred times as large, not many thousand.
    assert factors.max() / factors.min() < 100


def test_a_value_that_others_read_too_is_divided_for_its_products_alone() -> None:
    model = product()
    model.graph.node.append(helper.make_node("MatMul", ["hidden", "weights"], ["more"], "kept"))
    model.graph.output.extend([helper.make_tensor_value_info("more", TensorProto.FLOAT, None)])
    channels = np.ones(256, dtype=np.float32)
    channels[3] = 30
    smoothed = smooth(model, {"hidden": channels}, keep_fp32=["kept"])
    reads = {node.name: node.input[0] for node in smoothed.graph.node if node.op_type == "MatMul"}
    assert reads == {"layer.0/dense": "hidden/even", "kept": "hidden"}
    for ids in ([[9, 10]], [[11]]):
        np.testing.assert_allclose(run(smoothed, ids), run(model, ids), rtol=1e-3, atol=1e-3)


def test_the_mean_error_of_a_product_is_taken_off_by_its_bias() -> None:
    model = product()
    random = np.random.default_rng(3)
    ids = random.integers(0, 4096, (1, 400)).tolist()
    hidden = constants(model)["table"][np.array(ids)][0]
    ends = (float(hidden.min()) / 40, float(hidden.max()) / 40)  # cuts off what is large
    means = hidden.mean(axis=0), as_steps(hidden, ends).mean(axis=0)
    bits = 7 if SATURATES else 8
    exact = run(model, ids)
    plain, corrected = (
        run(quantise(model, ranges={"hidden": ends}, means=given, bits=bits), ids)
        for given in (None, {"hidden": means})
    )
    gaps = [np.abs((each - exact).mean(axis=(0, 1))).max() for each in (plain, corrected)]
    assert gaps[1] < gaps[0] / 10


def test_the_smooth_and_the_corrected_form_are_candidates(
    builder: CandidateBuilder, inputs: TrainingInputs
) -> None:
    static = operators(builder.int8("int8-static").content)
    assert operators(builder.int8("int8-static-corrected").content) == static
    # This encoder is even: nothing is spent on it.
    assert operators(builder.int8("int8-static-smooth").content) == static
    other = replace(builder)
    vars(other)["fused"] = Fused(uneven(builder.fused.model, inputs), {})
    smoothed = operators(other.int8("int8-static-smooth").content)
    assert smoothed - static == {"Mul": LAYERS}
    assert operators(other.int8("int8-static-corrected").content) == static
    reference = outputs(builder.fp32().content, inputs)
    exact = np.stack([row.logits for row in reference])
    for name in ("int8-static-corrected", "int8-static-smooth"):
        found = outputs(builder.int8(name).content, inputs)
        gaps = np.stack([row.logits for row in found]) - exact
        assert 0 < np.abs(gaps).max() < exact.std() / 2


def test_the_smooth_form_rounds_weights_in_turn(
    builder: CandidateBuilder, inputs: TrainingInputs
) -> None:
    graph = builder.fused.model
    calibration = Calibration(builder.replies, inputs.encoding, inputs.tasks)
    ranges = calibration.ranges(graph)
    moments = calibration.covariances(graph, ranges, calibration.means(graph, ranges))
    exact, corrected, smoothed = (
        constants(graph),
        *(
            constants(onnx.load_from_string(builder.int8(name).content))
            for name in ("int8-static-corrected", "int8-static-smooth")
        ),
    )
    # Of those that are not divided, so that their weights are as they were.
    reads = {
        node.input[1]: node.input[0]
        for node in graph.graph.node
        if node.op_type == "MatMul"
        and node.input[0] in moments
        and np.array_equal(corrected[f"{node.input[1]}/scale"], smoothed[f"{node.input[1]}/scale"])
    }
    assert len(reads) == LAYERS
    for weights, values in reads.items():
        errors = []
        for form in (smoothed, corrected):
            gaps = form[f"{weights}/q"] * form[f"{weights}/scale"] - exact[weights]
            errors.append(float(np.einsum("io,ij,jo->", gaps, moments[values], gaps)))
        assert errors[0] < 0.8 * errors[1]


def test_the_smooth_form_splits_neurons_of_very_large_weights(
    builder: CandidateBuilder, inputs: TrainingInputs
) -> None:
    settings = {**builder.encoder.to_dict(), "hidden_size": 64, "intermediate_size": 200}
    torch.manual_seed(5)
    encoder = transformers.BertModel(transformers.BertConfig(**settings), add_pooling_layer=False)
    for layer in encoder.encoder.layer:
        torch.nn.init.normal_(layer.intermediate.dense.bias)
    with torch.no_grad():
        encoder.encoder.layer[0].output.dense.weight[3, 5] = 50
    model = LabelAttentionModel(encoder, inputs.tasks.size).eval()
    wide = replace(builder, exported=export_onnx(model, opset=17), encoder=encoder.config)

    def neurons(name: CandidateName) -> list[int]:
        """Of each layer, from what its second product takes in."""
        graph = onnx.load_from_string(wide.int8(name).content).graph
        rows = {tensor.name: tensor.dims[0] for tensor in graph.initializer if tensor.dims}
        products = [node for node in graph.node if node.op_type == "MatMulIntegerToFloat"]
        widths = [rows[node.input[1]] for node in products]
        return [width for width in widths if width != 64]

    assert neurons("int8-static-corrected") == [200, 200]
    # One copy for each 96, and none where no weight is large.
    assert neurons("int8-static-smooth") == [202, 200]
    exact, split = (
        np.stack([row.logits for row in outputs(form.content, inputs)])
        for form in (wide.fp32(), wide.int8("int8-static-smooth"))
    )
    np.testing.assert_allclose(split, exact, atol=0.2 * exact.std())
