"""The gate: the fastest candidate that reads as well as fp32 ships."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tactful.cpu import instructions, processor_name
from tactful_training.candidates.measure import Measured
from tactful_training.config_schema import Quantisation

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
    """

    measured: tuple[Measured, ...]
    rates: tuple[float, ...]
    verdicts: tuple[str, ...]
    shipped: Measured

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
                    "quality": {name: round(value, 4) for name, value in quality(each).items()},
                    "verdict": verdict,
                }
                for each, rate, verdict in zip(
                    self.measured, self.rates, self.verdicts, strict=True
                )
            ],
        }


def quality(measured: Measured) -> dict[str, float]:
    """The figures that the gate holds a candidate to: macro F1 of each task and evidence F1."""
    evaluation = measured.evaluation
    figures = {
        f"{name}/macro_f1": task.headline["macro_f1"].value
        for name, task in evaluation.tasks.items()
    }
    if evaluation.evidence is not None:
        figures["evidence/token_f1"] = evaluation.evidence["token_f1"].value
    return figures


def choose(measured: Sequence[Measured], rates: Sequence[float], config: Quantisation) -> Choice:
    """Take the fastest candidate whose figures stay within the allowed losses of fp32's.

    Args:
        measured: fp32 first, then the others in the order of the config.
        rates: replies per second of each.
        config: the allowed losses.
    """
    at_least = quality(measured[0])
    failures = [_too_low(quality(each), at_least, config) for each in measured]
    good = [index for index, failure in enumerate(failures) if not failure]
    fastest = max(rates[index] for index in good)
    # fp32 comes last: of two equally fast forms the small one is taken.
    shipped = next(i for i in (*good[1:], 0) if rates[i] >= (1 - _TIE) * fastest)
    verdicts = [failure or "not the fastest" for failure in failures]
    verdicts[shipped] = "ships"
    return Choice(tuple(measured), tuple(rates), tuple(verdicts), measured[shipped])


def choice_lines(choice: Choice) -> list[str]:
    """One line for each candidate, for the log."""
    return [
        f"{each.candidate.name}: {len(each.candidate.content) / 1e6:.1f} MB, {rate:.0f} replies/s, "
        + ", ".join(f"{name} {value:.4f}" for name, value in quality(each).items())
        + f": {verdict}"
        for each, rate, verdict in zip(choice.measured, choice.rates, choice.verdicts, strict=True)
    ]


def _too_low(figures: dict[str, float], at_least: dict[str, float], config: Quantisation) -> str:
    """Which figures lost too much against fp32; empty where none did."""
    lines = []
    for name, reference in at_least.items():
        allowed = (
            config.max_evidence_loss if name.startswith("evidence/") else config.max_macro_f1_loss
        )
        # Written so that NaN fails where the reference is a number.
        if reference == reference and not figures[name] >= reference - allowed:
            lines.append(f"{name} {figures[name]:.4f}, fp32 {reference:.4f}, allowed -{allowed:g}")
    return "; ".join(lines)
