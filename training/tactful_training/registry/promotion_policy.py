"""The policy of a promotion: ``promotion.yaml`` against a strict schema, and its floors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tactful_training.config.shipped_files import find_config
from tactful_training.config.strict_yaml import YamlError, parse_yaml
from tactful_training.errors import ConfigError
from tactful_training.evaluation.bootstrap import Estimate
from tactful_training.evaluation.bundle_comparison import Comparison
from tactful_training.evaluation.evaluation_results import Evaluation
from tactful_training.evaluation.paired_differences import Difference

DEFAULT_POLICY = "promotion.yaml"
_Share = Annotated[float, Field(ge=0, le=1)]
_Factor = Annotated[float, Field(ge=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class FigureRule(_Section):
    """What is asked of one figure against the champion: a gain, or not to be worse."""

    gain: _Share | None = None
    margin: _Share | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> FigureRule:
        if (self.gain is None) == (self.margin is None):
            raise ValueError("give either gain or margin")
        return self


class LabelRule(_Section):
    """How much worse the F1 of any label may surely be."""

    max_drop: _Share


class CalibrationRule(_Section):
    """Largest expected calibration error of a task, and its largest increase."""

    max_error: _Share
    max_increase: _Share


class CostRule(_Section):
    """Largest factor on the time of a reply and on the size of the model."""

    max_slowdown: _Factor
    max_growth: _Factor


class PromotionPolicy(_Section):
    """A whole policy; ``configs/promotion.yaml`` says what each key means."""

    data: Annotated[str, Field(min_length=1)]
    split: Annotated[str, Field(min_length=1)]
    floors: dict[str, _Share]
    overall: dict[str, FigureRule]
    labels: LabelRule
    calibration: CalibrationRule
    speed: CostRule


def load_policy(name: str | Path | None = None) -> PromotionPolicy:
    """Read a policy file.

    Args:
        name: a path or a bare name (see `find_config`); None is ``promotion.yaml``.

    Raises:
        ConfigError: there is none, or it says something else than it may.
    """
    path = find_config(DEFAULT_POLICY if name is None else name)
    try:
        return PromotionPolicy.model_validate(parse_yaml(path.read_text("utf-8-sig")))
    except (OSError, UnicodeDecodeError, YamlError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise ConfigError(
            f"{path}: {where}: {problem['msg']}; see the commented {DEFAULT_POLICY} that tactful "
            "ships"
        ) from error


def missed_floors(policy: PromotionPolicy, figures: Mapping[str, Estimate]) -> list[str]:
    """A line for each floor that the headline figures of a model do not reach."""
    lines = []
    for name, floor in policy.floors.items():
        figure = figures.get(name)
        if figure is None:
            lines.append(f"{name} was not measured; it must be at least {floor:g}")
        elif not figure.value >= floor:
            lines.append(f"{name} is {figure.value:.3f}; it must be at least {floor:g}")
    return lines


CheckOutcome = Literal["passed", "unproven", "harmful"]
Verdict = Literal["promoted", "held", "refused"]


@dataclass(frozen=True)
class Check:
    """One thing that the policy asks.

    Attributes:
        name: for example ``overall strategies/micro_f1``.
        outcome: whether it holds, was not shown to hold, or was shown not to.
        reason: the figures, in a sentence.
    """

    name: str
    outcome: CheckOutcome
    reason: str


def verdict(checks: Sequence[Check]) -> Verdict:
    """``promoted`` if all hold, ``refused`` if one is harmful, else ``held``."""
    outcomes = {check.outcome for check in checks}
    if "harmful" in outcomes:
        return "refused"
    return "held" if "unproven" in outcomes else "promoted"


def check_alone(
    policy: PromotionPolicy, figures: Mapping[str, Estimate], evaluation: Evaluation
) -> list[Check]:
    """What is asked of any champion: floors and calibration.

    Args:
        policy: the policy.
        figures: the challenger's headline figures.
        evaluation: all that was measured of it.
    """
    missed = missed_floors(policy, figures)
    checks = [Check("floors", "harmful", line) for line in missed]
    if not missed:
        checks.append(Check("floors", "passed", "every floor is reached"))
    limit = policy.calibration.max_error
    for name, task in evaluation.tasks.items():
        error = task.ece.value
        outcome: CheckOutcome = "passed" if error <= limit else "harmful"
        reason = f"calibration error of {name} is {error:.3f}; at most {limit:g}"
        checks.append(Check(f"calibration {name}", outcome, reason))
    return checks


def check_against(policy: PromotionPolicy, comparison: Comparison) -> list[Check]:
    """What is asked of a challenger against the champion (B against A)."""
    return [
        *(_overall(name, rule, comparison) for name, rule in policy.overall.items()),
        *_labels(policy, comparison),
        *_calibration(policy, comparison),
        *_costs(policy, comparison),
    ]


def _overall(name: str, rule: FigureRule, comparison: Comparison) -> Check:
    figure = _figure(name, comparison)
    title = f"overall {name}"
    if figure is None:
        return Check(title, "harmful", f"{name} was not measured on both; the policy asks for it")
    each = figure.difference
    says = f"{name} changes by {each.value:+.3f} ({each.low:+.3f} to {each.high:+.3f})"
    if rule.gain is not None:
        if each.value >= rule.gain and each.low > 0:
            return Check(title, "passed", f"{says}: a gain")
        outcome: CheckOutcome = "harmful" if each.high < 0 else "unproven"
        lacking = "surely worse" if outcome == "harmful" else "a gain is not shown"
        return Check(title, outcome, f"{says}: {lacking}; at least {rule.gain:+g}, surely above 0")
    margin = rule.margin or 0.0
    if each.low > -margin or each.low == each.high == 0:
        return Check(title, "passed", f"{says}: not worse by more than {margin:g}")
    outcome = "harmful" if each.high < 0 else "unproven"
    lacking = "surely worse" if outcome == "harmful" else "it may be worse by more than allowed"
    return Check(title, outcome, f"{says}: {lacking}; the margin is {margin:g}")


def _figure(name: str, comparison: Comparison) -> Difference | None:
    task, _, key = name.partition("/")
    if task == "evidence":
        return comparison.evidence.get(key)
    found = comparison.tasks.get(task)
    return None if found is None else found.headline.get(key)


def _labels(policy: PromotionPolicy, comparison: Comparison) -> Iterator[Check]:
    drop = policy.labels.max_drop
    worse = [
        f"F1 of {name} changes by {each.value:+.3f} ({each.low:+.3f} to {each.high:+.3f}): surely "
        f"worse by more than {drop:g}"
        for task in comparison.tasks.values()
        for name, label in task.labels.items()
        if not label.too_rare and (each := label.figures["f1"].difference).high < -drop
    ]
    yield from (Check("labels", "harmful", line) for line in worse)
    if not worse:
        yield Check("labels", "passed", f"no label is surely worse by more than {drop:g}")


def _calibration(policy: PromotionPolicy, comparison: Comparison) -> Iterator[Check]:
    limit = policy.calibration.max_increase
    for name, task in comparison.tasks.items():
        change = task.headline["ece"].b - task.headline["ece"].a
        yield Check(
            f"calibration {name}",
            "passed" if change <= limit else "harmful",
            f"calibration error of {name} changes by {change:+.3f}; at most {limit:+g}",
        )


def _costs(policy: PromotionPolicy, comparison: Comparison) -> Iterator[Check]:
    time, limit = comparison.costs.slowdown, policy.speed.max_slowdown
    says = (
        f"time of a reply is {time.value:.2f} ({time.low:.2f} to {time.high:.2f}) times the "
        f"champion's; at most {limit:g}"
    )
    # A timing is never the same twice: only one that is surely beyond the limit decides.
    if time.low > limit:
        yield Check("speed", "harmful", f"{says}: surely slower")
    else:
        yield Check("speed", "passed", says + ": not surely slower" * (time.value > limit))
    growth, limit = comparison.costs.growth, policy.speed.max_growth
    outcome: CheckOutcome = "passed" if growth <= limit else "harmful"
    yield Check("size", outcome, f"size is {growth:.2f} times the champion's; at most {limit:g}")
