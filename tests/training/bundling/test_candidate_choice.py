from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from tactful.strict_json import canonical_json
from tactful_training.bundling.candidate_choice import Choice, Measured, choice_lines, choose
from tactful_training.bundling.candidates import Candidate
from tactful_training.config.config_schema import Config, QuantisationConfig


def measured(name: str, macro: float, evidence: float | None = 0.8) -> Any:
    figure = {"macro_f1": SimpleNamespace(value=macro)}
    evaluation = SimpleNamespace(
        tasks={"strategies": SimpleNamespace(headline=figure)},
        evidence=None if evidence is None else {"token_f1": SimpleNamespace(value=evidence)},
    )
    return Measured(Candidate(name, bytes(1000)), (), None, evaluation)  # type: ignore[arg-type]


@pytest.fixture
def gate(make_config: Callable[..., Config]) -> Callable[..., Choice]:
    config: QuantisationConfig = make_config().quantisation
    assert (config.max_macro_f1_loss, config.max_evidence_loss) == (0.005, 0.01)

    def run(*candidates: tuple[Any, float]) -> Choice:
        return choose([each for each, _ in candidates], [rate for _, rate in candidates], config)

    return run


def test_the_fastest_that_reads_as_well_ships(gate: Callable[..., Choice]) -> None:
    choice = gate(
        (measured("fp32", 0.86), 50),
        (measured("a", 0.856), 100),
        (measured("b", 0.862), 140),
        (measured("c", 0.85), 200),
    )
    assert choice.shipped.candidate.name == "b"
    assert choice.verdicts[:3] == ("slower", "slower", "ships")
    assert choice.verdicts[3] == "strategies/macro_f1 0.8500, fp32 0.8600, allowed -0.005"
    assert choice_lines(choice)[3].startswith("c: 0.0 MB, 200 replies/s, strategies/macro_f1 0.85")


def test_evidence_is_held_to_its_own_loss(gate: Callable[..., Choice]) -> None:
    choice = gate(
        (measured("fp32", 0.86, 0.80), 50),
        (measured("a", 0.86, 0.791), 100),
        (measured("b", 0.86, 0.789), 200),
    )
    assert choice.shipped.candidate.name == "a"
    assert "evidence/token_f1 0.7890" in choice.verdicts[2]
    assert gate((measured("fp32", 0.9, None), 1), (measured("a", 0.9, None), 2)).shipped


def test_equally_fast_ones_go_by_the_config(gate: Callable[..., Choice]) -> None:
    fp32 = (measured("fp32", 0.86), 50)
    assert (
        gate(fp32, (measured("a", 0.86), 96), (measured("b", 0.86), 100)).shipped.candidate.name
        == "a"
    )
    assert (
        gate(fp32, (measured("a", 0.86), 94), (measured("b", 0.86), 100)).shipped.candidate.name
        == "b"
    )


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


def test_fp32_ships_where_int8_is_slower(gate: Callable[..., Choice]) -> None:
    assert gate(
        (measured("fp32", 0.86), 100), (measured("a", 0.86), 60)
    ).shipped.candidate.name == ("fp32")


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
    choice = choose([measured("fp32", 0.9)], [50.0], config, {"a": "cannot be made: no"})
    assert choice.shipped.candidate.name == "fp32"
    assert choice_lines(choice)[-1] == "a: cannot be made: no"
    assert choice.to_json()["failed"] == {"a": "cannot be made: no"}


def test_the_verdict_of_a_tie_is_no_lie(gate: Callable[..., Choice]) -> None:
    choice = gate(
        (measured("fp32", 0.86), 50), (measured("a", 0.86), 96), (measured("b", 0.86), 100)
    )
    assert choice.verdicts == ("slower", "ships", "as fast within 5%, but named later")
