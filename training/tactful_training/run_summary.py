"""What a finished training shows: the figures, where things are, three labelled replies."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from tactful.bundle.mlflow_store import shown_uri
from tactful.classifier import Classifier
from tactful.output.terminal import render_reading
from tactful_training.data.labelled_row import Row
from tactful_training.evaluation.evaluation_results import headline
from tactful_training.evaluation.figure_table import (
    INTERVAL,
    FigureTable,
    interval_text,
    value_text,
)
from tactful_training.registry.model_registration import CHALLENGER, CHAMPION, MODEL, Registration
from tactful_training.training_run import TrainingResult

_SAMPLES = 3
_READABLE = range(80, 260)  # characters of a sample reply


def print_summary(result: TrainingResult, console: Console) -> None:
    """Print the headline figures and three replies of the test split, labelled by the bundle."""
    console.print(_figures(result))
    where = f"run {result.tracking_run} in {shown_uri(result.tracking_uri)}"
    lines = [f"bundle  {result.out} ({result.bundle})"]
    lines.append(f"MLflow  {where if result.tracking_run else 'none'}")
    if result.registration is not None:
        lines += registration_lines(result.registration)
    for line in lines:  # paths and names may hold anything
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    classifier = Classifier.load(
        result.out, trusted_keys=()
    )  # made here, and signed later if at all
    for row in choose_samples(result.inputs.rows["test"]):
        console.print(Rule(style="dim"))
        if row.context:
            console.print(Text(f"context: {row.context}", "dim"))
        console.print(render_reading(classifier.classify(row.reply, row.context), row.reply))


def registration_lines(registration: Registration) -> list[str]:
    """What became of the bundle in the registry, and how to promote it."""
    name = f"model   {MODEL} version {registration.version}"
    if registration.champion:
        return [f"{name}: challenger, and champion (models:/{MODEL}@{CHAMPION})"]
    if registration.other_tasks is not None:
        return [
            f"{name}: no challenger; the tasks there are others: {registration.other_tasks}",
            "        to leave such models out of the registry: --set tracking.register_model=false",
        ]
    lines = [f"{name}: challenger (models:/{MODEL}@{CHALLENGER})"]
    if registration.obstacles:
        lines.append("        not the champion, though there is none yet:")
        lines += [f"        - {obstacle}" for obstacle in registration.obstacles]
    else:
        lines.append("        to compare it with the champion and promote it: tactful promote")
    return lines


def choose_samples(rows: Sequence[Row]) -> list[Row]:
    """Replies of a readable length, with evidence where there is some, of different groups."""
    by_group: dict[str, Row] = {}
    printable = [row for row in rows if row.is_encodable]
    for row in sorted(
        printable, key=lambda row: (len(row.reply) not in _READABLE, -len(row.evidence))
    ):
        by_group.setdefault(row.group, row)
    return list(by_group.values())[:_SAMPLES]


def _figures(result: TrainingResult) -> FigureTable:
    columns = {split: headline(found) for split, found in result.evaluations.items()}
    headings = [heading for split in columns for heading in (split, INTERVAL)]
    table = FigureTable("", [""], headings)
    for name in dict.fromkeys(name for column in columns.values() for name in column):
        cells: list[str] = []
        for column in columns.values():
            each = column.get(name)
            cells += ["-", ""] if each is None else [value_text(each, 3), interval_text(each, 3)]
        table.add(name, *cells)
    return table
