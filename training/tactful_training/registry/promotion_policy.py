"""The policy of a promotion: ``promotion.yaml`` against a strict schema, and its floors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tactful_training.config.shipped import find_config
from tactful_training.config.yaml_files import YamlError, parse_yaml
from tactful_training.errors import ConfigError
from tactful_training.evaluation.bootstrap import Estimate

DEFAULT_POLICY = "promotion.yaml"
_Share = Annotated[float, Field(ge=0, le=1)]
_Factor = Annotated[float, Field(ge=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Rule(_Section):
    """What is asked of one figure against the champion: a gain, or not to be worse."""

    gain: _Share | None = None
    margin: _Share | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Rule:
        if (self.gain is None) == (self.margin is None):
            raise ValueError("give either gain or margin")
        return self


class Labels(_Section):
    """How much worse the F1 of any label may surely be."""

    max_drop: _Share


class Calibration(_Section):
    """Largest expected calibration error of a task, and its largest increase."""

    max_error: _Share
    max_increase: _Share


class Speed(_Section):
    """Largest factor on the time of a reply and on the size of the model."""

    max_slowdown: _Factor
    max_growth: _Factor


class Policy(_Section):
    """A whole policy; ``configs/promotion.yaml`` says what each key means."""

    data: Annotated[str, Field(min_length=1)]
    split: Annotated[str, Field(min_length=1)]
    floors: dict[str, _Share]
    overall: dict[str, Rule]
    labels: Labels
    calibration: Calibration
    speed: Speed


def load_policy(name: str | Path | None = None) -> Policy:
    """Read a policy file.

    Args:
        name: a path or a bare name (see `find_config`); None is ``promotion.yaml``.

    Raises:
        ConfigError: there is none, or it says something else than it may.
    """
    path = find_config(DEFAULT_POLICY if name is None else name)
    try:
        return Policy.model_validate(parse_yaml(path.read_text("utf-8-sig")))
    except (OSError, UnicodeDecodeError, YamlError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise ConfigError(
            f"{path}: {where}: {problem['msg']}; see the commented {DEFAULT_POLICY} that tactful "
            "ships"
        ) from error


def missed_floors(policy: Policy, figures: Mapping[str, Estimate]) -> list[str]:
    """A line for each floor that the headline figures of a model do not reach."""
    lines = []
    for name, floor in policy.floors.items():
        figure = figures.get(name)
        if figure is None:
            lines.append(f"{name} was not measured; it must be at least {floor:g}")
        elif not figure.value >= floor:
            lines.append(f"{name} is {figure.value:.3f}; it must be at least {floor:g}")
    return lines
