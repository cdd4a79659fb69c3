"""What happens where memory does not suffice, in processes that have little of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tactful.reading.session import INPUTS

pytest.importorskip("resource", reason="limits on memory are POSIX")

# Counts how many runs it takes until all windows are through.
SCRIPT = """
import resource, sys
import numpy as np
from tactful.reading.encoding import Batch
from tactful.errors import ModelError
from tactful.reading.session import Session

session = Session(open(sys.argv[1], "rb").read(), threads=1)
windows, length, spare = map(int, sys.argv[2:])
ids = np.full((windows, length), 7, dtype=np.int64)
batch = Batch(ids, np.ones_like(ids), np.ones_like(ids))
runs = []
run = session._run
session._run = lambda part: runs.append(len(part.input_ids)) or run(part)
session(Batch(*(array[:1, :8] for array in (ids, batch.attention_mask, batch.token_type_ids))))
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + spare, used + spare))
try:
    logits, scores = session(batch)
except ModelError as error:
    print("error", error)
else:
    print(len(logits), len(scores), np.ptp(logits, axis=0).max() == 0, max(runs[1:]), min(runs[1:]))
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A graph whose inner values are a hundred times as large as its outputs."""
    node = helper.make_node
    nodes = [
        node("Mul", ["input_ids", "attention_mask"], ["ids"]),
        node("Add", ["ids", "token_type_ids"], ["sum"]),
        node("Cast", ["sum"], ["number"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["number", "last"], ["column"]),
        node("MatMul", ["column", "wide"], ["inner"]),
        node("MatMul", ["inner", "narrow"], ["token_scores"]),
        node("ReduceMean", ["token_scores"], ["logits"], axes=[1], keepdims=0),
    ]
    constants = {
        "last": np.array([2]),
        "wide": np.ones((1, 512), np.float32),
        "narrow": np.ones((512, 5), np.float32),
    }
    ids = [helper.make_tensor_value_info(name, TensorProto.INT64, ["W", "T"]) for name in INPUTS]
    shapes = {"logits": ["W", 5], "token_scores": ["W", "T", 5]}
    graph = helper.make_graph(
        nodes,
        "wide",
        ids,
        [helper.make_tensor_value_info(k, TensorProto.FLOAT, v) for k, v in shapes.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "model.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def run(model: Path, *numbers: int) -> str:
    finished = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(model), *map(str, numbers)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.strip()


def test_a_batch_too_large_for_memory_is_read_in_parts(model: Path) -> None:
    windows = 4_000  # x 48 tokens x 512 values x 4 bytes: 390 MB
    count, scores, same, first, least = run(model, windows, 48, 300 << 20).split()
    assert (count, scores, same, first) == (str(windows), str(windows), "True", str(windows))
    assert int(least) < windows  # it was halved


def test_a_single_window_too_large_for_memory_is_a_clear_error(model: Path) -> None:
    said = run(model, 1, 200_000, 300 << 20)
    assert said.startswith("error there is not enough memory to read one window of 200000 tokens")
