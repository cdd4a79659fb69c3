from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest

from tactful.reading.batches import RowOutput, run_rows
from tactful.reading.session import Session
from tactful_training.bundling.candidates import check_parity
from tactful_training.errors import ExportError
from tactful_training.fitting.model import LabelAttentionModel, torch_forward
from tactful_training.fitting.onnx_export import export_onnx
from tactful_training.fitting.training_batches import encode_rows
from tactful_training.fitting.training_inputs import TrainingInputs


@pytest.fixture(scope="module")
def outputs(
    model: LabelAttentionModel, inputs: TrainingInputs, exported: bytes
) -> tuple[list[RowOutput], list[RowOutput]]:
    rows = encode_rows(inputs.rows["validation"], inputs.encoding, inputs.tasks)
    encoded = [example.encoded for example in rows]
    assert max(len(row.windows) for row in encoded) > 1

    def run(forward: object) -> list[RowOutput]:
        return run_rows(encoded, inputs.encoding, forward, inputs.tasks, token_budget=200)

    return run(torch_forward(model)), run(Session(exported, threads=1))


def test_the_graph_says_what_the_model_says(
    outputs: tuple[list[RowOutput], list[RowOutput]],
) -> None:
    parity = check_parity(*outputs, tolerance=1e-4)
    assert parity.rows == 48
    assert 0 < parity.logits < 1e-5
    assert 0 < parity.token_scores < 1e-5


@pytest.mark.parametrize("part", ["logits", "token_scores"])
@pytest.mark.parametrize("wrong", [0.002, np.nan, np.inf])
def test_one_wrong_number_fails_the_export(
    outputs: tuple[list[RowOutput], list[RowOutput]], part: str, wrong: float
) -> None:
    reference, found = outputs
    values = getattr(found[-1], part).copy()
    values[-1] += wrong
    with pytest.raises(ExportError, match=r"48 validation rows.*export\.tolerance = 0\.001"):
        check_parity(reference, [*found[:-1], replace(found[-1], **{part: values})], tolerance=1e-3)


def test_batch_and_length_are_dynamic_and_everything_is_in_one_file(exported: bytes) -> None:
    graph = onnx.load_from_string(exported).graph
    shapes = {
        node.name: [d.dim_param or d.dim_value for d in node.type.tensor_type.shape.dim]
        for node in [*graph.input, *graph.output]
    }
    assert shapes == {
        "input_ids": ["batch", "sequence"],
        "attention_mask": ["batch", "sequence"],
        "token_type_ids": ["batch", "sequence"],
        "logits": ["batch", 6],
        "token_scores": ["batch", "sequence", 6],
    }
    assert all(not tensor.external_data for tensor in graph.initializer)
    assert onnx.load_from_string(exported).opset_import[0].version == 17


def test_an_opset_that_cannot_be_had_is_an_export_error(model: LabelAttentionModel) -> None:
    with pytest.raises(ExportError, match="opset 99"):
        export_onnx(model, opset=99)


@pytest.mark.filterwarnings("error")
def test_the_export_says_nothing(
    model: LabelAttentionModel, capfd: pytest.CaptureFixture[str]
) -> None:
    export_onnx(model, opset=17)
    assert capfd.readouterr() == ("", "")
