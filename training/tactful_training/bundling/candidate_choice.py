"""The forms of the trained model, measured, and which one ships."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tactful.errors import ModelError
from tactful.reading.batches import Pass, RowOutput
from tactful.reading.decisions import Heads
from tactful.reading.engine import Engine, readings_of
from tactful.reading.processor import instructions, processor_name
from tactful.reading.session import Session, Workers
from tactful_training.bundling.calibration import calibrate
from tactful_training.bundling.candidates import Builder, Candidate, Parity, check_parity
from tactful_training.config.config_schema import Config, QuantisationConfig
from tactful_training.data.labelled_row import Row
from tactful_training.errors import ExportError
from tactful_training.evaluation.bundle_evaluation import evaluate_answers
from tactful_training.evaluation.decisions_on_rows import answers_of
from tactful_training.evaluation.evaluation_results import Evaluation, number
from tactful_training.evaluation.quality_metrics import evidence_tasks
from tactful_training.fitting.encoder import load_encoder
from tactful_training.fitting.model import LabelAttentionModel, torch_forward
from tactful_training.fitting.onnx_export import export_onnx
from tactful_training.fitting.resuming import Fitted
from tactful_training.fitting.training_inputs import TrainingInputs
from tactful_training.fitting.validation import Validation

# Enough replies for a steady rate in a second, few enough to time a handful of candidates.
_TIMED_REPLIES = 96
_ROUNDS = 5


@dataclass(frozen=True)
class Measured:
    """A candidate with what was measured.

    Attributes:
        candidate: the graph.
        outputs: what the graph says of the validation split.
        heads: calibration and thresholds fitted on that.
        evaluation: of its decisions and evidence on the validation split, without intervals.
    """

    candidate: Candidate
    outputs: Sequence[RowOutput]
    heads: Heads
    evaluation: Evaluation


def measure(
    candidate: Candidate,
    rows: Sequence[Row],
    validation: Validation,
    calibrate: Callable[[Sequence[RowOutput]], Heads],
) -> Measured:
    """Measure how well a candidate reads.

    Args:
        candidate: the graph.
        rows: the validation split.
        validation: the same rows, encoded.
        calibrate: fits heads to what a graph says of them.

    Raises:
        ExportError: onnxruntime cannot run it.
    """
    try:
        outputs = validation.outputs(Session(candidate.content))
    except (ValueError, ModelError) as error:
        raise ExportError(f"the candidate {candidate.name} cannot be run: {error}") from error
    heads = calibrate(outputs)
    readings = readings_of(
        outputs, [(row.reply, row.context) for row in rows], heads, candidate.name
    )
    evaluation = evaluate_answers(answers_of(readings, rows, heads), resamples=0)
    return Measured(candidate, outputs, heads, evaluation)


def rates(candidates: Sequence[Candidate], validation: Validation) -> list[float]:
    """Replies per second of each, with all threads: medians of several rounds.

    They take turns, so that a busy moment of the machine hits all alike.
    """
    encoded = validation.encoded[:_TIMED_REPLIES]
    workers = [Workers(candidate.content) for candidate in candidates]
    seconds: list[list[float]] = [[] for _ in candidates]
    for turn in range(_ROUNDS + 1):
        for index, each in enumerate(workers):
            rows = Pass(encoded, validation.encoding, validation.tasks)
            begin = time.perf_counter()
            for batch in each.run(rows):
                batch.result()
            if turn:  # the first one warms up
                seconds[index].append(time.perf_counter() - begin)
    return [len(encoded) / statistics.median(times) for times in seconds]


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
    config: QuantisationConfig,
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
            lines.append(f"{name} {figure:.4f}, fp32 {reference:.4f}, allowed -{allowed:g}")
    return "; ".join(lines)


def exportable(config: Config, inputs: TrainingInputs) -> LabelAttentionModel:
    """The model before training, in the form that can be exported."""
    encoder = load_encoder(inputs.encoder, config.model, attention="eager")
    return LabelAttentionModel(encoder, inputs.tasks.size).eval()


def choose_form(
    config: Config,
    inputs: TrainingInputs,
    fitted: Fitted,
    validation: Validation,
    *,
    say: Callable[[str], None],
) -> tuple[Choice, Parity]:
    """Export the best weights, measure the forms that the config names and choose among them.

    Args:
        config: all settings.
        inputs: what was trained on.
        fitted: the best weights.
        validation: the validation split, encoded.
        say: told what comes out.

    Returns:
        The choice, and the proof that the fp32 form says what PyTorch says.

    Raises:
        ExportError: the weights cannot be exported, or the fp32 form does not agree with them.
    """
    model = exportable(config, inputs)
    model.load_state_dict(fitted.weights)
    build = Builder(
        export_onnx(model, opset=config.export.opset),
        model.encoder.config,
        config.quantisation,
        inputs.sample("train", config.quantisation.calibration_rows, config.seed),
        inputs.encoding,
        inputs.tasks,
    )
    rows = inputs.rows["validation"]
    fit_heads = partial(_fit_heads, config, inputs)
    fp32 = measure(build.fp32(), rows, validation, fit_heads)
    reference = validation.outputs(torch_forward(model))
    parity = check_parity(reference, fp32.outputs, tolerance=config.export.tolerance)
    fused = ", ".join(f"{count} {name}" for name, count in build.fused.operators.items())
    say(
        f"exported to ONNX (fused: {fused or 'nothing'}); largest difference to PyTorch on "
        f"{parity.rows} validation rows: logits {parity.logits:.1e}, token scores "
        f"{parity.token_scores:.1e}"
    )
    measured = [fp32]
    failed: dict[str, str] = {}
    for name in config.quantisation.candidates:
        try:
            measured.append(measure(build.int8(name), rows, validation, fit_heads))
        except ExportError as error:  # one form less to choose from
            failed[name] = str(error)
    speeds = rates([each.candidate for each in measured], validation)
    choice = choose(measured, speeds, config.quantisation, failed)
    for line in choice_lines(choice):
        say(line)
    return choice, parity


def as_served(measured: Measured, inputs: TrainingInputs) -> Engine:
    """A form as serving runs it."""
    return Engine(measured.heads, inputs.encoder.tokenizer, measured.candidate.content)


def _fit_heads(config: Config, inputs: TrainingInputs, outputs: Sequence[RowOutput]) -> Heads:
    """Calibration and thresholds from what an exported graph says of the validation split."""
    with_evidence = config.loss.evidence_weight > 0
    return calibrate(
        inputs.rows["validation"],
        outputs,
        inputs.tasks,
        limits=inputs.encoding.limits,
        min_positives=config.calibration.min_positives,
        threshold_pull=config.calibration.threshold_pull,
        evidence_tasks=evidence_tasks(inputs.rows["train"]) if with_evidence else (),
    )
