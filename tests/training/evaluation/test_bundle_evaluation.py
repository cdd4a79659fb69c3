from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

from tactful import Classifier
from tactful.reading.tasks import Task, Tasks
from tactful_training.data.labelled_row import EvidenceSpan, Row, targets
from tactful_training.errors import DataError
from tactful_training.evaluation.bundle_evaluation import evaluate_answers, evaluate_classifier
from tactful_training.evaluation.decisions_on_rows import Answers
from tactful_training.evaluation.evaluation_results import Evaluation
from tactful_training.evaluation.evidence_metrics import (
    Spans,
    evidence_counts,
    evidence_tasks,
    span_counts,
)
from tactful_training.registry.mlflow_tracker import parts, paths
from tactful_training.registry.tracked_training import flat_metrics

STRATEGIES = Task("strategies", "multilabel", {"apology": "", "gratitude": "", "rare": ""})
TONE = Task("tone", "single", {"warm": "", "cold": "", "odd": ""})
TASKS = Tasks((STRATEGIES, TONE))
MULTILABEL_FIGURES = ["macro_f1", "micro_f1", "macro_f1_all"]
SINGLE_FIGURES = ["accuracy", "macro_f1", "macro_f1_all"]
EVIDENCE_FIGURES = ["token_f1", "token_precision", "token_recall", "iou_f1"]


def row(
    name: str,
    labels: Mapping[str, Any],
    *,
    reply: str = "I am so sorry, Ana.",
    evidence: Sequence[EvidenceSpan] = (),
    group: str | None = None,
) -> Row:
    known = {"strategies": None, "tone": None, **labels}
    return Row(name, reply, None, group or name, known, tuple(evidence), {})


def some_rows(count: int = 120, seed: int = 0) -> list[Row]:
    """Rows in groups of three, a part with an unknown task; the label ``rare`` has three."""
    random = np.random.default_rng(seed)
    rows = []
    for index in range(count):
        strategies: Any = tuple(
            label
            for label, share in (("apology", 0.5), ("gratitude", 0.3))
            if random.random() < share
        )
        strategies += ("rare",) if index % 40 == 0 else ()
        tone: Any = "odd" if index % 60 == 1 else ("warm", "cold")[int(random.random() < 0.4)]
        if index % 10 == 9:
            strategies = None
        if index % 10 == 8:
            tone = None
        labels = {"strategies": strategies, "tone": tone}
        rows.append(row(f"r{index}", labels, group=f"g{index // 3}"))
    return rows


def some_answers(rows: Sequence[Row], seed: int = 1) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    scores = random.random((len(rows), TASKS.size))
    scores[:, 3:] /= scores[:, 3:].sum(axis=1, keepdims=True)
    decisions = scores > 0.5
    decisions[:, 3:] = np.arange(3) == scores[:, 3:].argmax(axis=1)[:, None]
    return scores, decisions


def evaluated(rows: Sequence[Row], **options: Any) -> Evaluation:
    scores, decisions = some_answers(rows)
    return evaluate_answers(Answers(rows, TASKS, scores, decisions), resamples=100, **options)


def test_headline_figures_are_those_of_scikit_learn_over_the_rows_that_know_the_task() -> None:
    rows = some_rows()
    _, decisions = some_answers(rows)
    content = evaluated(rows).to_dict()

    known = [i for i, r in enumerate(rows) if r.labels["strategies"] is not None]
    truth = np.array([[k in rows[i].labels["strategies"] for k in STRATEGIES.names] for i in known])
    said = decisions[known, :3]
    f1 = f1_score(truth, said, average=None, zero_division=0)
    assert content["strategies"]["n"] == len(known) == 108
    # "rare" has three positive rows: listed, but no part of macro F1.
    assert content["strategies"]["macro_f1"]["value"] == pytest.approx(f1[:2].mean())
    assert content["strategies"]["micro_f1"]["value"] == pytest.approx(
        f1_score(truth, said, average="micro")
    )
    assert content["strategies"]["labels"]["rare"]["too_rare"] is True
    assert content["strategies"]["labels"]["rare"]["support"] == 3
    assert content["strategies"]["labels"]["apology"]["too_rare"] is False

    known = [i for i, r in enumerate(rows) if r.labels["tone"] is not None]
    tones = [TONE.names.index(str(rows[i].labels["tone"])) for i in known]
    answers = decisions[known, 3:].argmax(axis=1)
    f1 = f1_score(tones, answers, average=None)
    assert content["tone"]["accuracy"]["value"] == pytest.approx(accuracy_score(tones, answers))
    assert content["tone"]["macro_f1"]["value"] == pytest.approx(f1[:2].mean())
    assert content["tone"]["labels"]["odd"]["f1"] == pytest.approx(f1[2])
    assert content["tone"]["labels"]["odd"]["too_rare"] is True


