"""Where the time of a batch goes, by onnxruntime's own profiler."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import onnxruntime
from rich.table import Table

from tactful.bundle.manifest import read_bundle_files
from tactful.reading.decisions import Floats, Heads
from tactful.reading.encoding import Batch, ReplyEncoding
from tactful.reading.passes import run_rows
from tactful.reading.processor import available_cpus
from tactful.reading.session import INPUTS, OUTPUTS
from tactful.reading.stream import Pair
from tactful.strict_json import strict_json

_ROUNDS = 3


def profile(bundle: str, pairs: Sequence[Pair]) -> tuple[dict[str, float], int]:
    """Seconds of each kind of operator while pairs are read, with all threads in each batch.

    Args:
        bundle: folder or archive.
        pairs: (reply, context).

    Returns:
        Operator to its seconds, largest first, and the number of tokens that were read.
    """
    contents = read_bundle_files(Path(bundle))[1]
    heads = Heads.from_json(strict_json(contents["labels.json"]))
    encoding = ReplyEncoding(contents["tokenizer.json"], heads.limits)
    encoded = encoding.encode(pairs)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = available_cpus()
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder, "profile"))
        session = onnxruntime.InferenceSession(
            contents["model.onnx"], options, providers=["CPUExecutionProvider"]
        )

        def forward(batch: Batch) -> tuple[Floats, Floats]:
            logits, scores = session.run(OUTPUTS, {name: getattr(batch, name) for name in INPUTS})
            return logits, scores

        for _ in range(_ROUNDS):
            run_rows(encoded, encoding, forward, heads.tasks)
        events = json.loads(Path(session.end_profiling()).read_text())
    seconds: Counter[str] = Counter()
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("kernel_time"):
            kind = event["args"]["op_name"]
            if kind != "If":  # the operators of the way it takes have events of their own
                seconds[kind] += event["dur"] / 1e6
    tokens = sum(len(window.input_ids) for row in encoded for window in row.windows)
    return dict(seconds.most_common()), _ROUNDS * tokens


def render_profile(seconds: dict[str, float], tokens: int) -> Table:
    """For a terminal: microseconds per token and shares."""
    total = sum(seconds.values())
    table = Table(box=None, pad_edge=False, title_justify="left")
    table.add_column("operator")
    table.add_column("µs per token", justify="right")
    table.add_column("share", justify="right")
    for name, value in seconds.items():
        table.add_row(name, f"{1e6 * value / tokens:.2f}", f"{value / total:.1%}")
    table.add_row("all", f"{1e6 * total / tokens:.2f}", "")
    return table
