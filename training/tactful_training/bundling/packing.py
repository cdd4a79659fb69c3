"""Puts together what a bundle is made of and writes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tactful
from tactful.bundle.goldens import goldens_to_jsonl
from tactful.bundle.writing import write_bundle
from tactful.reading.engine import Engine
from tactful.strict_json import canonical_json
from tactful_training.bundling.golden_choice import TOLERANCES, choose_goldens
from tactful_training.bundling.model_card import RunRecord, model_card
from tactful_training.data.labelled_row import Row
from tactful_training.evaluation.evaluation_results import headline, number


def pack(out: Path, record: RunRecord, engine: Engine, validation: list[Row]) -> str:
    """Write the bundle; it takes the old one's place once it has been verified.

    Args:
        out: its folder.
        record: what the run was.
        engine: the model as it will be served.
        validation: rows to choose goldens from.

    Returns:
        The bundle's id.
    """
    shipped = record.choice.shipped
    tolerance = TOLERANCES[shipped.candidate.precision]
    goldens = choose_goldens(engine, validation, record.config.goldens.count, tolerance)
    return write_bundle(
        out,
        manifest_fields=_manifest_fields(record),
        files={
            "model.onnx": shipped.candidate.content,
            "tokenizer.json": record.encoder.tokenizer,
            "labels.json": canonical_json(shipped.heads.to_json()) + b"\n",
            "golden.jsonl": goldens_to_jsonl(goldens),
            "README.md": model_card(record).encode(),
        },
    )


def _manifest_fields(record: RunRecord) -> dict[str, Any]:
    precision = record.choice.shipped.candidate.precision
    return {
        "name": record.config.name,
        "version": record.config.version,
        "golden_tolerance": TOLERANCES[precision],
        "tactful": tactful.__version__,
        "precision": precision,
        "quantisation": record.choice.to_json(),
        "encoder": {"name": record.encoder.name, "sha256": record.encoder.sha256},
        "data": {"name": record.data.folder.name, "sha256": record.data.digests},
        "mlflow_run": record.tracking_run,
        "git_commit": record.commit,
        "metrics": {
            split: {path: number(estimate.value) for path, estimate in headline(measured).items()}
            for split, measured in record.evaluations.items()
        },
    }