@pytest.mark.parametrize(("positives", "too_rare"), [(9, True), (10, False)])
def test_macro_f1_counts_a_label_from_ten_positive_rows(positives: int, too_rare: bool) -> None:
    rows = [
        row(f"r{i}", {"strategies": ("rare",) if i < positives else ("apology",)})
        for i in range(30)
    ]
    labels = evaluated(rows).to_dict()["strategies"]["labels"]
    assert labels["rare"]["too_rare"] is too_rare


@pytest.mark.parametrize(("count", "too_rare"), [(4, True), (5, False)])
def test_macro_f1_counts_a_class_from_five_rows(count: int, too_rare: bool) -> None:
    rows = [row(f"r{i}", {"tone": "odd" if i < count else "warm"}) for i in range(30)]
    assert evaluated(rows).to_dict()["tone"]["labels"]["odd"]["too_rare"] is too_rare


def test_the_json_is_as_the_interfaces_say() -> None:
    rows = [
        row("a", {"strategies": ("apology",), "tone": "warm"}, evidence=[SORRY]),
        row("b", {"strategies": (), "tone": "cold"}),
        row("c", {"strategies": ("gratitude",), "tone": "warm"}, evidence=[SORRY]),
    ]
    scores, decisions = some_answers(rows)
    thresholds = {("strategies", "apology"): 0.4}
    answers = Answers(rows, TASKS, scores, decisions, [{}] * 3, thresholds)
    evaluation = evaluate_answers(answers, resamples=50, seed=4)
    content = json.loads(json.dumps(evaluation.to_dict(), allow_nan=False))
    assert list(content) == [
        *("n", "strategies", "tone", "evidence", "calibration", "slices", "bootstrap")
    ]
    assert content["n"] == 3
    assert list(content["strategies"]) == ["n", *MULTILABEL_FIGURES, "labels"]
    assert list(content["tone"]) == ["n", *SINGLE_FIGURES, "labels", "confusion"]
    assert list(content["evidence"]) == EVIDENCE_FIGURES
    assert set(content["calibration"]) == {"strategies", "tone"}
    headline = [content["strategies"][key] for key in MULTILABEL_FIGURES]
    headline += [content["tone"][key] for key in SINGLE_FIGURES]
    headline += content["evidence"].values()
    headline += [calibration["ece"] for calibration in content["calibration"].values()]
    assert all(list(figure) == ["value", "low", "high"] for figure in headline)
    apology = content["strategies"]["labels"]["apology"]
    figures = ["precision", "recall", "f1", "average_precision"]
    others = ["support", "threshold", "too_rare", "intervals", "evidence"]
    assert list(apology) == [*figures, *others]
    assert list(apology["evidence"]) == EVIDENCE_FIGURES
    assert "evidence" not in content["tone"]["labels"]["warm"]
    assert list(apology["intervals"]) == figures
    assert set(apology["intervals"]["f1"]) == {"low", "high"}
    assert apology["threshold"] == 0.4
    assert "threshold" not in content["tone"]["labels"]["warm"]
    assert list(content["calibration"]["tone"]) == ["ece", "bins"]
    assert set(content["calibration"]["tone"]["bins"][0]) == {
        "start",
        "end",
        "n",
        "confidence",
        "frequency",
        "low",
        "high",
    }
    assert content["tone"]["confusion"]["labels"] == list(TONE.names)
    assert content["bootstrap"] == {"level": 0.95, "resamples": 50, "groups": 3, "seed": 4}


