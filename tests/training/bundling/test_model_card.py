from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard

from tactful.reading.decisions import Heads, TaskHead
from tactful.reading.encoding import EncodingLimits
from tactful_training.bundling.candidate_choice import Choice, Measured
from tactful_training.bundling.candidate_speed import Rate
from tactful_training.bundling.candidates import Candidate, Parity
from tactful_training.bundling.model_card import model_card
from tactful_training.bundling.run_record import RunRecord
from tactful_training.config.config_schema import Config
from tactful_training.data.data_card import Card
from tactful_training.data.data_set import load_data_set
from tactful_training.data.joined_sets import join_sets
from tactful_training.data.labelled_row import targets
from tactful_training.evaluation.bundle_evaluation import evaluate_answers
from tactful_training.evaluation.decisions_on_rows import Answers
from tactful_training.evaluation.evaluation_results import headline
from tactful_training.fitting.encoder import EncoderSource
from tactful_training.fitting.epochs import Epoch
from tactful_training.fitting.resuming import Fitted
from tactful_training.fitting.training_inputs import TrainingInputs
from tactful_training.registry.environment import describe_environment, git_commit


@pytest.fixture(scope="module")
def record(make_config: Callable[..., Config], data_set: Path) -> RunRecord:
    data = load_data_set(data_set)
    evaluations, answers = {}, {}
    for split in ("validation", "test"):
        rows = data.split(split)
        truth = targets(rows, data.tasks)
        answers[split] = Answers(rows, data.tasks, truth, truth == 1, [{} for _ in rows])
        evaluations[split] = evaluate_answers(answers[split], resamples=20)
    ones = np.ones(3, np.float32)
    moves, mood = data.tasks
    heads = (TaskHead(moves, ones, ones, ones / 8, ones / 2), TaskHead(mood, ones, ones))
    fitted = Heads(heads, EncodingLimits(max_tokens=24, max_windows=3, window_overlap=8))
    fp32, int8 = (
        Measured(
            Candidate(name, bytes(size)),
            (),
            fitted,
            (),
            answers["validation"],
            evaluations["validation"],
        )
        for name, size in (("fp32", 4_000_000), ("int8-static", 1_100_000))
    )
    encoder = EncoderSource("tests/tiny", data_set, "ab" * 32)
    rows = {split: data.split(split) for split in ("train", "validation", "test")}
    joined = join_sets([(data, 1.0)])
    sizes = {split: (len(some),) for split, some in rows.items()}
    inputs = TrainingInputs(joined, rows, sizes, encoder, None)  # type: ignore[arg-type]
    return RunRecord(
        config=make_config(),
        inputs=inputs,
        fitted=Fitted({}, (Epoch(1, {}), Epoch(2, {})), 2),
        precision="fp32",
        choice=Choice(
            (fp32, int8),
            (Rate(200.0, 190.0, 210.0), Rate(150.5, 140.0, 160.0)),
            ("the reference", "ships"),
            int8,
            Parity(1e-6, 2e-6, 48),
        ),
        evaluations=evaluations,
        beside={
            name: evaluate_answers(answers["test"].part(range(size)), resamples=20)
            for name, size in (("test, plain", 40), ("real ones", 9))
        },
        environment={"python": "3.11", "processor": "some"},
        commit=None,
        tracking_run="abc",
    )


