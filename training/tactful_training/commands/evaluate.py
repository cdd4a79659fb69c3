"""``tactful evaluate``: a bundle measured on labelled rows."""

from __future__ import annotations

from typing import Annotated

import typer

from tactful.bundle.addresses import DEFAULT_BUNDLE
from tactful.options import BundleOption, DelimiterOption, JsonOption
from tactful_training.commands.shared_options import (
    DataOption,
    SliceOption,
    SplitOption,
    require_train_extra,
    show,
    warn,
)
from tactful_training.errors import DataError


def evaluate(
    data: DataOption,
    split: SplitOption = "test",
    bundle: BundleOption = DEFAULT_BUNDLE,
    baseline: Annotated[
        bool,
        typer.Option(
            "--baseline",
            help="Train TF-IDF with logistic regression on the data set and show it beside.",
        ),
    ] = False,
    slice_: SliceOption = None,
    delimiter: DelimiterOption = None,
    json_output: JsonOption = False,
) -> None:
    """Measure a bundle on labelled rows: every figure with its 95% bootstrap interval."""
    require_train_extra("tactful evaluate")

    from rich.console import Console
    from rich.progress import track

    from tactful.classifier import Classifier
    from tactful_training.data.data_set import load_labelled
    from tactful_training.evaluation.bundle_evaluation import evaluate_classifier
    from tactful_training.evaluation.result_tables import render_evaluation

    progress = Console(stderr=True)
    classifier = Classifier.load(bundle)
    labelled = load_labelled(data, split, classifier.bundle.heads.tasks, delimiter=delimiter)
    for line in labelled.lacking:
        warn(progress, f"{line}; it is not evaluated")
    keywords = None
    if baseline:
        if labelled.data_set is None:
            raise DataError(
                f"--baseline is trained on the splits train and validation of a data set, but "
                f"{data} is a file; name the folder of the data set, or leave --baseline out"
            )
        from tactful_training.benchmark.keyword_baseline import evaluate_baseline

        with progress.status("Training the baseline"):
            keywords = evaluate_baseline(labelled.data_set, labelled.tasks, labelled.rows)
    evaluation = evaluate_classifier(
        classifier,
        labelled.rows,
        labelled.tasks,
        slices=slice_ or None,
        follow=lambda readings: track(
            readings, "Reading replies", len(labelled.rows), console=progress, transient=True
        ),
    )
    beside = {} if keywords is None else {"baseline": keywords.to_dict()}
    show(
        json_output,
        lambda: evaluation.to_dict() | beside,
        lambda: render_evaluation(evaluation, keywords),
    )
