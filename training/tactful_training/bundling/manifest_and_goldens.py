"""What a bundle holds beside the model: manifest fields and goldens; all of it is written here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tactful
from tactful.bundle.goldens import goldens_to_jsonl
from tactful.bundle.writing import write_bundle
from tactful.reading.engine import Engine
from tactful.strict_json import canonical_json
from tactful_training.bundling.golden_choice import TOLERANCES, choose_goldens
from tactful_training.bundling.model_card import model_card
from tactful_training.bundling.run_record import RunRecord
from tactful_training.bundling.training_traces import (
    neighbours_of,
    reference_of_readings,
    reliability_of,
    with_metadata,
)
from tactful_training.evaluation.evaluation_results import headline, number


def pack(out: Path, record: RunRecord, engine: Engine) -> str:
    """Write the bundle; it takes the old one's place once it has been verified.

    Args:
        out: its folder.
        record: what the run was.
        engine: the model as it will be served.

    Returns:
        The bundle's id.
    """
    shipped = record.choice.shipped
    tolerance = TOLERANCES[shipped.candidate.precision]
    goldens = choose_goldens(
        engine,
        record.inputs.rows["validation"],
        shipped.readings,
        record.config.goldens.count,
        tolerance,
    )
    neighbours = neighbours_of(record)
    return write_bundle(
        out,
        manifest_fields=_manifest_fields(record),
        files={
            "model.onnx": with_metadata(shipped.candidate.content, neighbours.to_metadata()),
            "tokenizer.json": record.inputs.encoder.tokenizer,
            "labels.json": canonical_json(shipped.heads.to_json()) + b"\n",
            "golden.jsonl": goldens_to_jsonl(goldens),
            "README.md": model_card(record).encode(),
        },
    )


def _manifest_fields(record: RunRecord) -> dict[str, Any]:
    precision = record.choice.shipped.candidate.precision
    shipped, validation = record.choice.shipped, record.inputs.rows["validation"]
    reference = reference_of_readings(validation, shipped.readings, record.heads.tasks)
    return {
        "name": record.config.name,
        "version": record.config.version,
        "golden_tolerance": TOLERANCES[precision],
        "tactful": tactful.__version__,
        "precision": precision,
        "quantisation": record.choice.to_json(),
        "encoder": record.inputs.encoder.to_json(),
        **({"started_from": start.to_json()} if (start := record.inputs.start) else {}),
        **({"distilled_from": learnt} if (learnt := record.inputs.learnt_from()) else {}),
        "data": record.inputs.data.to_json(),
        "mlflow_run": record.tracking_run,
        "git_commit": record.commit,
        "metrics": {
            split: {path: number(estimate.value) for path, estimate in headline(measured).items()}
            for split, measured in record.evaluations.items()
        },
        "reliability": reliability_of(record.evaluations["test"]),
        **({} if reference is None else {"reference": reference.to_dict()}),
    }
