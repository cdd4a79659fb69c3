"""From a bundle, rows and policies to a bundle with other thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tactful.bundle.addresses import is_registry_uri
from tactful.bundle.manifest import ARCHIVE_SUFFIXES
from tactful.bundle.writing import check_target
from tactful.classifier import Classifier
from tactful_training.bundling.rethresholding import next_version, write_with_thresholds
from tactful_training.bundling.threshold_goals import (
    Chosen,
    Goal,
    choose,
    read_goals,
    too_rare,
    unmet,
)
from tactful_training.data.data_set import load_labelled
from tactful_training.evaluation.answers import Answers, answers_of
from tactful_training.evaluation.evaluate import evaluate_answers


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


def choose_and_write(
    source: str, data: str, split: str, policies: Sequence[str], out: Path | None
) -> ChoosingResult:
    """Choose thresholds on labelled rows and, if every goal is met, write the new bundle.

    Args:
        source: the bundle.
        data: a data set or a file of rows.
        split: of a data set.
        policies: see `read_goals`.
        out: folder of the new bundle; None is the old one's with the new version behind its name.

    Raises:
        TactfulError: of the kind that fits what cannot be used.
    """
    classifier = Classifier.load(source)
    bundle = classifier.bundle
    goals = read_goals(policies, bundle.heads.tasks)
    labelled = load_labelled(data, split, bundle.heads.tasks)
    if out is None:
        out = _beside(source, bundle.manifest["name"], next_version(bundle.manifest["version"]))
    check_target(out)
    readings = classifier.classify_many((row.reply, row.context) for row in labelled.rows)
    answers = answers_of(readings, labelled.rows, bundle.heads, labelled.tasks)
    chosen, left_out = choose(goals, answers), too_rare(goals, answers)
    if unmet(chosen):
        return ChoosingResult(chosen, left_out)
    evaluation = evaluate_answers(_decided_anew(answers, chosen), slices=())
    told = {"name": Path(data).name, "rows": len(labelled.rows)}
    if labelled.data_set is not None:
        told |= {"split": split, "sha256": labelled.data_set.digests}
    written = write_with_thresholds(source, out, bundle, chosen, evaluation, told)
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
    if is_registry_uri(source):
        return Path("models") / f"{name}-{version}"
    path = Path(source).absolute()
    stem = path.name
    for suffix in (".bundle", *ARCHIVE_SUFFIXES, ".bundle"):
        stem = stem.removesuffix(suffix)
    return path.with_name(f"{stem}-{version}")
