"""Files that do not fit each other are refused even with a manifest that agrees with them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tactful import Classifier

Rehash = Callable[..., None]
Problems = Callable[[Path], str]
Edit = Callable[[dict[str, Any]], object]


def edit_json(path: Path, edit: Edit) -> None:
    content = json.loads(path.read_bytes())
    edit(content)
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize("score", [0.9, 0.98265])
def test_changed_golden_scores(
    problems: Problems, bundle_copy: Path, rehash: Rehash, score: float
) -> None:
    path = bundle_copy / "golden.jsonl"
    lines = path.read_bytes().splitlines()
    golden = json.loads(lines[0])
    golden["scores"]["strategies"]["apology"] = score
    path.write_bytes(b"\n".join([json.dumps(golden).encode(), *lines[1:]]))
    rehash(bundle_copy)
    message = problems(bundle_copy)
    assert "golden.jsonl: line 1" in message
    assert "strategies.apology differs by 0." in message
    assert "allowed 0.001" in message


def test_goldens_of_a_quantised_model_come_with_advice(
    problems: Problems, bundle_copy: Path, rehash: Rehash
) -> None:
    path = bundle_copy / "golden.jsonl"
    lines = path.read_bytes().splitlines()
    golden = json.loads(lines[0])
    golden["scores"]["strategies"]["apology"] = 0.111
    path.write_bytes(b"\n".join([json.dumps(golden).encode(), *lines[1:]]))
    rehash(bundle_copy)
    assert "int8" not in problems(bundle_copy)
    rehash(bundle_copy, precision="int8", quantisation={"processor": "Some CPU 9000"})
    message = problems(bundle_copy)
    assert "golden.jsonl: line 1 is not reproduced" in message
    assert "int8 and was measured on Some CPU 9000" in message
    assert "quantisation.candidates=[]" in message
    rehash(bundle_copy, precision="int8", quantisation=[])
    assert "measured on unknown" in problems(bundle_copy)


def test_changed_golden_decisions(problems: Problems, bundle_copy: Path, rehash: Rehash) -> None:
    path = bundle_copy / "golden.jsonl"
    content = path.read_bytes().replace(b'"strategies":["apology"]', b'"strategies":[]', 1)
    path.write_bytes(content)
    rehash(bundle_copy)
    assert "strategies is ['apology'], expected []" in problems(bundle_copy)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]\n",
        b"{}\n",
        b"\xff\n",
        b'{"reply":"a","context":null,"scores":{},"decisions":{}}\n',
        b'{"reply":1,"context":null,"scores":{},"decisions":{}}\n',
        b'{"reply":"a","context":null,"scores":{"strategies":{"apology":NaN}},"decisions":{}}\n',
    ],
)
def test_goldens_that_are_none(
    problems: Problems, bundle_copy: Path, rehash: Rehash, content: bytes
) -> None:
    (bundle_copy / "golden.jsonl").write_bytes(content)
    rehash(bundle_copy)
    assert "golden.jsonl: " in problems(bundle_copy)


def first_label(labels: dict[str, Any]) -> dict[str, Any]:
    label: dict[str, Any] = labels["tasks"][0]["labels"][0]
    return label


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (lambda c: c.pop("max_tokens"), "max_tokens"),
        (lambda c: c.update(max_tokens=True), "max_tokens"),
        (lambda c: c.update(max_tokens=4), "window_overlap"),
        (lambda c: c.update(max_tokens=2**70), "max_tokens"),
        (lambda c: c.update(max_tokens=10**6), "max_tokens"),
        (lambda c: c.update(max_windows=0), "max_windows"),
        (lambda c: c.update(max_windows=10**30), "max_windows"),
        (lambda c: c.update(window_overlap=10**30), "window_overlap"),
        (lambda c: c.update(use_context=1), "use_context"),
        (lambda c: c.update(more=1), "more"),
        (lambda c: c.update(tasks={}), "tasks"),
        (lambda c: c.update(tasks=[]), "task"),
        (lambda c: c["tasks"].append(c["tasks"][0]), "declared twice"),
        (lambda c: c["tasks"][0].update(kind="several"), "kind"),
        (lambda c: c["tasks"][0].update(kind=["single"]), "kind"),
        (lambda c: c["tasks"][0].update(activation="softmax"), "activation"),
        (lambda c: c["tasks"][0].update(labels=[]), "labels"),
        (lambda c: c["tasks"][0].update(labels=[1]), "labels"),
        (lambda c: c["tasks"][0].update(name="Two words"), "task name"),
        (lambda c: first_label(c).update(name="gratitude"), "each label once"),
        (lambda c: first_label(c).update(name=3), "each label once"),
        (lambda c: first_label(c).update(description=None), "description"),
        (lambda c: first_label(c).pop("threshold"), "threshold"),
        (lambda c: first_label(c).pop("evidence_threshold"), "evidence_threshold"),
        (lambda c: first_label(c).update(threshold=1.2), "threshold"),
        (lambda c: first_label(c).update(threshold=None), "threshold"),
        (lambda c: first_label(c).update(threshold=[0.5]), "threshold"),
        (lambda c: first_label(c).update(evidence_threshold=-0.1), "evidence_threshold"),
        (lambda c: first_label(c).update(slope=0), "slope"),
        (lambda c: first_label(c).update(slope=10**400), "slope"),
        (lambda c: first_label(c).update(intercept=float("nan")), "NaN"),
        (lambda c: first_label(c).update(intercept=1e39), "intercept"),
    ],
)
def test_labels_that_are_wrong(
    problems: Problems, bundle_copy: Path, rehash: Rehash, edit: Edit, named: str
) -> None:
    edit_json(bundle_copy / "labels.json", edit)
    rehash(bundle_copy)
    message = problems(bundle_copy)
    assert "labels.json: " in message
    assert named in message


def test_labels_that_are_not_the_models(
    problems: Problems, bundle_copy: Path, rehash: Rehash
) -> None:
    def drop(content: dict[str, Any]) -> None:
        content["tasks"][0]["labels"].pop()

    def drop_golden(golden: dict[str, Any]) -> None:
        del golden["scores"]["strategies"]["next_step"]

    edit_json(bundle_copy / "labels.json", drop)
    first = (bundle_copy / "golden.jsonl").read_bytes().splitlines()[0]
    (bundle_copy / "golden.jsonl").write_bytes(first)
    edit_json(bundle_copy / "golden.jsonl", drop_golden)
    rehash(bundle_copy)
    message = problems(bundle_copy)
    assert "model.onnx: output 'logits'" in message
    assert "labels.json asks for float32 [2, 4]" in message


@pytest.mark.parametrize("content", [b"", b"{}", b"\x00" * 50, b'{"version":"1.0"}'])
def test_a_tokenizer_that_is_none(
    problems: Problems, bundle_copy: Path, rehash: Rehash, content: bytes
) -> None:
    (bundle_copy / "tokenizer.json").write_bytes(content)
    rehash(bundle_copy)
    assert "tokenizer.json: " in problems(bundle_copy)


def test_a_tokenizer_with_a_token_that_the_model_does_not_know(
    problems: Problems, bundle_copy: Path, rehash: Rehash
) -> None:
    edit_json(bundle_copy / "tokenizer.json", lambda c: c["model"]["vocab"].update(unheard=5000))
    rehash(bundle_copy)
    message = problems(bundle_copy)
    assert "model.onnx: onnxruntime cannot run" in message
    assert "5000" in message


def test_a_tokenizer_that_makes_its_library_panic(
    problems: Problems, bundle_copy: Path, rehash: Rehash
) -> None:
    edit_json(
        bundle_copy / "tokenizer.json", lambda c: c["post_processor"]["special_tokens"].clear()
    )
    rehash(bundle_copy)
    assert "tokenizer.json: not a usable tokenizer.json" in problems(bundle_copy)


def test_limits_that_the_model_cannot_keep(
    problems: Problems, bundle_copy: Path, rehash: Rehash
) -> None:
    # A graph that knows 64 positions, as an encoder with learned positions does.
    path = bundle_copy / "model.onnx"
    model = onnx.load_from_string(path.read_bytes())
    positions = numpy_helper.from_array(np.zeros((64, 5), dtype=np.float32), "positions")
    model.graph.initializer.append(positions)
    rows = helper.make_node("Range", ["zero", "length", "step"], ["rows"])
    shape = helper.make_node("Shape", ["input_ids"], ["length1"], start=1)
    length = helper.make_node("Squeeze", ["length1"], ["length"])
    pick = helper.make_node("Gather", ["positions", "rows"], ["picked"])
    add = helper.make_node("Add", ["present", "picked"], ["placed"])
    for name, value in (("zero", 0), ("step", 1)):
        tensor = numpy_helper.from_array(np.array(value, dtype=np.int64), name)
        model.graph.initializer.append(tensor)
    nodes = list(model.graph.node)
    [at] = [i for i, node in enumerate(nodes) if list(node.output) == ["sum"]]
    nodes[at].input[0] = "placed"
    del model.graph.node[:]
    model.graph.node.extend([*nodes[:at], shape, length, rows, pick, add, *nodes[at:]])
    path.write_bytes(model.SerializeToString())
    rehash(bundle_copy)
    assert Classifier.load(bundle_copy, threads=1).classify("sorry").tone.label

    edit_json(bundle_copy / "labels.json", lambda c: c.update(max_tokens=100))
    rehash(bundle_copy)
    assert "model.onnx: onnxruntime cannot run 2 windows of 100 tokens" in problems(bundle_copy)


def test_a_model_card_that_is_no_text(
    problems: Problems, bundle_copy: Path, rehash: Rehash
) -> None:
    (bundle_copy / "README.md").write_bytes(b"\xff\xfe")
    rehash(bundle_copy)
    assert "README.md: not UTF-8" in problems(bundle_copy)


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"not a model", b"ORTM" * 10])
def test_a_model_that_is_none(
    problems: Problems, bundle_copy: Path, rehash: Rehash, content: bytes
) -> None:
    (bundle_copy / "model.onnx").write_bytes(content)
    rehash(bundle_copy)
    assert "model.onnx: not an ONNX model" in problems(bundle_copy)


def test_a_model_of_an_unknown_opset(
    problems: Problems,
    bundle_copy: Path,
    rehash: Rehash,
    model_builder: Callable[..., onnx.ModelProto],
) -> None:
    tokenizer = (bundle_copy / "tokenizer.json").read_bytes()
    model = model_builder(tokenizer, opset=999)
    (bundle_copy / "model.onnx").write_bytes(model.SerializeToString())
    rehash(bundle_copy)
    message = problems(bundle_copy)
    assert "model.onnx: onnxruntime cannot load it" in message
    assert "999" in message


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        (b"token_type_ids", b"token_kind_ids", "inputs"),
        (b"logits", b"logitz", "outputs"),
    ],
)
def test_a_model_with_other_inputs_or_outputs(
    problems: Problems, bundle_copy: Path, rehash: Rehash, old: bytes, new: bytes, named: str
) -> None:
    path = bundle_copy / "model.onnx"
    path.write_bytes(path.read_bytes().replace(old, new))
    rehash(bundle_copy)
    assert f"model.onnx: its {named} are" in problems(bundle_copy)


def test_a_model_of_a_fixed_size(problems: Problems, bundle_copy: Path, rehash: Rehash) -> None:
    path = bundle_copy / "model.onnx"
    model = onnx.load_from_string(path.read_bytes())
    for node in model.graph.input:
        node.type.tensor_type.shape.dim[0].dim_value = 1
    path.write_bytes(model.SerializeToString())
    rehash(bundle_copy)
    assert "model.onnx: onnxruntime cannot run 2 windows" in problems(bundle_copy)


def test_a_model_that_gives_nan(problems: Problems, bundle_copy: Path, rehash: Rehash) -> None:
    path = bundle_copy / "model.onnx"
    model = onnx.load_from_string(path.read_bytes())
    [bias] = [tensor for tensor in model.graph.initializer if tensor.name == "bias"]
    bias.raw_data = b"\x00\x00\xc0\x7f" * 5
    path.write_bytes(model.SerializeToString())
    rehash(bundle_copy)
    assert "golden.jsonl: line 1" in problems(bundle_copy)


def test_an_initializer_that_points_at_another_file(
    problems: Problems, bundle_copy: Path, rehash: Rehash
) -> None:
    path = bundle_copy / "model.onnx"
    model = onnx.load_from_string(path.read_bytes())
    [tensor] = [tensor for tensor in model.graph.initializer if tensor.name == "bias"]
    (bundle_copy.parent / "weights.bin").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../weights.bin")
    path.write_bytes(model.SerializeToString())
    rehash(bundle_copy)
    message = problems(bundle_copy)
    assert "model.onnx: tensor 'bias' keeps its data in another file (../weights.bin)" in message


def test_labels_of_an_older_bundle_are_held_in_one_unicode_form(
    bundle_copy: Path, rehash: Rehash
) -> None:
    for name in ("labels.json", "golden.jsonl"):
        path = bundle_copy / name
        path.write_bytes(path.read_bytes().replace(b'"apology"', '"e\u0301"'.encode()))
    rehash(bundle_copy)
    reading = Classifier.load(bundle_copy).classify("I am so sorry, friend.")
    assert reading.strategies[0].label == "\u00e9"
