"""What all systems of one benchmark share; light, so that what a system imports is its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Setting:
    """What all systems of one benchmark share.

    Attributes:
        bundle: folder or archive of the bundle.
        encoder: folder of its pretrained encoder.
        exported: its architecture as a plain ONNX file, fp32, nothing fused.
        fp32: the same in the form in which tactful serves fp32.
        heads: the content of the bundle's ``labels.json``.
        labels: how many labels it has.
        threads: for each system.
    """

    bundle: str
    encoder: str
    exported: str
    fp32: str
    heads: dict[str, Any]
    labels: int
    threads: int
