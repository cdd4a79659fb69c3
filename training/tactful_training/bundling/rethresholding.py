"""A bundle with other thresholds: the same model as a new version, without training."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import tactful
from tactful.bundle.addresses import ARCHIVE_SUFFIXES, is_remote
from tactful.bundle.goldens import goldens_to_jsonl, make_goldens
from tactful.bundle.loading import Bundle
from tactful.bundle.writing import check_target, write_bundle
from tactful.classifier import Classifier
from tactful.reading.decisions import Heads
from tactful.reading.engine import Engine
from tactful.strict_json import canonical_json
from tactful_training.bundling.golden_choice import safe_pairs
from tactful_training.bundling.rethresholding_goals import (
    Chosen,
    Goal,
    choose_by_goals,
    read_goals,
    too_rare,
    unmet,
)
from tactful_training.bundling.training_traces import reliability_of
from tactful_training.data.data_set import load_labelled
from tactful_training.evaluation.bundle_evaluation import evaluate_answers
from tactful_training.evaluation.decisions_on_rows import Answers, answers_by
from tactful_training.evaluation.evaluation_results import Evaluation, headline, number
from tactful_training.evaluation.figure_table import (
    INTERVAL,
    FigureTable,
    interval_text,
    value_text,
)

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
    out: Path,
    bundle: Bundle,
    chosen: Sequence[Chosen],
    evaluation: Evaluation,
    data: dict[str, Any],
) -> str:
    """Write the bundle with new thresholds.

    Args:
        out: folder of the new one.
        bundle: the old one.
        chosen: what was chosen; all goals met.
        evaluation: what the new thresholds do on the given rows.
        data: names the rows, for the manifest.

    Returns:
        The id of the new bundle.
    """
    manifest, kept = bundle.manifest, ("model.onnx", "tokenizer.json")
    heads = with_thresholds(bundle.heads, chosen)
    engine = Engine(heads, bundle.files["tokenizer.json"], bundle.files["model.onnx"])
    # A golden next to a new threshold could be decided otherwise on another processor.
    golden = [(each.reply, each.context) for each in bundle.golden]
    pairs = safe_pairs(engine, golden, manifest["golden_tolerance"])
    fields = {key: value for key, value in manifest.items() if key not in _MADE_BY_WRITING}
    fields |= _traces(manifest, chosen, evaluation)
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
        **{name: bundle.files[name] for name in kept},
        "labels.json": canonical_json(heads.to_json()) + b"\n",
        "golden.jsonl": goldens_to_jsonl(make_goldens(engine, pairs)),
        "README.md": (bundle.card + _card(bundle, chosen, evaluation)).encode(),
    }
    return write_bundle(out, manifest_fields=fields, files=files)


def _traces(
    manifest: Mapping[str, Any], chosen: Sequence[Chosen], evaluation: Evaluation
) -> dict[str, Any]:
    """What a report measures by, where the manifest has it, for the new thresholds.

    How well labels are read is what the given rows say; how often labels that are decided anew were
    decided in training is not known any more.
    """
    fields: dict[str, Any] = {}
    if "reliability" in manifest:
        fields["reliability"] = reliability_of(evaluation)
    if "reference" in manifest:
        anew = {(each.goal.task, each.goal.label) for each in chosen}
        labels = {
            task: {label: count for label, count in counts.items() if (task, label) not in anew}
            for task, counts in manifest["reference"]["labels"].items()
        }
        fields["reference"] = {**manifest["reference"], "labels": labels}
    return fields


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
        goal = f"{each.goal.metric} >= {each.goal.least:g}"
        cells = [f"`{each.goal.label}`", goal, f"{each.before:.3f}", f"{each.threshold:.3f}"]
        lines.append(f"| {' | '.join([*cells, *figures])} |")
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class ChoosingResult:
    """What came of it.

    Attributes:
        chosen: one for each goal that is not left out.
        left_out: goals of ``*`` whose label is too rare, and its rows; its threshold stays.
        out: folder of the new bundle; None where a goal was not met and nothing was written.
        bundle: its id, or None.
    """

    chosen: Sequence[Chosen]
    left_out: Mapping[Goal, int]
    out: Path | None = None
    bundle: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The JSON of ``tactful thresholds``."""
        return {
            "thresholds": [each.to_dict() for each in self.chosen],
            "left_out": [
                {"task": goal.task, "label": goal.label, "support": support}
                for goal, support in self.left_out.items()
            ],
            "bundle": self.bundle,
            "out": None if self.out is None else str(self.out),
        }

    def table(self) -> FigureTable:
        """A line for each goal: thresholds, and what is to be expected with 95% intervals."""
        shown = {"precision": "precision", "recall": "recall", "rate": "share of replies"}
        headings = [
            "before",
            "now",
            *(each for name in shown.values() for each in (name, INTERVAL)),
        ]
        table = FigureTable("Thresholds", ["label", "goal"], headings)
        for each in self.chosen:
            now = "not met" if each.threshold is None else f"{each.threshold:.3f}"
            figures = [each.figures[name] for name in shown]
            cells = [text(one) for one in figures for text in (value_text, interval_text)]
            goal = f"{each.goal.metric} >= {each.goal.least:g}"
            table.add(each.goal.label, goal, f"{each.before:.3f}", now, *cells)
        return table


