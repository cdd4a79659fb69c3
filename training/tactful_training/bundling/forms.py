"""From the best weights to the form of the model that ships: export, candidates, the choice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from tactful.reading.decisions import Heads
from tactful.reading.engine import Engine
from tactful.reading.passes import RowOutput
from tactful_training.bundling.calibration import calibrate
from tactful_training.bundling.candidate_choice import Choice, choice_lines, choose
from tactful_training.bundling.candidate_measures import Measured, measure, rates
from tactful_training.bundling.candidates import Builder
from tactful_training.bundling.onnx_export import Parity, check_parity, export_onnx
from tactful_training.config.config_schema import Config
from tactful_training.errors import ExportError
from tactful_training.evaluation.quality_metrics import evidence_tasks
from tactful_training.fitting.encoder import load_encoder
from tactful_training.fitting.material import Material
from tactful_training.fitting.model import LabelAttentionModel, torch_forward
from tactful_training.fitting.trainer import Fitted
from tactful_training.fitting.validation import Validation


def exportable(config: Config, material: Material) -> LabelAttentionModel:
    """The model before training, in the form that can be exported."""
    encoder = load_encoder(material.encoder, config.model, attention="eager")
    return LabelAttentionModel(encoder, material.tasks.size).eval()


def choose_form(
    config: Config,
    material: Material,
    fitted: Fitted,
    validation: Validation,
    *,
    say: Callable[[str], None],
) -> tuple[Choice, Parity]:
    """Export the best weights, measure the forms that the config names and choose among them.

    Args:
        config: all settings.
        material: what was trained on.
        fitted: the best weights.
        validation: the validation split, encoded.
        say: told what comes out.

    Returns:
        The choice, and the proof that the fp32 form says what PyTorch says.

    Raises:
        ExportError: the weights cannot be exported, or the fp32 form does not agree with them.
    """
    model = exportable(config, material)
    model.load_state_dict(fitted.weights)
    build = Builder(
        export_onnx(model, opset=config.export.opset),
        model.encoder.config,
        config.quantisation,
        material.sample("train", config.quantisation.calibration_rows, config.seed),
        material.encoding,
        material.tasks,
    )
    rows = material.rows["validation"]
    fit_heads = partial(_fit_heads, config, material)
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


def as_served(measured: Measured, material: Material) -> Engine:
    """A form as serving runs it."""
    return Engine(measured.heads, material.encoder.tokenizer, measured.candidate.content)


def _fit_heads(config: Config, material: Material, outputs: Sequence[RowOutput]) -> Heads:
    """Calibration and thresholds from what an exported graph says of the validation split."""
    with_evidence = config.loss.evidence_weight > 0
    return calibrate(
        material.rows["validation"],
        outputs,
        material.tasks,
        limits=material.encoding.limits,
        min_positives=config.calibration.min_positives,
        threshold_pull=config.calibration.threshold_pull,
        evidence_tasks=evidence_tasks(material.rows["train"]) if with_evidence else (),
    )
