"""The trained model as an ONNX graph."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
import torch
import transformers
from torch.jit import TracerWarning  # type: ignore[attr-defined]

from tactful.bundle.onnx_check import external_data
from tactful.reading.batches import RowOutput, run_rows
from tactful.reading.session import INPUTS, OUTPUTS
from tactful_training.config.config_schema import Config
from tactful_training.errors import ExportError
from tactful_training.fitting.encoder import load_encoder
from tactful_training.fitting.model import LabelAttentionModel, torch_forward
from tactful_training.fitting.resuming import Fitted
from tactful_training.fitting.training_inputs import TrainingInputs

_TRACED_SHAPE = (2, 9)  # windows, tokens: any will do, see `export_onnx`


def export_onnx(model: LabelAttentionModel, *, opset: int) -> bytes:
    """Export a model as one ONNX file with dynamic batch and length.

    The graph has the inputs ``input_ids``, ``attention_mask`` and ``token_type_ids`` (int64
    ``[batch, sequence]``) and the outputs ``logits`` (``[batch, L]``) and ``token_scores``
    (``[batch, sequence, L]``).

    Args:
        model: on the CPU, in fp32, with eager attention: the plain operations are what graph
            optimisers know how to fuse.
        opset: of ONNX.

    Raises:
        ExportError: the model cannot be exported, or the graph is not valid in itself.
    """
    model.eval()
    ones = torch.ones(_TRACED_SHAPE, dtype=torch.int64)
    axes = {0: "batch", 1: "sequence"}
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        # Tracing fixes every Python value on its way and warns of each. Whether one of them was a
        # matter of shape is not guessed at here but measured: `check_parity` compares the graph on
        # the whole validation split, in batches of other sizes and lengths than were traced.
        warnings.simplefilter("ignore", TracerWarning)
        # The TorchScript exporter is deprecated, and chosen on purpose: onnxruntime's fusions for
        # transformers recognise its graphs.
        warnings.simplefilter("ignore", DeprecationWarning)
        # Advanced indexing in transformers' masks; its indices are never negative.
        warnings.filterwarnings("ignore", "Exporting aten::index", UserWarning)
        try:
            torch.onnx.export(
                model,
                (ones, ones, ones),
                path,
                dynamo=False,
                opset_version=opset,
                input_names=list(INPUTS),
                output_names=list(OUTPUTS),
                dynamic_axes={
                    **dict.fromkeys(INPUTS, axes),
                    "logits": {0: "batch"},
                    "token_scores": axes,
                },
            )
        except Exception as error:  # of the exporter's many internals
            raise ExportError(
                f"the model cannot be exported to ONNX opset {opset}: {error}"
            ) from error
        # One file, unless it is too large for protobuf: see below.
        content = path.read_bytes()
    try:
        onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the exported graph is not valid ONNX: {error}") from error
    if outside := external_data(content):
        raise ExportError(f"the exported graph is not in one file: {'; '.join(outside)}")
    return content


@dataclass(frozen=True)
class Exported:
    """The trained model as bundling takes it over, out of PyTorch.

    Attributes:
        graph: the ONNX file.
        encoder: the configuration of its encoder.
        reference: what PyTorch says of each row of the validation split, in fp32.
    """

    graph: bytes
    encoder: transformers.PreTrainedConfig
    reference: Sequence[RowOutput]


def check_exportable(config: Config, inputs: TrainingInputs) -> None:
    """Find out before training whether the encoder and the opset can be exported.

    Raises:
        ExportError: they cannot.
    """
    export_onnx(_exportable(config, inputs), opset=config.export.opset)


def export_fitted(config: Config, inputs: TrainingInputs, fitted: Fitted) -> Exported:
    """Export the best weights, and run them on the validation split once more in PyTorch.

    Raises:
        ExportError: the weights cannot be exported.
    """
    model = _exportable(config, inputs)
    model.load_state_dict(fitted.weights)
    encoded = [example.encoded for example in inputs.validation]
    return Exported(
        export_onnx(model, opset=config.export.opset),
        model.encoder.config,
        run_rows(encoded, inputs.encoding, torch_forward(model), inputs.tasks),
    )


def _exportable(config: Config, inputs: TrainingInputs) -> LabelAttentionModel:
    """An untrained model in the form that can be exported."""
    encoder = load_encoder(inputs.encoder, config.model, attention="eager")
    return LabelAttentionModel(encoder, inputs.tasks.size).eval()
