"""Thresholds that meet a stated precision or recall on given rows.

``apology: precision>=0.9`` asks for the threshold that finds the most apologies while at least 90%
of what is decided is right; ``recall>=0.95`` for the one that decides best while at least 95% are
found. Labels without a policy keep their thresholds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tactful.reading.tasks import Tasks, one_form
from tactful_training.config.strict_yaml import YamlError, parse_yaml
from tactful_training.errors import ConfigError, DataError
from tactful_training.evaluation.bootstrap import RESAMPLES, Doubles, Estimate, Resamples
from tactful_training.evaluation.decisions_on_rows import Answers
from tactful_training.evaluation.evaluation_results import estimate_to_dict, number
from tactful_training.evaluation.quality_metrics import decision_counts, precision_recall_f1, ratio

Metric = Literal["precision", "recall"]
_GOAL = re.compile(r"(precision|recall)\s*>=\s*([0-9]*\.?[0-9]+)")
_EVERY = "*"
LEAST_POSITIVES = 10
"""Rows that a label needs before a rate on them means something."""


@dataclass(frozen=True)
class Goal:
    """What is asked of one label.

    Attributes:
        task: its task.
        label: the label.
        metric: precision or recall.
        least: the value that it must reach, 0 to 1.
        every: whether it is asked of all labels, so that one too rare to be measured is left out.
    """

    task: str
    label: str
    metric: Metric
    least: float
    every: bool = False

    def __str__(self) -> str:
        return f"{self.task}/{self.label}: {self.metric}>={self.least:g}"


@dataclass(frozen=True)
class Chosen:
    """The threshold for one goal, and what it does on the given rows.

    Attributes:
        goal: what was asked.
        before: the threshold of the bundle.
        threshold: the new one; None where no threshold meets the goal.
        support: rows that carry the label.
        figures: precision, recall, f1 and ``rate``, the share of replies with the label; at the
            new threshold, or at the one that comes nearest.
    """

    goal: Goal
    before: float
    threshold: float | None
    support: int
    figures: Mapping[str, Estimate]

    def to_dict(self) -> dict[str, Any]:
        """As in the JSON of ``tactful thresholds``."""
        return {
            "task": self.goal.task,
            "label": self.goal.label,
            "goal": f"{self.goal.metric}>={self.goal.least:g}",
            "met": self.threshold is not None,
            "before": self.before,
            "threshold": None if self.threshold is None else number(self.threshold),
            "support": self.support,
            **{name: estimate_to_dict(each) for name, each in self.figures.items()},
        }


def read_goals(texts: Sequence[str], tasks: Tasks) -> list[Goal]:
    """Goals from ``LABEL: precision>=0.9`` or from YAML files of such lines; the last one counts.

    ``*`` stands for every label of the multilabel tasks that has enough rows; a label that two
    tasks have is named ``TASK/LABEL``.

    Raises:
        ConfigError: a text is neither, or names what the bundle cannot do.
    """
    goals: dict[tuple[str, str], Goal] = {}
    for name, asked in (pair for text in texts for pair in _lines(text)):
        match = _GOAL.fullmatch(str(asked).strip())
        if match is None or not 0 < float(match[2]) <= 1:
            raise ConfigError(
                f"policy {name}: {asked!r}: write precision>=0.9 or recall>=0.9, above 0 to 1"
            )
        for task, label in _named(one_form(name), tasks):
            metric: Metric = "precision" if match[1] == "precision" else "recall"
            goals[task, label] = Goal(task, label, metric, float(match[2]), name == _EVERY)
    if not goals:
        raise ConfigError("no policy is given; for example --policy 'apology: precision>=0.9'")
    return list(goals.values())


def choose_by_goals(
    goals: Sequence[Goal], answers: Answers, *, resamples: int = RESAMPLES, seed: int = 0
) -> list[Chosen]:
    """The threshold for every goal, those left out by `too_rare` aside.

    Intervals are those of the figures at the chosen threshold; that it was chosen on the same rows
    is not in them.

    Args:
        goals: what is asked.
        answers: what the bundle says of labelled rows.
        resamples: of groups of rows, behind each interval.
        seed: fixes the resamples.

    Raises:
        DataError: a label that was named has too few positive rows, or every label has.
    """
    rare = too_rare(goals, answers)
    wanted = [goal for goal in goals if goal not in rare]
    if not wanted:
        raise DataError(
            f"no label has {LEAST_POSITIVES} rows or more, which are needed to choose a threshold"
        )
    drawn = Resamples([row.group for row in answers.rows], count=resamples, seed=seed)
    return [_choose(goal, answers, drawn) for goal in wanted]


def too_rare(goals: Sequence[Goal], answers: Answers) -> dict[Goal, int]:
    """The goals of ``*`` whose label has too few positive rows, and how many it has."""
    support = {goal: _support(goal, answers) for goal in goals if goal.every}
    return {goal: count for goal, count in support.items() if count < LEAST_POSITIVES}


def _support(goal: Goal, answers: Answers) -> int:
    return int(np.nansum(answers.truth[:, answers.tasks.columns[goal.task, goal.label]]))


def _choose(goal: Goal, answers: Answers, drawn: Resamples) -> Chosen:
    column = answers.tasks.columns[goal.task, goal.label]
    truth, scores = answers.truth[:, column], answers.scores[:, column]
    support = _support(goal, answers)
    if support < LEAST_POSITIVES:
        raise DataError(
            f"{goal}: only {support} rows carry {goal.label}; at least {LEAST_POSITIVES} are "
            "needed to choose a threshold"
        )
    candidates = _candidates(scores[~np.isnan(truth)])
    decided = scores[None] >= candidates[:, None]
    hits = (decided & (truth == 1)).sum(axis=1).astype(float)
    false = (decided & (truth == 0)).sum(axis=1).astype(float)
    precision, recall, _ = precision_recall_f1(hits, false, support - hits)
    asked, other = (precision, recall) if goal.metric == "precision" else (recall, precision)
    asked, other = np.nan_to_num(asked, nan=-1.0), np.nan_to_num(other, nan=-1.0)
    meets = asked >= goal.least
    best = int(np.where(meets, other, -2.0).argmax()) if meets.any() else int(asked.argmax())
    threshold = float(candidates[best])
    return Chosen(
        goal,
        answers.thresholds[goal.task, goal.label],
        threshold if meets.any() else None,
        support,
        _figures(truth, scores >= threshold, drawn),
    )


def _candidates(scores: Doubles) -> NDArray[np.float64]:
    """Thresholds that part the rows differently, each halfway between two scores, as float32."""
    distinct = np.unique(scores)
    between = (distinct[1:] + distinct[:-1]) / 2
    inside = np.concatenate([[distinct[0] / 2], between, [(1 + distinct[-1]) / 2]])
    return np.unique(inside.astype(np.float32)).astype(np.float64)


def _figures(
    truth: NDArray[Any], decided: NDArray[np.bool_], drawn: Resamples
) -> dict[str, Estimate]:
    counts = drawn.sums(decision_counts(truth[:, None], decided[:, None]))
    rows = drawn.sums(np.stack([decided, np.ones(len(decided))], axis=1))

    def statistic(weights: Doubles) -> Doubles:
        figures = precision_recall_f1(*(weights @ counts).T)
        said, every = (weights @ rows).T
        return np.column_stack([*figures, ratio(said, every)])

    names = ("precision", "recall", "f1", "rate")
    return dict(zip(names, drawn.estimates(statistic), strict=True))


def _lines(text: str) -> list[tuple[str, object]]:
    """(label, goal) pairs of one policy, given as text or as a file."""
    path = Path(text)
    if path.suffix not in (".yaml", ".yml"):
        # Not as YAML, for which a label that holds ': ' or begins with '*' would need quotes.
        name, colon, asked = text.rpartition(": ")
        if not colon:
            raise ConfigError(f"policy {text!r}: write LABEL: precision>=0.9")
        return [(_unquoted(name.strip()), asked)]
    try:
        content = parse_yaml(path.read_text("utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the policy file {path} cannot be read: {error}") from error
    except YamlError as error:
        line = "" if error.line is None else f", line {error.line}"
        raise ConfigError(
            f"the policy file {path}{line}: {error}; its lines are LABEL: precision>=0.9, with "
            "'…' around a label that holds ': ' or begins with a sign"
        ) from error
    if not isinstance(content, dict):
        raise ConfigError(f"the policy file {path}: write lines LABEL: precision>=0.9")
    for name in content:
        if not isinstance(name, str):  # null, yes, 1: who knows how it was written
            raise ConfigError(f"the policy file {path}: put quotes around the label {name!r}")
    return list(content.items())


def _unquoted(name: str) -> str:
    """A label as a YAML file would have it, without its quotes."""
    if len(name) < 2 or name[0] != name[-1] or name[0] not in "'\"":
        return name
    return name[1:-1].replace("''", "'") if name[0] == "'" else name[1:-1]


def _named(name: str, tasks: Tasks) -> list[tuple[str, str]]:
    choices = [
        (task.name, label) for task in tasks if task.kind == "multilabel" for label in task.names
    ]
    if name == _EVERY:
        return choices
    # A label may hold '/', a task may not: TASK/LABEL names one label whatever others look like.
    found = [pair for pair in choices if name == "/".join(pair)]
    found = found or [pair for pair in choices if name == pair[1]]
    if len(found) == 1:
        return found
    single = [task.name for task in tasks if task.kind == "single" and name in task.names]
    if single and not found:
        raise ConfigError(
            f"policy {name}: {single[0]} has exactly one label in every reply, the most probable "
            "one; thresholds belong to tasks of several labels"
        )
    problem = "belongs to several tasks; write TASK/LABEL" if found else "is no label of the bundle"
    raise ConfigError(f"policy {name}: {name!r} {problem}: {', '.join(map('/'.join, choices))}")


def unmet(chosen: Sequence[Chosen]) -> list[str]:
    """A line for each goal that no threshold meets."""
    return [
        f"{each.goal}: no threshold reaches it on these rows; the nearest has "
        f"{each.goal.metric} {each.figures[each.goal.metric].value:.3f}"
        for each in chosen
        if each.threshold is None or math.isnan(each.threshold)
    ]
