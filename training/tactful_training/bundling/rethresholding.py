"""A bundle with other thresholds: the same model as a new version, without training."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import tactful
from tactful.bundle.addresses import fetched, is_registry_uri
from tactful.bundle.goldens import goldens_to_jsonl, make_goldens
from tactful.bundle.loading import Bundle
from tactful.bundle.manifest import read_bundle_files
from tactful.bundle.writing import write_bundle
from tactful.errors import BundleError
from tactful.reading.decisions import Heads
from tactful.reading.engine import Engine
from tactful.strict_json import canonical_json
from tactful_training.bundling.golden_choice import safe_pairs
from tactful_training.bundling.threshold_goals import Chosen
from tactful_training.evaluation.results import Evaluation, headline, number

_NUMBERED = re.compile(r"(\d+\.\d+\.)(\d+)")
_MADE_BY_WRITING = ("format", "created", "files", "digest")


def with_thresholds(heads: Heads, chosen: Sequence[Chosen]) -> Heads:
    """Heads with the chosen thresholds in the place of the old ones."""
    changed = []
    for head in heads.heads:
        if head.thresholds is not None:
            values = head.thresholds.copy()
            for each in chosen:
                if each.goal.task == head.task.name and each.threshold is not None:
                    values[head.task.names.index(each.goal.label)] = each.threshold
            head = replace(head, thresholds=values.astype(np.float32))
        changed.append(head)
    return replace(heads, heads=tuple(changed))


def next_version(version: str) -> str:
    """``0.1.0`` to ``0.1.1``; anything else gets ``+1`` or counts it up."""
    if match := _NUMBERED.fullmatch(version):
        return f"{match[1]}{int(match[2]) + 1}"
    base, plus, last = version.rpartition("+")
    return f"{base}+{int(last) + 1}" if plus and last.isdecimal() else f"{version}+1"


def write_with_thresholds(
    source: str,
    out: Path,
    bundle: Bundle,
    chosen: Sequence[Chosen],
    evaluation: Evaluation,
    data: dict[str, Any],
) -> str:
    """Write the bundle with new thresholds.

    Args:
        source: where the bundle lies.
        out: folder of the new one.
        bundle: the same, loaded.
        chosen: what was chosen; all goals met.
        evaluation: what the new thresholds do on the given rows.
        data: names the rows, for the manifest.

    Returns:
        The id of the new bundle.
    """
    if is_registry_uri(source):
        with fetched(source) as folder:
            manifest, contents = read_bundle_files(folder)
    else:
        manifest, contents = read_bundle_files(Path(source))
    if manifest["digest"] != bundle.manifest["digest"]:
        raise BundleError(source, ["it changed while its thresholds were chosen; run it again"])
    heads = with_thresholds(bundle.heads, chosen)
    engine = Engine(heads, contents["tokenizer.json"], contents["model.onnx"])
    # A golden next to a new threshold could be decided otherwise on another processor.
    golden = [(each.reply, each.context) for each in bundle.golden]
    pairs = safe_pairs(engine, golden, manifest["golden_tolerance"])
    fields = {key: value for key, value in manifest.items() if key not in _MADE_BY_WRITING}
    fields |= {
        "version": next_version(manifest["version"]),
        "tactful": tactful.__version__,
        "derived_from": bundle.id,
        "threshold_policy": [str(each.goal) for each in chosen],
        "threshold_data": data,
        "metrics": {
            "thresholds": {name: number(each.value) for name, each in headline(evaluation).items()}
        },
    }
    files = {
        **{name: contents[name] for name in ("model.onnx", "tokenizer.json")},
        "labels.json": canonical_json(heads.to_json()) + b"\n",
        "golden.jsonl": goldens_to_jsonl(make_goldens(engine, pairs)),
        "README.md": (bundle.card + _card(bundle, chosen, evaluation)).encode(),
    }
    return write_bundle(out, manifest_fields=fields, files=files)


def _card(bundle: Bundle, chosen: Sequence[Chosen], evaluation: Evaluation) -> str:
    lines = [
        "\n## Thresholds of this version\n",
        f"Made from {bundle.id} without training: only the thresholds below differ, and the "
        f"figures above are those of the older ones. Chosen and measured on {evaluation.n} rows; "
        "in brackets 95% intervals, which do not hold that the thresholds were chosen on the same "
        "rows.\n",
        "| label | policy | before | now | precision | recall | share of replies |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for each in chosen:
        figures = [
            f"{e.value:.3f} ({e.low:.3f} to {e.high:.3f})"
            for e in (each.figures[name] for name in ("precision", "recall", "rate"))
        ]
        goal = f"{each.goal.figure} >= {each.goal.least:g}"
        cells = [f"`{each.goal.label}`", goal, f"{each.before:.3f}", f"{each.threshold:.3f}"]
        lines.append(f"| {' | '.join([*cells, *figures])} |")
    return "\n".join(lines) + "\n"
