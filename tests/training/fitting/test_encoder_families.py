"""Other encoders than BERT, and other opsets than the default one, through fusion and int8."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from transformers import (
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    ElectraConfig,
    ElectraModel,
    PreTrainedModel,
    RobertaConfig,
    RobertaModel,
)

from tactful.reading.batches import RowOutput, run_rows
from tactful.reading.session import Session
from tactful_training.bundling.activations import Calibration
from tactful_training.bundling.candidates import CandidateBuilder, check_parity
from tactful_training.bundling.smoothing import smooth
from tactful_training.config.config_schema import Config
from tactful_training.fitting.model import LabelAttentionModel
from tactful_training.fitting.onnx_export import export_onnx
from tactful_training.fitting.training_inputs import TrainingInputs, load_training_inputs

LAYERS = 2
SIZES = {
    "vocab_size": 400,
    "hidden_size": 64,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "intermediate_size": 128,
    "max_position_embeddings": 300,
    "attn_implementation": "eager",
}
FAMILIES: dict[str, Callable[[], PreTrainedModel]] = {
    "bert": lambda: BertModel(BertConfig(**SIZES), add_pooling_layer=False),
    "roberta": lambda: RobertaModel(
        RobertaConfig(**SIZES, type_vocab_size=1, pad_token_id=0), add_pooling_layer=False
    ),
    "electra": lambda: ElectraModel(ElectraConfig(**SIZES, embedding_size=64)),
    "distilbert": lambda: DistilBertModel(
        DistilBertConfig(
            vocab_size=400,
            dim=64,
            n_layers=LAYERS,
            n_heads=2,
            hidden_dim=128,
            max_position_embeddings=300,
            attn_implementation="eager",
        )
    ),
}


@pytest.fixture(scope="module")
def inputs(make_config: Callable[..., Config]) -> TrainingInputs:
    return load_training_inputs(make_config())


@pytest.mark.parametrize(
    ("family", "opset"),
    [("roberta", 17), ("electra", 17), ("distilbert", 17), ("bert", 14), ("bert", 20)],
)
def test_another_encoder_or_opset_is_fused_and_quantised(
    inputs: TrainingInputs, make_config: Callable[..., Config], family: str, opset: int
) -> None:
    torch.manual_seed(2)
    model = LabelAttentionModel(FAMILIES[family](), inputs.tasks.size).eval()
    exported = export_onnx(model, opset=opset)
    pairs = [(row.reply, row.context) for row in inputs.rows["train"][:40]]
    config = make_config().quantisation
    encoding, tasks = inputs.encoding, inputs.tasks
    builder = CandidateBuilder(exported, model.encoder.config, config, pairs, encoding, tasks)

    def read(content: bytes) -> list[RowOutput]:
        return run_rows(encoding.encode(pairs), encoding, Session(content, threads=1), tasks)

    reference = read(exported)
    fp32, int8 = builder.fp32().content, builder.int8("int8-static").content
    assert check_parity(reference, read(fp32), tolerance=1e-4).rows == len(pairs)
    assert builder.fused.operators["MultiHeadAttention"] == LAYERS
    operators = Counter(node.op_type for node in onnx.load_from_string(int8).graph.node)
    assert operators["MatMulIntegerToFloat"] == 6 * LAYERS
    assert operators["If"] == LAYERS  # attention without and with a mask
    if opset >= 17:  # before, layer norm is an operator of onnxruntime's own
        onnx.checker.check_model(onnx.load_from_string(fp32))
    windows = [row.windows[0] for row in encoding.encode(pairs[:6])]
    logits, _ = Session(fp32, threads=1)(encoding.collate(windows))
    for each, window in zip(logits, windows, strict=True):
        [alone], _ = Session(fp32, threads=1)(encoding.collate([window]))
        assert each == pytest.approx(alone, abs=1e-5)
    gaps = [np.abs(a.logits - b.logits).max() for a, b in zip(reference, read(int8), strict=True)]
    assert 0 < max(gaps) < np.stack([row.logits for row in reference]).std() / 2


@pytest.mark.parametrize("family", FAMILIES)
def test_another_encoder_is_evened_out(
    inputs: TrainingInputs, make_config: Callable[..., Config], family: str
) -> None:
    torch.manual_seed(2)
    model = LabelAttentionModel(FAMILIES[family](), inputs.tasks.size).eval()
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if "LayerNorm.weight" in name or "layer_norm.weight" in name:
                weights[[3, 17]] *= 30
    pairs = [(row.reply, row.context) for row in inputs.rows["train"][:40]]
    config, encoding, tasks = make_config().quantisation, inputs.encoding, inputs.tasks
    exported = export_onnx(model, opset=17)
    builder = CandidateBuilder(exported, model.encoder.config, config, pairs, encoding, tasks)
    graph = builder.fused.model
    calibration = Calibration(pairs, encoding, tasks)

    def read(content: bytes) -> list[RowOutput]:
        return run_rows(encoding.encode(pairs), encoding, Session(content, threads=1), tasks)

    largest = calibration.largest(graph)
    smoothed = smooth(graph, largest)
    reference = read(graph.SerializeToString())
    check_parity(reference, read(smoothed.SerializeToString()), tolerance=1e-3)
    even = calibration.largest(smoothed)
    assert len(even) == len(largest) == 4 * LAYERS
    kinds = {name: node.op_type for node in graph.graph.node for name in node.output}
    attended = [name for name in largest if kinds[name] == "MultiHeadAttention"]
    assert len(attended) == LAYERS
    for name in attended:  # divided where it is made, for nothing
        assert np.std(even[name]) / even[name].mean() < np.std(largest[name]) / largest[name].mean()
    normed = [node for node in smoothed.graph.node if node.name.endswith("/whole/Mul")]
    assert len(normed) == 2 * LAYERS
    found = read(builder.int8("int8-static-smooth").content)
    gaps = [np.abs(a.logits - b.logits).max() for a, b in zip(reference, found, strict=True)]
    assert 0 < max(gaps) < np.stack([row.logits for row in reference]).std() / 2
