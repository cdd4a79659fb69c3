"""Puts together what a bundle is made of and writes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tactful
from tactful.canonical import canonical_json
from tactful.engine import Engine
from tactful.goldens import goldens_to_jsonl
from tactful.writing import write_bundle
from tactful_training.data.rows import Row
from tactful_training.evaluation_result import headline, number
from tactful_training.goldens import TOLERANCE, choose_goldens
from tactful_training.model_card import RunRecord, model_card


def pack(out: Path, record: RunRecord, engine: Engine, model: bytes, validation: list[Row]) -> str:
    """Write the bundle; it takes the old one's place once it has been verified.

    Args:
        out: its folder.
        record: what the run was.
        engine: the model as it will be served.
        model: the ONNX file.
        validation: rows to choose goldens from.

    Returns:
        The bundle's id.
    """
    goldens = choose_goldens(engine, validation, record.config.goldens.count)
    return write_bundle(
        out,
        manifest_fields=_manifest_fields(record),
        files={
            "model.onnx": model,
            "tokenizer.json": record.encoder.tokenizer,
            "labels.json": canonical_json(record.heads.to_json()) + b"\n",
            "golden.jsonl": goldens_to_jsonl(goldens),
            "README.md": model_card(record).encode(),
        },
    )


def _manifest_fields(record: RunRecord) -> dict[str, Any]:
    return {
        "name": record.config.name,
        "version": record.config.version,
        "golden_tolerance": TOLERANCE,
        "tactful": tactful.__version__,
        "precision": "fp32",
        "encoder": {"name": record.encoder.name, "sha256": record.encoder.sha256},
        "data": {"name": record.data.folder.name, "sha256": record.data.digests},
        "mlflow_run": record.tracking_run,
        "git_commit": record.commit,
        "metrics": {
            split: {path: number(estimate.value) for path, estimate in headline(measured).items()}
            for split, measured in record.evaluations.items()
        },
    }
