from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from tactful.reading.batches import run_rows
from tactful.strict_json import canonical_json
from tactful_training.bundling.candidate_choice import (
    Choice,
    Measured,
    choose_candidate,
    first_as_good,
)
from tactful_training.bundling.candidate_speed import Rate
from tactful_training.bundling.candidates import Candidate, Parity
from tactful_training.config.config_schema import Config, QuantisationConfig
from tactful_training.fitting.model import LabelAttentionModel, torch_forward
from tactful_training.fitting.onnx_export import Exported
from tactful_training.fitting.training_inputs import TrainingInputs

PARITY = Parity(1e-6, 2e-6, 48)


def measured(name: str, macro: float, evidence: float | None = 0.8) -> Any:
    figure = {"macro_f1": SimpleNamespace(value=macro)}
    evaluation = SimpleNamespace(
        tasks={"strategies": SimpleNamespace(headline=figure)},
        evidence=None if evidence is None else {"token_f1": SimpleNamespace(value=evidence)},
    )
    return Measured(Candidate(name, bytes(1000)), (), None, (), None, evaluation)  # type: ignore[arg-type]


def rate(median: float) -> Rate:
    return Rate(median, 0.9 * median, 1.1 * median)


@pytest.fixture
def gate(make_config: Callable[..., Config]) -> Callable[..., Choice]:
    config: QuantisationConfig = make_config().quantisation
    assert (config.max_macro_f1_loss, config.max_evidence_loss) == (0.005, 0.01)

    def run(*candidates: tuple[Any, float]) -> Choice:
        rates = [rate(median) for _, median in candidates]
        return first_as_good([each for each, _ in candidates], rates, config, PARITY)

    return run


def test_the_first_that_reads_as_well_ships_however_fast_the_others_are(
    gate: Callable[..., Choice],
) -> None:
    choice = gate(
        (measured("fp32", 0.86), 50),
        (measured("a", 0.85), 200),
        (measured("b", 0.856), 100),
        (measured("c", 0.862), 140),
    )
    assert choice.shipped.candidate.name == "b"
    assert choice.verdicts == (
        "the reference",
        "strategies/macro_f1 0.8500, fp32 0.8600, allowed -0.005",
        "ships",
        "reads as well, but is named after b",
    )
    assert choice.lines()[1].startswith(
        "a: 0.0 MB, 200 replies/s (180 to 220), strategies/macro_f1"
    )


@pytest.mark.parametrize("speeds", [(50, 100, 140), (140, 100, 50), (100, 100, 100)])
def test_no_clock_decides(gate: Callable[..., Choice], speeds: tuple[float, ...]) -> None:
    forms = [measured("fp32", 0.86), measured("a", 0.86), measured("b", 0.87)]
    choice = gate(*zip(forms, speeds, strict=True))
    assert choice.shipped.candidate.name == "a"


@pytest.mark.parametrize(("speed", "warned"), [(60, True), (95, False), (140, False)])
def test_a_form_that_is_surely_slower_than_fp32_is_warned_of(
    gate: Callable[..., Choice], speed: float, warned: bool
) -> None:
    choice = gate((measured("fp32", 0.86), 100), (measured("a", 0.86), speed))
    assert choice.shipped.candidate.name == "a"
    assert bool(choice.warnings) is warned
    assert choice.to_json()["warnings"] == choice.warnings
    if warned:
        assert (
            "a ships, but is slower than fp32 on this processor (60 and 100" in choice.warnings[0]
        )
        assert "quantisation.candidates" in choice.warnings[0]


def test_evidence_is_held_to_its_own_loss(gate: Callable[..., Choice]) -> None:
    choice = gate(
        (measured("fp32", 0.86, 0.80), 50),
        (measured("a", 0.86, 0.789), 100),
        (measured("b", 0.86, 0.791), 200),
    )
    assert choice.shipped.candidate.name == "b"
    assert "evidence/token_f1 0.7890" in choice.verdicts[1]
    assert gate((measured("fp32", 0.9, None), 1), (measured("a", 0.9, None), 2)).shipped


@pytest.mark.parametrize("worse", [0.5, math.nan])
def test_fp32_stays_where_none_reads_as_well(gate: Callable[..., Choice], worse: float) -> None:
    choice = gate((measured("fp32", 0.86), 50), (measured("a", worse), 100))
    assert choice.shipped.candidate.name == "fp32"
    assert choice.shipped.candidate.precision == "fp32"
    record = choice.to_json()
    assert record["shipped"] == "fp32"
    assert record["processor"]
    assert [each["replies_per_second"] for each in record["candidates"]] == [50, 100]
    assert "fp32 0.8600" in record["candidates"][1]["verdict"]


def test_undefined_macro_f1_gives_way_to_what_is_defined(gate: Callable[..., Choice]) -> None:
    def tasks(macro: float, micro: float) -> Any:
        each = measured("fp32", macro)
        headline = each.evaluation.tasks["strategies"].headline
        headline["micro_f1"] = SimpleNamespace(value=micro)
        return each

    nan = math.nan
    worse = gate((tasks(nan, 0.9), 1), (tasks(nan, 0.8), 5))
    assert worse.shipped is worse.measured[0]
    assert "strategies/micro_f1 0.8000, fp32 0.9000" in worse.verdicts[1]
    assert gate((tasks(nan, 0.9), 1), (tasks(nan, 0.9), 5)).verdicts[1] == "ships"

    unknown = gate((tasks(nan, nan), 1), (tasks(nan, nan), 5))
    assert unknown.shipped is unknown.measured[0]
    assert "cannot be judged: strategies/macro_f1 is undefined" in unknown.verdicts[1]
    canonical_json(unknown.to_json())  # no NaN reaches the manifest


def test_candidates_that_failed_are_told(make_config: Callable[..., Config]) -> None:
    config = make_config().quantisation
    failed = {"a": "cannot be made: no"}
    choice = first_as_good([measured("fp32", 0.9)], [rate(50)], config, PARITY, failed)
    assert choice.shipped.candidate.name == "fp32"
    assert choice.verdicts == ("ships",)
    assert choice.lines()[-1] == "a: cannot be made: no"
    assert choice.to_json()["failed"] == failed


def test_one_calibration_serves_all_forms(
    make_config: Callable[..., Config],
    inputs: TrainingInputs,
    model: LabelAttentionModel,
    exported: bytes,
) -> None:
    encoded = [example.encoded for example in inputs.validation]
    reference = run_rows(encoded, inputs.encoding, torch_forward(model), inputs.tasks)
    config = make_config(quantisation__candidates=["int8-static-smooth", "int8-dynamic"])
    trained = Exported(exported, model.encoder.config, reference)

    choice = choose_candidate(config, inputs, trained, say=lambda line: None)

    fp32, *others = choice.measured
    assert [each.candidate.name for each in others] == ["int8-static-smooth", "int8-dynamic"]
    assert all(each.heads == fp32.heads for each in others)
    # What they say is their own.
    assert all((each.answers.scores != fp32.answers.scores).any() for each in others)
