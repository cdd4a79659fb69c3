"""The last measuring of a run: on splits, on parts of the test split, on rows of other sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tactful.classifier import Classifier
from tactful.reading.engine import Engine
from tactful_training.bundling.candidate_choice import Choice
from tactful_training.config.config_schema import Config
from tactful_training.data.data_set import LabelledData
from tactful_training.evaluation.bundle_evaluation import evaluate_answers, evaluate_classifier
from tactful_training.evaluation.evaluation_results import Evaluation
from tactful_training.evaluation.slices import slice_columns
from tactful_training.fitting.training_inputs import TrainingInputs

# A column of more values holds no parts that a model card could show beside each other.
_MOST_PARTS = 8


def evaluate_splits(
    config: Config, inputs: TrainingInputs, choice: Choice, engine: Engine
) -> dict[str, Evaluation]:
    """Measure the model as it will be served, with its decisions and evidence.

    Where it is quantised, ``fp32_test`` says what that costs; where there are several data sets,
    ``test_NAME`` speaks of each. The resamples are those of ``tactful evaluate``, whatever seed the
    training has.
    """
    resamples = config.evaluation.resamples

    def on_test(engine: Engine) -> Evaluation:
        return evaluate_classifier(Classifier(engine), inputs.rows["test"], resamples=resamples)

    # What the form that ships says of the validation split is known since it was chosen.
    measured = {"validation": evaluate_answers(choice.shipped.answers, resamples=resamples)}
    fp32 = choice.measured[0]
    if choice.shipped is not fp32:
        measured["fp32_test"] = on_test(fp32.as_served(inputs.encoder.tokenizer))
    test = on_test(engine)
    if len(inputs.data.members) > 1:
        sets = {f"test_{name}": list(at) for name, at in inputs.of_sets("test").items()}
        measured |= _evaluate_parts(test, sets, resamples)
    measured["test"] = test  # last: what the model card speaks of
    return measured


def evaluate_beside(
    config: Config,
    inputs: TrainingInputs,
    test: Evaluation,
    engine: Engine,
    further: Mapping[str, LabelledData],
) -> dict[str, Evaluation]:
    """Measure the parts of the test split that the config names, and rows of other sources.

    Nothing is chosen by these figures: they tell whoever uses the model what to expect.

    Args:
        config: says by which column the test split is parted.
        inputs: what was trained on.
        test: what was measured on the test split.
        engine: the model as it will be served.
        further: rows of other sources by the name that they go by.
    """
    resamples, column = config.evaluation.resamples, config.evaluation.part_by
    measured: dict[str, Evaluation] = {}
    rows = inputs.rows["test"]
    if column is not None and any(column in row.columns for row in rows):
        masks = slice_columns(rows, [column])[column]
        if len(masks) <= _MOST_PARTS:
            places = {f"test, {value}": np.flatnonzero(mask) for value, mask in masks.items()}
            measured |= _evaluate_parts(test, places, resamples)
    for name, labelled in further.items():
        measured[name] = evaluate_classifier(
            Classifier(engine), labelled.rows, labelled.tasks, resamples=resamples
        )
    return measured


def _evaluate_parts(
    whole: Evaluation, parts: Mapping[str, Sequence[int] | NDArray[np.intp]], resamples: int
) -> dict[str, Evaluation]:
    """Measure parts of rows that were read already; a part of which no label is known is left out.

    Args:
        whole: what was measured on all rows.
        parts: name to the places of its rows.
        resamples: how many resamples intervals are made of.
    """
    answers = {name: whole.answers.part(list(places)) for name, places in parts.items()}
    return {
        name: evaluate_answers(each, resamples=resamples)
        for name, each in answers.items()
        if not np.isnan(each.truth).all()
    }
