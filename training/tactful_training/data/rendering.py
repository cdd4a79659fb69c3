"""A data report as a person sees it in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tactful_training.data.check import DataReport, Finding, SplitCounts

NO_LABEL = "(no label)"
"""Instead of labels where none of a multi-label task applies; a label may be called "none"."""


def render_report(report: DataReport) -> RenderableType:
    """Lay out the label counts of every split, then what was found."""
    parts: list[RenderableType] = [counts_table(str(report.path), report.splits)]
    for finding in report.findings:
        parts += _finding(finding)
    parts.append(
        Text("No problem found.", "green") if report.ok else Text("Problems found.", "bold red")
    )
    return Group(*parts)


def counts_table(title: str, splits: Mapping[str, SplitCounts]) -> Table:
    """Rows, groups and labels of every split."""
    table = Table(title=title, title_justify="left")
    table.add_column("label")
    for name in splits:
        table.add_column(name, justify="right")
    for heading, numbers in _lines(list(splits.values())):
        table.add_row(Text(heading), *map(str, numbers), end_section=heading == "groups")
    return table


def _lines(splits: list[SplitCounts]) -> Iterator[tuple[str, list[int]]]:
    yield "rows", [split.rows for split in splits]
    yield "groups", [split.groups for split in splits]
    for task, labels in splits[0].labels.items():
        for label in labels:
            yield f"{task}: {label}", [split.labels[task][label] for split in splits]
        if task in splits[0].none:
            yield f"{task}: {NO_LABEL}", [split.none[task] for split in splits]
        if any(unknown := [split.unknown[task] for split in splits]):
            yield f"{task}: unknown", unknown


def _finding(finding: Finding) -> Iterator[Text]:
    kind, style = ("problem", "bold red") if finding.problem else ("warning", "yellow")
    yield Text.assemble((f"{kind}: ", style), f"{finding.count} {finding.message}")
    for example in finding.examples:
        yield Text(f"  - {example}")
    if finding.count > len(finding.examples):
        yield Text(f"  - and {finding.count - len(finding.examples)} more")
