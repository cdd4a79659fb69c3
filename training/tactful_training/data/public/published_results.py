"""The figures of docs/benchmarks.md, from what `make benchmarks` left in two folders.

    python -m tactful_training.data.public.published_results [FOLDER]

prints a Markdown table: the mean over seeds or folds, its standard deviation, and each value; of
speeds and sizes the median.
FOLDER (here by default) has ``benchmarks/NAME.json``, which `tactful evaluate --json` wrote, and
``models/NAME``, the bundles.
"""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

_MECHANISMS = ("emotional_reactions", "interpretations", "explorations")
# Beginning of a result's name to what is published of its set, as a path in the evaluation.
_FIGURES = {
    "goemotions": ("emotions/macro_f1_all", "emotions/micro_f1"),
    "esconv": ("strategy/macro_f1", "strategy/accuracy"),
    "epitome": (
        *(f"{mechanism}/macro_f1" for mechanism in _MECHANISMS),
        *(
            f"mechanisms/labels/{mechanism}/evidence/{figure}"
            for mechanism in _MECHANISMS
            for figure in ("token_f1", "iou_f1")
        ),
    ),
}


def lines(folder: Path) -> Iterator[str]:
    """The table, line by line.

    Args:
        folder: with ``benchmarks`` and ``models``.

    Raises:
        ValueError: nothing was measured there.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for path in sorted((folder / "benchmarks").glob("*.json")):
        groups[re.sub(r"-\d+$", "", path.stem)].append(path.stem)
    known = {name: found for name, found in groups.items() if name.split("-")[0] in _FIGURES}
    if not known:
        raise ValueError(f"{folder / 'benchmarks'} has no results; make benchmarks measures them")
    yield "| result | figure | as it ships | fp32 |"
    yield "|---|---|---|---|"
    for name, names in known.items():
        evaluations = [_json(folder / "benchmarks" / f"{each}.json") for each in names]
        manifests = [_json(folder / "models" / each / "manifest.json") for each in names]
        for figure in _FIGURES[name.split("-")[0]]:
            shipped = [_at(evaluation, figure) for evaluation in evaluations]
            fp32 = [_fp32(manifest, figure) for manifest in manifests]
            yield f"| {name} | {figure} | {_told(shipped)} | {_told(fp32)} |"
        for key, unit, scale in (("bytes", "MB", 1e6), ("replies_per_second", "replies/s", 1)):
            forms = [_forms(manifest) for manifest in manifests]
            sides = [[each[side][key] / scale for each in forms] for side in ("shipped", "fp32")]
            yield f"| {name} | {unit} | {median(sides[0]):.0f} | {median(sides[1]):.0f} |"


def _json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _at(evaluation: Mapping[str, Any], figure: str) -> float | None:
    """A figure of an evaluation; None where it is undefined."""
    found: Any = evaluation
    for key in figure.split("/"):
        found = None if found is None else found[key]
    return None if found is None or found["value"] is None else float(found["value"])


def _fp32(manifest: Mapping[str, Any], figure: str) -> float | None:
    """Of the fp32 form; the manifest has no figures of single labels."""
    found = manifest["metrics"].get("fp32_test", {}).get(figure)
    return None if found is None else float(found)


def _forms(manifest: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    forms = {each["name"]: each for each in manifest["quantisation"]["candidates"]}
    return {"shipped": forms[manifest["quantisation"]["shipped"]], "fp32": forms["fp32"]}


def _told(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return ""
    if len(known) == 1:
        return f"{known[0]:.3f}"
    each = ", ".join(f"{value:.3f}" for value in known)
    return f"{mean(known):.3f} ± {stdev(known):.3f} ({each})"


if __name__ == "__main__":
    try:
        print(*lines(Path(*sys.argv[1:2])), sep="\n")
    except (ValueError, OSError) as error:
        raise SystemExit(f"error: {error}") from None
