"""The gate: the fastest candidate that reads as well as fp32 ships."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tactful.reading.processor import instructions, processor_name
from tactful_training.bundling.candidate_measures import Measured
from tactful_training.config.config_schema import Quantisation
from tactful_training.evaluation.evaluation_results import number

# Rates this near are a tie, which goes to the candidate that the config names first: the choice
# should not hang on the noise of a clock.
_TIE = 0.05


@dataclass(frozen=True)
class Choice:
    """What was measured and what ships.

    Attributes:
        measured: all candidates; the first one is fp32.
        rates: replies per second of each.
        verdicts: for each what it lacks or why it is not taken, or ``ships``.
        shipped: the one that goes into the bundle.
        failed: name of each candidate that could not be made or measured, and why.
    """

    measured: tuple[Measured, ...]
    rates: tuple[float, ...]
    verdicts: tuple[str, ...]
    shipped: Measured
    failed: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """For the manifest and the tracking server."""
        return {
            "processor": processor_name(),
            "instructions": list(instructions()),
            "shipped": self.shipped.candidate.name,
            "candidates": [
                {
                    "name": each.candidate.name,
                    "bytes": len(each.candidate.content),
                    "replies_per_second": round(rate, 1),
                    "quality": {name: number(value) for name, value in quality(each).items()},
                    "verdict": verdict,
                }
                for each, rate, verdict in zip(
                    self.measured, self.rates, self.verdicts, strict=True
                )
            ],
            "failed": dict(self.failed),
        }


def quality(measured: Measured) -> dict[str, float]:
    """What the gate holds a candidate to: F1 (or accuracy) of each task and evidence F1."""
    evaluation = measured.evaluation
    figures = {}
    for name, task in evaluation.tasks.items():
        # Macro F1 is undefined where all labels are too rare for it; the other one mostly is not.
        defined = {
            key: each.value for key, each in task.headline.items() if each.value == each.value
        }
        key = "macro_f1" if "macro_f1" in defined else next(iter(defined), "macro_f1")
        figures[f"{name}/{key}"] = defined.get(key, math.nan)
    if evaluation.evidence is not None:
        figures["evidence/token_f1"] = evaluation.evidence["token_f1"].value
    return figures


def choose(
    measured: Sequence[Measured],
    rates: Sequence[float],
    config: Quantisation,
    failed: Mapping[str, str] | None = None,
) -> Choice:
    """Take the fastest candidate whose figures stay within the allowed losses of fp32's.

    Args:
        measured: fp32 first, then the others in the order of the config.
        rates: replies per second of each.
        config: the allowed losses.
        failed: name of each candidate that could not be made or measured, and why.
    """
    failed = failed or {}
    at_least = quality(measured[0])
    failures = [_too_low(quality(each), at_least, config) for each in measured]
    failures[0] = ""
    good = [index for index, failure in enumerate(failures) if not failure]
    fastest = max(rates[index] for index in good)
    # fp32 comes last: of two equally fast forms the small one is taken.
    shipped = next(i for i in (*good[1:], 0) if rates[i] >= (1 - _TIE) * fastest)
    tied = f"as fast within {_TIE:.0%}, but named later"
    verdicts = [
        failure or (tied if rate >= rates[shipped] else "slower")
        for failure, rate in zip(failures, rates, strict=True)
    ]
    verdicts[shipped] = "ships"
    return Choice(tuple(measured), tuple(rates), tuple(verdicts), measured[shipped], dict(failed))


def choice_lines(choice: Choice) -> list[str]:
    """One line for each candidate, for the log."""
    lines = [
        f"{each.candidate.name}: {len(each.candidate.content) / 1e6:.1f} MB, {rate:.0f} replies/s, "
        + ", ".join(f"{name} {value:.4f}" for name, value in quality(each).items())
        + f": {verdict}"
        for each, rate, verdict in zip(choice.measured, choice.rates, choice.verdicts, strict=True)
    ]
    return lines + [f"{name}: {reason}" for name, reason in choice.failed.items()]


def _too_low(figures: dict[str, float], at_least: dict[str, float], config: Quantisation) -> str:
    """Which figures lost too much against fp32; empty where none did."""
    lines = []
    for name, reference in at_least.items():
        allowed = (
            config.max_evidence_loss if name.startswith("evidence/") else config.max_macro_f1_loss
        )
        figure = figures.get(name, math.nan)
        if math.isnan(reference):
            lines.append(f"cannot be judged: {name} is undefined on the validation split")
        elif not figure >= reference - allowed:  # written so that NaN fails
            lines.append(f"{name} {figure:.4f}, fp32 {reference:.4f}, allowed -{allowed:g}")
    return "; ".join(lines)
