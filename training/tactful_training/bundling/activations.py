"""What flows into the large products of a graph while it reads training replies."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper

from tactful.reading.batches import run_rows
from tactful.reading.decisions import Floats
from tactful.reading.encoding import Batch, Pair, ReplyEncoding
from tactful.reading.processor import available_cpus
from tactful.reading.session import INPUTS
from tactful.reading.tasks import Tasks
from tactful_training.bundling.quantisation import Range, as_steps, product_inputs

_PORTION = 512  # tokens


@dataclass(frozen=True, eq=False)
class Calibration:
    """Replies to read a graph with.

    Attributes:
        pairs: (reply, context), of the training split.
        encoding: how they are read.
        tasks: the tasks of the label axis.
        keep_fp32: products that are of no interest, as for `quantise`.
    """

    pairs: Sequence[Pair]
    encoding: ReplyEncoding
    tasks: Tasks
    keep_fp32: Collection[str] = ()

    def ranges(self, model: onnx.ModelProto) -> dict[str, Range]:
        """The least and the greatest value of each product's input, means over some 512 tokens.

        Means, since the very largest value is several times as large as those of most batches, and
        would take the steps of the scale away from them; cutting off more than that costs quality,
        for a few large channels carry much of what these encoders know.
        """

        def ends(_: str, values: Floats) -> Floats:
            return np.array([values.min(), -values.max()])

        return {name: (float(low), -float(high)) for name, (low, high) in self._least(model, ends)}

    def largest(self, model: onnx.ModelProto) -> dict[str, Floats]:
        """The greatest absolute value of each channel ``[D]``, likewise."""

        def greatest(_: str, values: Floats) -> Floats:
            found: Floats = -np.abs(values).max(axis=(0, 1))
            return found

        return {name: -found for name, found in self._least(model, greatest)}

    def means(
        self, model: onnx.ModelProto, ranges: Mapping[str, Range]
    ) -> dict[str, tuple[Floats, Floats]]:
        """Of each channel ``[D]`` the mean, and the mean of what is left of it in whole steps."""
        sums: dict[str, NDArray[np.float64]] = {}

        def add(name: str, values: Floats) -> None:
            both = np.stack([values.sum(axis=0), as_steps(values, ranges[name]).sum(axis=0)])
            sums[name] = sums.get(name, 0) + both.astype(np.float64)

        tokens = self._show_tokens(model, add)
        return {
            name: ((both[0] / tokens).astype(np.float32), (both[1] / tokens).astype(np.float32))
            for name, both in sums.items()
        }

    def covariances(
        self,
        model: onnx.ModelProto,
        ranges: Mapping[str, Range],
        means: Mapping[str, tuple[Floats, Floats]],
    ) -> dict[str, NDArray[np.float64]]:
        """Of the channels of each product's input in whole steps, ``[D, D]``.

        Args:
            model: the graph.
            ranges: of the whole steps.
            means: as `means` gives them.
        """
        sums: dict[str, NDArray[np.float64]] = {}

        def add(name: str, values: Floats) -> None:
            steps = as_steps(values, ranges[name]) - means[name][1]
            sums[name] = sums.get(name, 0) + (steps.T @ steps).astype(np.float64)

        tokens = self._show_tokens(model, add)
        return {name: each / tokens for name, each in sums.items()}

    def _show_tokens(self, model: onnx.ModelProto, see: Callable[[str, Floats], None]) -> int:
        """Read all replies and show each product's input at the tokens alone, ``[N, D]``.

        Returns:
            How many tokens there were.
        """
        tokens = 0

        def show(batch: Batch, found: Mapping[str, Floats]) -> None:
            nonlocal tokens
            read = batch.attention_mask.astype(bool)
            tokens += int(read.sum())
            for name, values in found.items():
                see(name, values[read])

        self._run(model, show)
        return tokens

    def _least(
        self, model: onnx.ModelProto, measure: Callable[[str, Floats], Floats]
    ) -> list[tuple[str, Floats]]:
        """The mean over portions of the least that is measured in each."""
        measured: list[dict[str, Floats]] = []
        tokens: list[int] = []

        def note(batch: Batch, found: Mapping[str, Floats]) -> None:
            measured.append({name: measure(name, values) for name, values in found.items()})
            tokens.append(batch.input_ids.size)

        self._run(model, note)
        # Batches are of all sizes, and extremes grow with the size: only like sizes have a mean.
        starts = np.flatnonzero(np.diff(np.cumsum(tokens) // _PORTION, prepend=-1))
        return [
            (
                name,
                np.minimum.reduceat([each[name] for each in measured], starts).mean(axis=0),
            )
            for name in measured[0]
        ]

    def _run(
        self, model: onnx.ModelProto, see: Callable[[Batch, Mapping[str, Floats]], None]
    ) -> None:
        """Read all replies and show the inputs ``[W, T, D]`` of the products, batch by batch."""
        names = product_inputs(model, self.keep_fp32)
        probed = onnx.ModelProto()
        probed.CopyFrom(model)
        outputs = [output.name for output in model.graph.output]
        probed.graph.output.extend(
            helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = available_cpus()
        session = onnxruntime.InferenceSession(
            probed.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

        def forward(batch: Batch) -> tuple[Floats, Floats]:
            feed = {name: getattr(batch, name) for name in INPUTS}
            logits, token_scores, *values = session.run([*outputs, *names], feed)
            see(batch, dict(zip(names, values, strict=True)))
            return logits, token_scores

        run_rows(self.encoding.encode(self.pairs), self.encoding, forward, self.tasks)
