from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from tactful.errors import ReportError
from tactful.report.drift import Reference, drift, read_reference, reference_of


def reference(replies=1000, apology=250, scores=(100,) * 10, **words):
    return Reference(
        replies,
        {"strategies": {"apology": apology}},
        {"strategies": {"apology": list(scores)}},
        {part: {"edges": [5, 10], "counts": [300, 400, 300]} for part in ("replies", "contexts")},
        {"replies": words or {"the": 60, "you": 40}, "contexts": {}},
        {"replies": 200, "contexts": 0},
    )


LENGTHS = {part: np.repeat([2.0, 7.0, 30.0], [300, 400, 300]) for part in ("replies", "contexts")}


def figures(now, before, lengths=LENGTHS):
    return {each.what: each for each in drift(now, before, lengths)}


def test_the_same_replies_have_not_moved():
    found = figures(reference(), reference())
    assert {each.verdict for each in found.values()} == {"stable"}
    assert all(each.value == pytest.approx(0, abs=1e-12) for each in found.values())
    assert "words of contexts" not in found  # there are none


def test_psi_is_the_published_formula():
    now = reference(scores=[10, 20, 30, 40, 100, 150, 150, 150, 150, 200])
    found = figures(now, reference())["scores of apology"]
    p = [100.5 / 1005] * 10
    q = [(count + 0.5) / 1005 for count in now.scores["strategies"]["apology"]]
    wanted = sum((b - a) * math.log(b / a) for a, b in zip(p, q, strict=True))
    assert found.value == pytest.approx(wanted)
    assert found.verdict == "act"


def test_words_are_compared_by_jensen_shannon_divergence_in_bits():
    found = figures(reference(the=90, we=30), reference())["words of replies"]
    wanted = jensenshannon([90, 30, 0, 80], [60, 0, 40, 100], base=2) ** 2
    assert found.value == pytest.approx(wanted)
    assert found.measure == "JS"
    assert found.verdict == "act"


def test_rates_come_with_what_they_were():
    found = figures(reference(apology=500), reference())["rate of apology"]
    assert (found.before, found.now, found.verdict) == (0.25, 0.5, "act")
    longer = {part: np.repeat([2.0, 7.0, 30.0], [100, 300, 600]) for part in LENGTHS}
    assert figures(reference(), reference(), longer)["length of replies"].verdict == "act"


def test_few_replies_are_not_taken_for_drift():
    random = np.random.default_rng(3)
    verdicts = []
    for _ in range(300):
        now = reference(40, 10, random.multinomial(40, [0.1] * 10))
        verdicts.append(figures(now, reference())["scores of apology"].verdict != "stable")
    assert np.mean(verdicts) <= 0.08


def test_chance_is_what_chance_gives():
    random = np.random.default_rng(4)
    p = np.array([0.05, 0.05, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.2])
    above = []
    for _ in range(500):
        one, other = (reference(scores=random.multinomial(1000, p)) for _ in range(2))
        found = figures(one, other)["scores of apology"]
        above.append(found.value > found.chance)
    assert 0.02 < np.mean(above) < 0.08


def test_a_report_is_a_reference_for_the_next(made_up, figures_of, tmp_path):
    rows = list(made_up(300, 3))
    earlier = tmp_path / "earlier.figures.json"
    first = figures_of(rows)
    assert first.drift is None
    earlier.write_text(json.dumps(first.to_dict()))
    again = figures_of(rows, reference=str(earlier))
    assert {each.verdict for each in again.drift} == {"stable"}
    assert again.reference_source == str(earlier)
    other = figures_of([r | {"reply": "ok", "evidence": []} for r in rows], reference=str(earlier))
    verdicts = {each.what: each.verdict for each in other.drift}
    assert verdicts["length of replies"] == verdicts["words of replies"] == "act"
    assert verdicts["words of contexts"] == "stable"


def test_a_reference_goes_to_json_and_back(made_up, table_of):
    found = reference_of(table_of(made_up(100, 2)))
    assert read_reference(json.loads(json.dumps(found.to_dict())), "it") == found
    words = {*found.words["replies"], *found.words["contexts"]}
    assert all(word.islower() for word in words)  # names are nobody's business
    assert sum(found.scores["tone"]["warm"]) == found.replies == 100


@pytest.mark.parametrize(
    "wrong", [None, [], {}, {"reference": 3}, reference().to_dict() | {"lengths": {}}]
)
def test_another_shape_is_refused_by_name(wrong):
    with pytest.raises(ReportError, match=r"old\.json holds no reference to measure drift against"):
        read_reference(wrong, "old.json")
