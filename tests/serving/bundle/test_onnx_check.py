from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import AttributeProto, ModelProto, NodeProto, SparseTensorProto, TensorProto

from tactful.bundle.onnx_check import external_data


def outside(name: str = "far") -> TensorProto:
    tensor = TensorProto(name=name, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../far.bin")
    tensor.external_data.add(key="offset", value="0")
    return tensor


def with_attribute(**fields: object) -> ModelProto:
    model = ModelProto()
    model.graph.node.append(NodeProto(attribute=[AttributeProto(**fields)]))
    return model


def with_graph(**fields: object) -> ModelProto:
    model = ModelProto()
    model.graph.MergeFrom(type(model.graph)(**fields))
    return model


def in_function() -> ModelProto:
    model = with_graph()
    model.functions.add().node.append(NodeProto(attribute=[AttributeProto(t=outside())]))
    return model


def in_function_default() -> ModelProto:
    model = with_graph()
    model.functions.add().attribute_proto.append(AttributeProto(t=outside()))
    return model


def in_training() -> ModelProto:
    model = with_graph()
    model.training_info.add().algorithm.initializer.append(outside())
    return model


def in_initialization() -> ModelProto:
    model = with_graph()
    model.training_info.add().initialization.initializer.append(outside())
    return model


def nested(depth: int) -> ModelProto:
    model = with_graph(initializer=[outside()])
    for _ in range(depth):
        model = with_attribute(g=model.graph)
    return model


sparse_values = SparseTensorProto(values=outside())
sparse_indices = SparseTensorProto(indices=outside())


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(with_graph(initializer=[outside()]), id="initializer"),
        pytest.param(with_graph(sparse_initializer=[sparse_values]), id="sparse values"),
        pytest.param(with_graph(sparse_initializer=[sparse_indices]), id="sparse indices"),
        pytest.param(with_attribute(t=outside()), id="attribute"),
        pytest.param(with_attribute(tensors=[outside()]), id="attribute list"),
        pytest.param(with_attribute(sparse_tensor=sparse_values), id="sparse attribute"),
        pytest.param(with_attribute(sparse_tensors=[sparse_values]), id="sparse list"),
        pytest.param(with_attribute(graphs=[nested(0).graph]), id="subgraphs"),
        pytest.param(nested(1), id="subgraph"),
        pytest.param(nested(30), id="deep subgraph"),
        pytest.param(in_function(), id="function"),
        pytest.param(in_function_default(), id="function default"),
        pytest.param(in_training(), id="training"),
        pytest.param(in_initialization(), id="initialization"),
    ],
)
def test_every_place_of_a_tensor_is_looked_at(model: ModelProto) -> None:
    lines = external_data(model.SerializeToString())
    assert lines == ["tensor 'far' keeps its data in another file (../far.bin)"]


def test_either_sign_of_external_data_suffices() -> None:
    placed = TensorProto(name="placed")
    placed.external_data.add(key="location", value="x")
    marked = TensorProto(name="marked", data_location=TensorProto.EXTERNAL)
    lines = external_data(with_graph(initializer=[placed, marked]).SerializeToString())
    assert sorted(lines) == [
        "tensor 'marked' keeps its data in another file (not named)",
        "tensor 'placed' keeps its data in another file (x)",
    ]


def test_an_enumeration_is_read_as_protobuf_reads_it() -> None:
    # 1 + 2**32 in a varint is 1 to a parser of 32-bit enumerations.
    tensor = bytes([14 << 3, 0x81, 0x80, 0x80, 0x80, 0x10])
    graph = bytes([5 << 3 | 2, len(tensor)]) + tensor
    assert len(external_data(bytes([7 << 3 | 2, len(graph)]) + graph)) == 1


def test_a_whole_model_has_none(bundle_parts: dict[str, bytes]) -> None:
    assert external_data(bundle_parts["model.onnx"]) == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x08\x07",  # only a version
        b"\x3a\x7f",  # a graph longer than the file
        b"\x3a",  # no length
        b"\x3b",  # a wire type that onnx.proto never uses
        b"\x08" + b"\xff" * 11,  # a number without end
        b"\x09\x00",  # eight bytes announced
    ],
)
def test_bytes_that_are_no_model(content: bytes) -> None:
    with pytest.raises(ValueError, match="not an ONNX model"):
        external_data(content)


@settings(deadline=None, max_examples=300)
@given(content=st.binary(max_size=60))
def test_any_bytes_give_an_answer_or_a_value_error(content: bytes) -> None:
    with contextlib.suppress(ValueError):
        external_data(b"\x3a" + bytes([len(content)]) + content)