def test_what_is_undefined_is_null_and_left_out_of_the_metrics() -> None:
    rows = [row(f"r{i}", {"strategies": (), "tone": "warm"}) for i in range(6)]
    scores = np.zeros((6, TASKS.size))
    decisions = np.zeros((6, TASKS.size), dtype=bool)
    decisions[:, 3] = scores[:, 3] = True
    evaluation = evaluate_answers(Answers(rows, TASKS, scores, decisions, [{}] * 6), resamples=20)
    content = evaluation.to_dict()
    nothing = {"value": None, "low": None, "high": None}
    assert content["strategies"]["macro_f1"] == content["strategies"]["micro_f1"] == nothing
    assert content["strategies"]["labels"]["apology"]["precision"] is None
    assert content["strategies"]["labels"]["apology"]["average_precision"] is None
    assert content["strategies"]["labels"]["apology"]["intervals"]["f1"] == {
        "low": None,
        "high": None,
    }
    assert content["tone"]["accuracy"] == {"value": 1, "low": 1, "high": 1}
    assert content["calibration"]["strategies"]["bins"][9] == {
        "start": 0.9,
        "end": 1.0,
        "n": 0,
        "confidence": None,
        "frequency": None,
        "low": None,
        "high": None,
    }
    assert content["evidence"] is None
    flat = flat_metrics(evaluation)
    assert "strategies/macro_f1" not in flat
    assert flat["tone/accuracy"] == flat["tone/accuracy_low"] == 1
    json.dumps(content, allow_nan=False)


def test_the_confusion_matrix_and_the_reliability_curve_have_intervals() -> None:
    rows = some_rows()
    evaluation = evaluated(rows)
    _, decisions = some_answers(rows)
    confusion = evaluation.tasks["tone"].confusion
    assert confusion is not None
    known = [i for i, r in enumerate(rows) if r.labels["tone"] is not None]
    tones = [TONE.names.index(str(rows[i].labels["tone"])) for i in known]
    expected = confusion_matrix(tones, decisions[known, 3:].argmax(axis=1))
    assert np.array(confusion.counts).tolist() == expected.tolist()
    recall = evaluation.tasks["tone"].labels["cold"].estimates["recall"]
    assert confusion.shares[1][1] == recall
    assert evaluation.tasks["strategies"].confusion is None
    for each in evaluation.tasks["strategies"].reliability:
        assert each.frequency.low <= each.frequency.value <= each.frequency.high


def test_flat_metrics_follow_the_paths_of_the_json() -> None:
    evaluation = evaluated(some_rows())
    content, flat = evaluation.to_dict(), flat_metrics(evaluation)
    assert flat["n"] == 120
    assert flat["strategies/macro_f1"] == content["strategies"]["macro_f1"]["value"]
    assert flat["strategies/macro_f1_high"] == content["strategies"]["macro_f1"]["high"]
    assert flat["tone/labels/cold/recall"] == content["tone"]["labels"]["cold"]["recall"]
    assert flat["calibration/tone/ece"] == content["calibration"]["tone"]["ece"]["value"]


def test_every_label_has_metrics_of_its_own_whatever_its_name() -> None:
    long = 300 * "a"
    names = ["C(", "C)", "C_", "a/b", "a_b", "..", "/", "a/b/f1", f"{long}b", f"{long}c"]
    tasks = Tasks((Task("acts", "multilabel", dict.fromkeys(names, "")),))
    rows = [
        Row(f"{i}", "a", None, f"{i}", {"acts": (name,)}, (), {"channel": ("x(", "x)")[i % 2]})
        for i, name in enumerate(names * 15)
    ]
    truth = targets(rows, tasks)
    evaluation = evaluate_answers(Answers(rows, tasks, truth, truth == 1), resamples=0)
    flat = flat_metrics(evaluation)
    supports = [path for path in flat if path.endswith("/support")]
    assert len(supports) == len(names)
    assert all(path.count("/") == 3 for path in supports)
    assert max(map(len, flat)) < 120  # of 250 that MLflow takes
    assert {"acts/labels/C_/support", "acts/labels/a_b/support"} <= flat.keys()
    assert len([path for path in flat if path.startswith("slices/acts/channel/")]) == 2
    assert flat.keys() == {*paths(flat), *paths(flat).values()}  # MLflow takes them as they are
    assert parts(names) == {name: parts(reversed(names))[name] for name in names}


