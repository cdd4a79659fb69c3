"""The shapes of the JSON of the Open Inference Protocol, for the OpenAPI description."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Parameters = dict[str, bool | int | float | str]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ServerMetadata(_Shape):
    """The service and what it knows beyond the protocol."""

    name: str
    version: str
    extensions: list[str]


class Live(_Shape):
    """The process is alive."""

    live: bool


class Ready(_Shape):
    """A verified bundle serves, and requests are taken."""

    ready: bool


class ModelReady(_Shape):
    """The model takes requests."""

    name: str
    ready: bool


class TensorMetadata(_Shape):
    """What a tensor is like; -1 stands for any number of rows."""

    name: str
    datatype: Literal["BYTES", "FP32", "BOOL"]
    shape: list[int]
    parameters: Parameters | None = Field(
        None, description="labels: the names of the columns, as a|b."
    )


class ModelMetadata(_Shape):
    """The model and its tensors."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class InputTensor(BaseModel):
    """A column of texts."""

    name: Literal["reply", "context"]
    datatype: Literal["BYTES"]
    shape: list[int] = Field(description="[n] or [n, 1].", min_length=1, max_length=2)
    parameters: dict[str, Any] | None = None
    data: list[Any] | None = Field(None, description="Texts; an empty context stands for none.")


class WantedOutput(BaseModel):
    """An output that is to be in the answer; without any, all are."""

    name: str
    parameters: dict[str, Any] | None = None


class Inference(BaseModel):
    """Replies to read, as tensors."""

    id: str | None = None
    parameters: dict[str, Any] | None = None
    inputs: list[InputTensor] = Field(min_length=1, max_length=2)
    outputs: list[WantedOutput] | None = None


class OutputTensor(TensorMetadata):
    """A column of answers; its data is missing where it stands in bytes behind the JSON."""

    data: list[str] | list[bool] | list[float] | None = None


class Inferred(_Shape):
    """One row of each output for each row of the inputs."""

    model_name: str
    model_version: str
    id: str | None = None
    parameters: Parameters
    outputs: list[OutputTensor]


class InferenceError(_Shape):
    """What is wrong; never quotes what was sent."""

    error: str


INFERENCE_EXAMPLE = {
    "inputs": [
        {
            "name": "reply",
            "datatype": "BYTES",
            "shape": [2],
            "data": ["I'm so sorry, Ana. I've sent a new one.", "Closed."],
        },
        {
            "name": "context",
            "datatype": "BYTES",
            "shape": [2],
            "data": ["My parcel never came", ""],
        },
    ],
    "outputs": [{"name": "strategies"}, {"name": "tone"}],
}
INFERRED_EXAMPLE = {
    "model_name": "tactful",
    "model_version": "0.1.0",
    "parameters": {"bundle": "tactful@4f1c0a9b2d7e"},
    "outputs": [
        {
            "name": "strategies",
            "datatype": "BYTES",
            "shape": [2],
            "data": ["apology|concrete_solution", ""],
        },
        {"name": "tone", "datatype": "BYTES", "shape": [2], "data": ["sympathetic", "neutral"]},
    ],
}
