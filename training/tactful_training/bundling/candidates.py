"""The candidates by name, and how each is made of the exported graph."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import transformers
from onnxruntime.quantization import QuantType, quantize_dynamic

from tactful.reading.batches import RowOutput
from tactful.reading.decisions import Floats
from tactful.reading.encoding import Pair, ReplyEncoding
from tactful.reading.tasks import Tasks
from tactful_training.bundling.activations import Calibration
from tactful_training.bundling.fusion import Fused, fuse, mask_where_needed, quiet
from tactful_training.bundling.outlier_splitting import split_outliers
from tactful_training.bundling.quantisation import quantise
from tactful_training.bundling.smoothing import smooth
from tactful_training.config.config_schema import CandidateName, QuantisationConfig
from tactful_training.errors import ExportError

FP32 = "fp32"
Precision = Literal["fp32", "int8"]


@dataclass(frozen=True)
class Candidate:
    """One form of the trained model.

    Attributes:
        name: as in the config's ``quantisation.candidates``, or ``fp32``.
        content: the ONNX file.
    """

    name: str
    content: bytes

    @property
    def precision(self) -> Precision:
        """Of its products."""
        return "fp32" if self.name == FP32 else "int8"


@dataclass(frozen=True)
class CandidateBuilder:
    """Makes candidates; what several of them share is made once.

    Attributes:
        exported: the graph as it was exported.
        encoder: the configuration of its encoder.
        config: which layers stay in fp32.
        replies: (reply, context) pairs of the training split, which tell what flows into products.
        encoding: how they are read.
        tasks: the tasks of the label axis.
    """

    exported: bytes
    encoder: transformers.PreTrainedConfig
    config: QuantisationConfig
    replies: Sequence[Pair]
    encoding: ReplyEncoding
    tasks: Tasks

    @cached_property
    def fused(self) -> Fused:
        """The fp32 graph with the operators that are faster on a CPU; as it is where none fit."""
        try:
            return fuse(self.exported, self.encoder, every=False)
        except Exception:  # of the optimiser's many internals, which know some families of encoders
            return Fused(onnx.load_from_string(self.exported), {})

    def fp32(self) -> Candidate:
        """The reference."""
        return Candidate(FP32, _finished(_copy(self.fused.model)))

    def int8(self, name: CandidateName) -> Candidate:
        """One of the quantised candidates.

        Raises:
            ExportError: it cannot be made of this graph.
        """
        make: dict[CandidateName, Callable[[], bytes]] = {
            "int8-static": lambda: self._static(self.fused.model),
            "int8-static-corrected": lambda: self._corrected(self.fused.model, in_turn=False),
            "int8-static-smooth": lambda: self._corrected(self._smoothed(), in_turn=True),
            "int8-dynamic": lambda: self._dynamic(8),
            "int8-dynamic-7bit": lambda: self._dynamic(7),
            "int8-dynamic-all-fused": self._all_fused,
            "int8-dynamic-unfused": lambda: self._by_library(self.exported, QuantType.QInt8),
            "int8-dynamic-unsigned": lambda: self._by_library(self.exported, QuantType.QUInt8),
        }
        try:
            return Candidate(name, make[name]())
        except Exception as error:  # of the quantiser's many internals
            raise ExportError(f"the candidate {name} cannot be made: {error}") from error

    @cached_property
    def _calibration(self) -> Calibration:
        return Calibration(self.replies, self.encoding, self.tasks, self.config.keep_fp32)

    def _static(self, model: onnx.ModelProto) -> bytes:
        ranges, keep = self._calibration.ranges(model), self.config.keep_fp32
        return _finished(quantise(model, ranges=ranges, keep_fp32=keep))

    def _corrected(self, model: onnx.ModelProto, *, in_turn: bool) -> bytes:
        seen, keep = self._calibration, self.config.keep_fp32
        ranges = seen.ranges(model)
        means = seen.means(model, ranges)
        moments = seen.covariances(model, ranges, means) if in_turn else None
        form = quantise(model, ranges=ranges, means=means, moments=moments, keep_fp32=keep)
        return _finished(form)

    def _smoothed(self) -> onnx.ModelProto:
        kept, fused = self.config.keep_fp32, self.fused.model
        smoothed = smooth(fused, self._calibration.largest(fused), keep_fp32=kept)
        return split_outliers(smoothed, keep_fp32=kept)

    def _dynamic(self, bits: int) -> bytes:
        return _finished(quantise(self.fused.model, bits=bits, keep_fp32=self.config.keep_fp32))

    def _all_fused(self) -> bytes:
        every = fuse(self.exported, self.encoder, every=True).model
        return self._by_library(_bytes(every), QuantType.QInt8)

    def _by_library(self, content: bytes, weights: QuantType) -> bytes:
        """As `onnxruntime.quantization` does it, the yardstick for our own."""
        model = onnx.load_from_string(content)
        parts = self.config.keep_fp32
        kept = [n.name for n in model.graph.node if any(part in n.name for part in parts)]
        with quiet(), tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "int8.onnx")
            quantize_dynamic(
                model,
                path,
                per_channel=True,
                weight_type=weights,
                nodes_to_exclude=kept,
                # Types behind operators that are not ONNX's own cannot be inferred.
                extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
            )
            return path.read_bytes()


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    return copied


def _finished(model: onnx.ModelProto) -> bytes:
    return _bytes(mask_where_needed(model))


def _bytes(model: onnx.ModelProto) -> bytes:
    content: bytes = model.SerializeToString()
    return content


@dataclass(frozen=True)
class Parity:
    """Largest absolute differences between PyTorch and ONNX, both fp32.

    Attributes:
        logits: of the rows' logits (windows combined).
        token_scores: of the scores of reply tokens.
        rows: how many rows were compared.
    """

    logits: float
    token_scores: float
    rows: int


def check_parity(
    reference: Sequence[RowOutput], exported: Sequence[RowOutput], *, tolerance: float
) -> Parity:
    """Compare what PyTorch and the exported graph say of the same rows.

    Args:
        reference: outputs of the trained model in fp32.
        exported: outputs of the graph, in the same order.
        tolerance: largest allowed absolute difference of a logit or a token score.

    Raises:
        ExportError: a difference is larger, or not a number.
    """
    pairs = list(zip(reference, exported, strict=True))
    parity = Parity(
        logits=max(_gap(a.logits, b.logits) for a, b in pairs),
        token_scores=max(_gap(a.token_scores, b.token_scores) for a, b in pairs),
        rows=len(pairs),
    )
    # Written so that NaN fails.
    if not max(parity.logits, parity.token_scores) <= tolerance:
        raise ExportError(
            f"the ONNX graph does not reproduce the trained model on {parity.rows} validation "
            f"rows: logits differ by up to {parity.logits:.2g}, token scores by up to "
            f"{parity.token_scores:.2g}, allowed is export.tolerance = {tolerance:g}; no bundle "
            "was written"
        )
    return parity


def _gap(reference: Floats, exported: Floats) -> float:
    gap = float(np.abs(reference - exported).max(initial=0.0))
    return float("inf") if np.isnan(gap) else gap