def test_every_interval_holds_its_value() -> None:
    rows = some_rows()
    for estimate in _estimates(evaluated(rows).to_dict()):
        if estimate["value"] is not None:
            assert estimate["low"] <= estimate["value"] <= estimate["high"]


def _estimates(content: Any) -> list[Any]:
    if not isinstance(content, dict):
        return []
    if set(content) == {"value", "low", "high"}:
        return [content]
    here = [
        {"value": content[key], **interval}
        for key, interval in content.get("intervals", {}).items()
    ]
    return here + [found for value in content.values() for found in _estimates(value)]


def test_a_task_that_no_row_knows_is_not_in_the_result() -> None:
    rows = [row(f"r{i}", {"tone": "warm"}) for i in range(4)]
    assert list(evaluated(rows).tasks) == ["tone"]
    with pytest.raises(DataError, match="no row has labels of the tasks strategies, tone"):
        evaluated([row("r", {})])
    with pytest.raises(DataError, match="no rows"):
        evaluate_answers(Answers([], TASKS, np.zeros((0, 6)), np.zeros((0, 6), bool)))


MARKED = Tasks((TASKS.named("strategies"),))


def together(counts: NDArray[Any]) -> list[list[float]]:
    """Hits, false ones and misses of all labels of each row."""
    found: list[list[float]] = counts.reshape(len(counts), 3, -1).sum(axis=2).tolist()
    return found


SORRY = EvidenceSpan("strategies", "apology", 5, 13)  # "so sorry" of "I am so sorry, Ana."
THANKS = "Thank you so much for waiting."


def test_evidence_by_hand_wrong_decisions_included() -> None:
    rows = [
        # Words 2 and 3 are marked. The span found overlaps words 3 ("sorry,") and 4 ("Ana.").
        row("a", {"strategies": ("apology",)}, evidence=[SORRY]),
        # Words 0 to 3 are marked but the label was not decided; another was, on one word.
        row(
            "b",
            {"strategies": ("gratitude",)},
            reply=THANKS,
            evidence=[EvidenceSpan("strategies", "gratitude", 0, 17)],
        ),
        # Nothing applies, and nothing is marked: what is found is wrong.
        row("c", {"strategies": ()}, reply=THANKS),
        # The task is unknown: what is found says nothing.
        row("d", {"tone": "warm"}, reply=THANKS),
        # Labelled without marks: what is found is wrong, as "all spans" says.
        row("e", {"strategies": ("apology",)}),
    ]
    found = [
        {("strategies", "apology"): [(8, 19)]},
        {("strategies", "apology"): [(6, 9)]},
        {("strategies", "rare"): [(0, 9), (6, 12)]},
        {("strategies", "gratitude"): [(0, 9)]},
        {("strategies", "apology"): [(0, 19)]},
    ]
    expected = [[1, 1, 1], [0, 1, 4], [0, 3, 0], [0, 0, 0], [0, 5, 0]]
    assert evidence_tasks(rows) == {"strategies"}
    assert together(evidence_counts(rows, found, MARKED)) == expected

    scores, decisions = some_answers(rows)
    content = evaluate_answers(
        Answers(rows, TASKS, scores, decisions, found), resamples=20
    ).to_dict()
    assert content["evidence"]["token_f1"]["value"] == pytest.approx(2 * 1 / (2 * 1 + 10 + 5))
    assert content["evidence"]["token_precision"]["value"] == pytest.approx(1 / 11)
    assert content["evidence"]["token_recall"]["value"] == pytest.approx(1 / 6)
    labels = content["strategies"]["labels"]
    assert labels["apology"]["evidence"]["token_f1"]["value"] == pytest.approx(2 / (2 + 7 + 1))
    assert labels["gratitude"]["evidence"]["token_recall"]["value"] == 0
    assert labels["rare"]["evidence"]["token_recall"]["value"] is None