def choose_and_write(
    source: str,
    data: str,
    split: str,
    policies: Sequence[str],
    out: Path | None,
    delimiter: str | None = None,
) -> ChoosingResult:
    """Choose thresholds on labelled rows and, if every goal is met, write the new bundle.

    Args:
        source: the bundle.
        data: a data set or a file of rows.
        split: of a data set.
        policies: see `read_goals`.
        out: folder of the new bundle; None is the old one's with the new version behind its name.
        delimiter: of CSV files; None finds it.

    Raises:
        TactfulError: of the kind that fits what cannot be used.
    """
    classifier = Classifier.load(source)
    bundle = classifier.bundle
    goals = read_goals(policies, bundle.heads.tasks)
    labelled = load_labelled(data, split, bundle.heads.tasks, delimiter=delimiter)
    if out is None:
        out = _beside(source, bundle.manifest["name"], next_version(bundle.manifest["version"]))
    check_target(out)
    answers = answers_by(classifier, labelled.rows, labelled.tasks)
    chosen, left_out = choose_by_goals(goals, answers), too_rare(goals, answers)
    if unmet(chosen):
        return ChoosingResult(chosen, left_out)
    evaluation = evaluate_answers(_decided_anew(answers, chosen), slices=())
    told = {"name": Path(data).name, "rows": len(labelled.rows)}
    if labelled.data_set is not None:
        told |= {"split": split, "sha256": labelled.data_set.digests}
    written = write_with_thresholds(out, bundle, chosen, evaluation, told)
    return ChoosingResult(chosen, left_out, out, written)


def _decided_anew(answers: Answers, chosen: Sequence[Chosen]) -> Answers:
    """The answers with the new thresholds; evidence is left out, it belonged to old decisions."""
    decisions = answers.decisions.copy()
    thresholds = dict(answers.thresholds)
    for each in chosen:
        if each.threshold is not None:
            key = (each.goal.task, each.goal.label)
            column = answers.tasks.columns[key]
            decisions[:, column] = answers.scores[:, column] >= each.threshold
            thresholds[key] = each.threshold
    return replace(answers, decisions=decisions, spans=None, thresholds=thresholds)


def _beside(source: str, name: str, version: str) -> Path:
    if is_remote(source):
        return Path("models") / f"{name}-{version}"
    path = Path(source).absolute()
    stem = path.name
    for suffix in (".bundle", *ARCHIVE_SUFFIXES, ".bundle"):
        stem = stem.removesuffix(suffix)
    return path.with_name(f"{stem}-{version}")