def test_the_card_is_filled_from_the_run(record: RunRecord) -> None:
    card = model_card(record)
    _, front_matter, text = card.split("---\n", 2)
    stated = yaml.safe_load(front_matter)
    assert stated["license"] == "cc0-1.0"
    assert stated["base_model"] == "tests/tiny"
    assert stated["datasets"] == [record.inputs.data.name]
    for part in (
        "# tactful 0.1.0",
        "not the person who wrote it",
        "| moves: micro F1 | 1.000 (1.000 to 1.000) | 1.000 (1.000 to 1.000) | 1.000 (",
        "|  | test (48 rows) | test, plain (40 rows) | real ones (9 rows) |",
        "| moves: `sorry` | 1.000 (1.000 to 1.000); ",
        "too few to say; ",
        "| evidence: token F1 | 0.000 (0.000 to 0.000) |",
        "| `sorry` | says sorry | 0.125 |",
        "| `happy` | sounds happy |",
        "96 train, 48 validation, 48 test rows",
        "best of 2 epochs: 2",
        "logits 1.0e-06, token scores 2.0e-06",
        "Git commit: unknown",
        "MLflow run: abc",
        "more than 21 tokens",
        "This bundle holds the form `int8-static`",
        "| `fp32` | 4.0 MB | 200 (190 to 210) | 1.000 | 1.000 | 0.000 | the reference |",
        "| `int8-static` | 1.1 MB | 150 (140 to 160) | 1.000 | 1.000 | 0.000 | ships |",
        "ONNX opset 17, int8",
        "**int8-static ships, but is slower than fp32 on this processor (150 and 200 replies/s)",
    ):
        assert part in text
    assert "language models" not in text  # the card of this data set does not say so
    assert "nan" not in text


def test_the_hub_reads_the_figures_of_the_test_split(record: RunRecord) -> None:
    card = ModelCard(model_card(record))
    figures = {(each.task_name, each.metric_name): each for each in card.data.eval_results}
    measured = headline(record.evaluations["test"])
    assert len(figures) == len(measured)
    one = figures["moves", "moves: micro F1"]
    assert one.metric_type == "f1"
    assert one.metric_value == round(measured["moves/micro_f1"].value, 4)
    assert one.dataset_split == "test"
    assert card.data.model_name == "tactful"


def with_card(record: RunRecord, card: Card) -> RunRecord:
    joined = record.inputs.data
    member = replace(joined.members[0], data=replace(joined.members[0].data, card=card))
    return replace(record, inputs=replace(record.inputs, data=replace(joined, members=(member,))))


def test_labels_made_by_language_models_are_called_so(record: RunRecord) -> None:
    stated: dict[str, Any] = {
        **record.inputs.data.front_matter,
        "annotations_creators": ["machine-generated"],
        "language_creators": ["machine-generated"],
        "pretty_name": "Some replies",
    }
    card = replace(record.inputs.data.members[0].data.card, front_matter=stated)
    text = model_card(with_card(record, card))
    assert "Some replies: 96 train" in text
    assert "All labels and marked words were made by language models, not by people" in text


def test_tags_and_licence_are_those_of_the_data(record: RunRecord) -> None:
    text = model_card(record)
    assert yaml.safe_load(text.split("---")[1])["tags"] == ["onnx", "label-wise-attention"]
    assert "customer" not in text
    stated: dict[str, Any] = {
        **record.inputs.data.front_matter,
        "license": "other",
        "license_name": "academic-non-commercial",
        "license_link": "https://example.org/terms",
        "tags": ["dialogue-acts", "meetings"],
    }
    card = replace(record.inputs.data.members[0].data.card, front_matter=stated)
    text = model_card(with_card(record, card))
    front_matter = yaml.safe_load(text.split("---")[1])
    assert front_matter["tags"] == ["onnx", "label-wise-attention", "dialogue-acts", "meetings"]
    assert front_matter["license"] == "other"
    assert front_matter["license_name"] == "academic-non-commercial"
    assert "licence is: academic-non-commercial (https://example.org/terms)." in text


def test_headline_figures_have_paths(record: RunRecord) -> None:
    assert set(headline(record.evaluations["test"])) == {
        "moves/macro_f1",
        "moves/micro_f1",
        "moves/ece",
        "mood/accuracy",
        "mood/macro_f1",
        "mood/ece",
        "evidence/token_f1",
    }


def test_the_environment_names_versions_and_commit() -> None:
    environment = describe_environment()
    assert environment["torch"].startswith("2.")
    assert all(environment.values())
    commit = git_commit()
    assert commit is None or len(commit.removesuffix("-dirty")) == 40
