"""The gate: the first candidate, in the order of the config, that reads as well as fp32 ships.

No clock decides: with the same data, seed and processor two trainings ship the same form. Speed is
measured for the record, and a form that is surely slower than fp32 is warned of.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tactful.errors import ModelError
from tactful.reading.batches import RowOutput, run_rows
from tactful.reading.decisions import Heads
from tactful.reading.encoding import Encoded
from tactful.reading.engine import Engine, readings_of
from tactful.reading.processor import instructions, processor_name
from tactful.reading.readings import Reading
from tactful.reading.session import Session
from tactful_training.bundling.calibration import calibrate
from tactful_training.bundling.candidate_speed import Rate, measure_rates
from tactful_training.bundling.candidates import (
    FP32,
    Candidate,
    CandidateBuilder,
    Parity,
    check_parity,
)
from tactful_training.config.config_schema import Config, QuantisationConfig
from tactful_training.errors import ExportError
from tactful_training.evaluation.bundle_evaluation import evaluate_answers
from tactful_training.evaluation.decisions_on_rows import Answers, answers_of
from tactful_training.evaluation.evaluation_results import Evaluation, number
from tactful_training.evaluation.evidence_metrics import evidence_tasks
from tactful_training.fitting.onnx_export import Exported
from tactful_training.fitting.training_inputs import TrainingInputs

_SHIPS, _REFERENCE = "ships", "the reference"


@dataclass(frozen=True)
class Measured:
    """A candidate with what one pass over the validation split says of it.

    Attributes:
        candidate: the graph.
        outputs: what the graph says.
        heads: calibration and thresholds, fitted on what the fp32 graph says.
        readings: what follows, as serving would give it.
        answers: the same as arrays.
        evaluation: of those, without intervals.
    """

    candidate: Candidate
    outputs: Sequence[RowOutput]
    heads: Heads
    readings: Sequence[Reading]
    answers: Answers
    evaluation: Evaluation

    def as_served(self, tokenizer: bytes) -> Engine:
        """The form as serving runs it."""
        return Engine(self.heads, tokenizer, self.candidate.content)

    @property
    def quality(self) -> dict[str, float]:
        """What the gate holds it to: F1 (or accuracy) of each task and evidence F1."""
        figures = {}
        for name, task in self.evaluation.tasks.items():
            # Macro F1 is undefined where all labels are too rare for it; the other one mostly
            # is not.
            defined = {
                key: each.value for key, each in task.headline.items() if each.value == each.value
            }
            key = "macro_f1" if "macro_f1" in defined else next(iter(defined), "macro_f1")
            figures[f"{name}/{key}"] = defined.get(key, math.nan)
        if self.evaluation.evidence is not None:
            figures["evidence/token_f1"] = self.evaluation.evidence["token_f1"].value
        return figures


@dataclass(frozen=True)
class Choice:
    """What was measured and what ships.

    Attributes:
        measured: all candidates; the first one is fp32.
        rates: the speed of each.
        verdicts: for each what it lacks or why it is not taken, or ``ships``.
        shipped: the one that goes into the bundle.
        parity: the proof that the fp32 form says what PyTorch says.
        failed: name of each candidate that could not be made or measured, and why.
    """

    measured: tuple[Measured, ...]
    rates: tuple[Rate, ...]
    verdicts: tuple[str, ...]
    shipped: Measured
    parity: Parity
    failed: Mapping[str, str] = field(default_factory=dict)

    @property
    def warnings(self) -> list[str]:
        """That the form that ships is slower than fp32, where both intervals say so."""
        speeds = zip(self.measured, self.rates, strict=True)
        fp32, shipped = self.rates[0], next(rate for each, rate in speeds if each is self.shipped)
        if not shipped.high < fp32.low:
            return []
        name = self.shipped.candidate.name
        return [
            f"{name} ships, but is slower than fp32 on this processor ({shipped.median:.0f} and "
            f"{fp32.median:.0f} replies/s); quantisation.candidates says what may ship: put "
            f"another form before {name}, or [] for fp32"
        ]

    def to_json(self) -> dict[str, Any]:
        """For the manifest and the tracking server."""
        return {
            "processor": processor_name(),
            "instructions": list(instructions()),
            "shipped": self.shipped.candidate.name,
            "warnings": self.warnings,
            "candidates": [
                {
                    "name": each.candidate.name,
                    "bytes": len(each.candidate.content),
                    "replies_per_second": round(rate.median, 1),
                    "replies_per_second_interval": [round(rate.low, 1), round(rate.high, 1)],
                    "quality": {name: number(value) for name, value in each.quality.items()},
                    "verdict": verdict,
                }
                for each, rate, verdict in zip(
                    self.measured, self.rates, self.verdicts, strict=True
                )
            ],
            "failed": dict(self.failed),
        }

    def lines(self) -> list[str]:
        """One line for each candidate, for the log."""
        lines = [
            f"{each.candidate.name}: {len(each.candidate.content) / 1e6:.1f} MB, "
            f"{rate.median:.0f} replies/s ({rate.low:.0f} to {rate.high:.0f}), "
            + ", ".join(f"{name} {value:.4f}" for name, value in each.quality.items())
            + f": {verdict}"
            for each, rate, verdict in zip(self.measured, self.rates, self.verdicts, strict=True)
        ]
        return lines + [f"{name}: {reason}" for name, reason in self.failed.items()]


def choose_candidate(
    config: Config, inputs: TrainingInputs, exported: Exported, *, say: Callable[[str], None]
) -> Choice:
    """Make the forms that the config names, run each once over the validation split and choose.

    Calibration and thresholds are fitted once, to the fp32 form.

    Args:
        config: all settings.
        inputs: what was trained on.
        exported: the best weights.
        say: told what comes out.

    Raises:
        ExportError: the fp32 form does not agree with PyTorch.
    """
    build = CandidateBuilder(
        exported.graph,
        exported.encoder,
        config.quantisation,
        inputs.sample("train", config.quantisation.calibration_rows, config.seed),
        inputs.encoding,
        inputs.tasks,
    )
    encoded = [row.encoded for row in exported.reference]
    measured = [_measure(build.fp32(), config, inputs, encoded)]
    parity = check_parity(
        exported.reference, measured[0].outputs, tolerance=config.export.tolerance
    )
    fused = ", ".join(f"{count} {name}" for name, count in build.fused.operators.items())
    say(
        f"exported to ONNX (fused: {fused or 'nothing'}); largest difference to PyTorch on "
        f"{parity.rows} validation rows: logits {parity.logits:.1e}, token scores "
        f"{parity.token_scores:.1e}"
    )
    failed: dict[str, str] = {}
    for name in config.quantisation.candidates:
        try:
            measured.append(_measure(build.int8(name), config, inputs, encoded, measured[0].heads))
        except ExportError as error:  # one form less to choose from
            failed[name] = str(error)
    rates = measure_rates([each.candidate for each in measured], inputs, encoded)
    choice = first_as_good(measured, rates, config.quantisation, parity, failed)
    for line in choice.lines():
        say(line)
    return choice


def first_as_good(
    measured: Sequence[Measured],
    rates: Sequence[Rate],
    config: QuantisationConfig,
    parity: Parity,
    failed: Mapping[str, str] | None = None,
) -> Choice:
    """Take the first candidate whose figures stay within the allowed losses of fp32's, or fp32.

    Args:
        measured: fp32 first, then the others in the order of the config.
        rates: the speed of each; they do not decide.
        config: the allowed losses.
        parity: for the record.
        failed: name of each candidate that could not be made or measured, and why.
    """
    at_least = measured[0].quality
    failures = ["", *(_too_low(each.quality, at_least, config) for each in measured[1:])]
    shipped = next((i for i in range(1, len(measured)) if not failures[i]), 0)
    later = f"reads as well, but is named after {measured[shipped].candidate.name}"
    verdicts = [failure or later for failure in failures]
    verdicts[0] = _REFERENCE
    verdicts[shipped] = _SHIPS
    return Choice(
        tuple(measured),
        tuple(rates),
        tuple(verdicts),
        measured[shipped],
        parity,
        dict(failed or {}),
    )


def _measure(
    candidate: Candidate,
    config: Config,
    inputs: TrainingInputs,
    encoded: Sequence[Encoded],
    heads: Heads | None = None,
) -> Measured:
    """Run a candidate over the validation split, once.

    Args:
        candidate: the graph.
        config: all settings.
        inputs: what was trained on.
        encoded: the validation split.
        heads: those of the fp32 graph. A form that says nearly the same needs no others, and the
            best thresholds jump further between forms than their scores. None: they are fitted.

    Raises:
        ExportError: onnxruntime cannot run it.
    """
    try:
        outputs = run_rows(encoded, inputs.encoding, Session(candidate.content), inputs.tasks)
    except (ValueError, ModelError) as error:
        raise ExportError(f"the candidate {candidate.name} cannot be run: {error}") from error
    rows = inputs.rows["validation"]
    heads = heads or _fitted_heads(outputs, config, inputs)
    pairs = [(row.reply, row.context) for row in rows]
    readings = list(readings_of(outputs, pairs, heads, candidate.name))
    answers = answers_of(readings, rows, heads)
    evaluation = evaluate_answers(answers, resamples=0)
    return Measured(candidate, outputs, heads, readings, answers, evaluation)


def _fitted_heads(outputs: Sequence[RowOutput], config: Config, inputs: TrainingInputs) -> Heads:
    with_evidence = config.loss.evidence_weight > 0
    return calibrate(
        inputs.rows["validation"],
        outputs,
        inputs.tasks,
        limits=inputs.encoding.limits,
        min_positives=config.calibration.min_positives,
        threshold_pull=config.calibration.threshold_pull,
        prior_shift=config.calibration.prior_shift,
        evidence_tasks=evidence_tasks(inputs.rows["train"]) if with_evidence else (),
    )


def _too_low(
    figures: dict[str, float], at_least: dict[str, float], config: QuantisationConfig
) -> str:
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
            lines.append(f"{name} {figure:.4f}, {FP32} {reference:.4f}, allowed -{allowed:g}")
    return "; ".join(lines)
