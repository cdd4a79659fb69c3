"""Options of a job are declared once: command, Python and documentation say the same of them."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from tactful import batch
from tactful.batch.job_spec import ResultOptions, RunOptions
from tactful.options import declared, options_table

DOCS = (Path(__file__).parents[3] / "docs/batch.md").read_text("utf-8")
DELIMITERS = "delimiter ';;': allowed is one character such as ';', or tab (no quote, no line end)"
OPTIONS = [*declared(ResultOptions), *declared(RunOptions)]


@pytest.mark.parametrize("options", [ResultOptions, RunOptions])
def test_the_documentation_has_the_table_that_is_made_of_them(options: type) -> None:
    assert f"\n\n{options_table(options)}\n" in DOCS


def test_python_takes_what_the_command_takes() -> None:
    parameters = inspect.signature(batch.score).parameters
    keywords = {
        name: parameter.default
        for name, parameter in parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and name != "console"
    }
    assert keywords == {one.name: one.default for one in OPTIONS}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"scores": "some"}, "--scores is 'some', allowed: none, decided, all"),
        ({"engine": "spark"}, "--engine is 'spark', allowed: local, ray"),
        ({"input_format": "xml"}, "--input-format is 'xml', allowed: jsonl, csv, parquet"),
        ({"part_rows": 0}, "--part-rows is 0, allowed: at least 1"),
        ({"max_errors": -1}, "--max-errors is -1, allowed: at least 0"),
        ({"delimiter": ";;"}, DELIMITERS),
        ({"ray_actors": 0}, "--ray-actors is 0, allowed: at least 1"),
    ],
)
def test_a_wrong_value_is_told_with_what_is_allowed(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(batch.JobError) as caught:
        batch.score("in.jsonl", "out.jsonl", "nowhere", **wrong)
    assert str(caught.value) == said
