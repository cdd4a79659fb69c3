"""``tactful compare``: two bundles on the same rows."""

from __future__ import annotations

from typing import Annotated

import typer

from tactful.options import DelimiterOption, JsonOption
from tactful_training.commands.shared_options import (
    DataOption,
    SliceOption,
    SplitOption,
    require_train_extra,
    show,
    warn,
)


def compare(
    a: Annotated[
        str, typer.Argument(metavar="A", help="A bundle: folder, archive or models:/tactful/1.")
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="The other one; differences are B - A.")],
    data: DataOption,
    split: SplitOption = "test",
    slice_: SliceOption = None,
    delimiter: DelimiterOption = None,
    json_output: JsonOption = False,
) -> None:
    """Compare two bundles: paired differences with intervals, flips, speed and size.

    The rows may be labelled or not.
    """
    require_train_extra("tactful compare")
    from rich.console import Console

    from tactful.classifier import Classifier
    from tactful_training.data.data_set import load_labelled
    from tactful_training.evaluation.bundle_comparison import compare as run
    from tactful_training.evaluation.bundle_comparison import shared_tasks
    from tactful_training.evaluation.result_tables import render_comparison

    first, second = Classifier.load(a), Classifier.load(b)
    tasks = shared_tasks(first, second)
    rows = load_labelled(data, split, tasks, require_labels=False, delimiter=delimiter)
    console = Console(stderr=True)
    if len(rows.lacking) < len(rows.tasks):  # else no labels are wanted
        for line in rows.lacking:
            warn(console, f"{line}; its figures are left out")
    with console.status("Reading replies with both bundles"):
        found = run(first, second, rows.rows, rows.tasks, slices=slice_ or None)
    show(json_output, found.to_dict, lambda: render_comparison(found))