def test_spans_are_the_same_where_they_share_half_of_their_words() -> None:
    def span(label: str, first: int, last: int) -> EvidenceSpan:  # words of one letter
        return EvidenceSpan("strategies", label, 2 * first, 2 * last + 1)

    def shown(*spans: tuple[str, int, int]) -> Spans:
        found: dict[tuple[str, str], list[tuple[int, int]]] = {}
        for label, first, last in spans:
            found.setdefault(("strategies", label), []).append((2 * first, 2 * last + 1))
        return found

    def one(name: str, *evidence: EvidenceSpan) -> Row:
        return row(name, {"strategies": ("apology",)}, reply="a b c d e f g h", evidence=evidence)

    rows = [
        one("half", span("apology", 0, 3)),
        one("less", span("apology", 0, 4)),
        one("neighbours are one", span("apology", 0, 1), span("apology", 2, 3)),
        one("two", span("apology", 0, 0), span("apology", 4, 6)),
        one("another label", span("apology", 0, 3)),
        one("nothing is marked"),
        row("unknown", {"tone": "warm"}, reply="a b c d e f g h"),
    ]
    found = [
        shown(("apology", 2, 3)),
        shown(("apology", 3, 4)),
        shown(("apology", 0, 3)),
        shown(("apology", 0, 0), ("apology", 5, 7), ("apology", 2, 2)),
        shown(("gratitude", 0, 3)),
        shown(("apology", 1, 1)),
        shown(("apology", 1, 1)),
    ]
    expected = [[1, 0, 0], [0, 1, 1], [1, 0, 0], [2, 1, 0], [0, 1, 1], [0, 1, 0], [0, 0, 0]]
    counts = span_counts(rows, found, MARKED)
    assert together(counts) == expected
    expected[4] = [0, 0, 1]
    assert counts[:, [0, 3, 6]].tolist() == expected  # of apology alone


def test_words_are_split_at_any_whitespace_and_counted_once() -> None:
    reply = "so\u2003sorry\n\nfor\u200bthat \U0001f642"
    spans = [
        EvidenceSpan("strategies", "apology", 0, 4),
        EvidenceSpan("strategies", "apology", 3, 9),
    ]
    rows = [row("a", {"strategies": ("apology",)}, reply=reply, evidence=spans)]
    # Words: "so", "sorry", "for\u200bthat", the emoji; a span that ends at a word is not on it.
    found = [{("strategies", "apology"): [(2, 3), (10, 19)]}]
    assert together(evidence_counts(rows, found, MARKED)) == [[0, 1, 2]]


def test_a_bundle_is_evaluated_as_its_readings_say(classifier: Classifier) -> None:
    tasks = classifier.bundle.heads.tasks
    replies = {
        "I am so sorry, friend.": (("apology",), "warm"),
        "Thank you for your order.": (("gratitude",), "neutral"),
        "We will call you next.": (("next_step", "apology"), "neutral"),
        "your parcel is late": ((), "warm"),
    }
    rows = [
        Row(reply, reply, None, reply, {"strategies": s, "tone": t}, (), {})
        for reply, (s, t) in replies.items()
    ]
    content = evaluate_classifier(classifier, rows, resamples=20).to_dict()
    hits = false = missed = right = 0
    for each in rows:
        reading = classifier.classify(each.reply)
        said = {label.label for label in reading.labels["strategies"]}  # type: ignore[union-attr]
        truth = set(each.labels["strategies"] or ())
        hits, false, missed = (
            hits + len(said & truth),
            false + len(said - truth),
            missed + len(truth - said),
        )
        right += reading.tone.label == each.labels["tone"]
    assert hits
    assert content["strategies"]["micro_f1"]["value"] == 2 * hits / (2 * hits + false + missed)
    assert content["tone"]["accuracy"]["value"] == right / 4
    assert content["strategies"]["labels"]["gratitude"]["threshold"] == 0.43

    only_tone = Tasks((tasks.named("tone"),))
    assert "strategies" not in evaluate_classifier(classifier, rows, only_tone).to_dict()
