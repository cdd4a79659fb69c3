"""From SCORED to the files of a report: read, count, draw, and write all or nothing."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tactful.errors import ReportError
from tactful.report.bundle_facts import find_facts, with_files
from tactful.report.figure_table import as_csv
from tactful.report.figures import Figures, make_figures, usable_facts
from tactful.report.report_command import ReportOptions
from tactful.report.report_page import page
from tactful.report.report_tables import tables
from tactful.report.scored_rows import ScoredFiles
from tactful.report.table_reading import read_table
from tactful.storage import written_aside


@dataclass(frozen=True)
class Report:
    """A report that was written.

    Attributes:
        page: the HTML file.
        json: the figures as JSON.
        csv: the figures as CSV.
        figures: what they hold.
    """

    page: Path
    json: Path
    csv: Path
    figures: Figures


def write(
    scored: str | Path,
    out: str | Path,
    options: ReportOptions | None = None,
    *,
    now: datetime | None = None,
    **named: Any,
) -> Report:
    """Make a report of a scored file; what lies at its place is replaced.

    Args:
        scored: output of ``tactful score``: a file, a folder or a glob.
        out: the HTML file; ``.figures.json`` and ``.figures.csv`` come beside it.
        options: what is asked of it.
        now: times after this are in the future; by default the present.
        named: fields of `ReportOptions`, in the place of ``options``.

    Raises:
        ReportError: a column is missing, no reply was read, or an option cannot be met.
        JobError: SCORED cannot be read.
        BundleError: the bundle that was named cannot be used.
        MissingExtraError: the format of SCORED needs the extra ``batch``.
    """
    if options is not None and named:
        raise TypeError(f"give options or their fields by name, not both: {', '.join(named)}")
    asked = options or ReportOptions(**named)
    now = (now or datetime.now(UTC)).astimezone(asked.zone or UTC)
    targets = _targets(Path(out))
    facts = find_facts(asked)
    files = ScoredFiles(str(scored), asked, targets[0])
    for target in targets:
        if any(source.path.resolve() == target.resolve() for source in files.sources):
            raise ReportError(f"{target} is a file of SCORED; write the report somewhere else")
    table = read_table(files, asked, now.timestamp(), {facts.id: facts.meanings})
    facts, table = usable_facts(facts, table)
    figures = make_figures(table, with_files(facts, asked), asked, now, files.texts)
    named_tables = tables(figures)
    contents = (
        page(figures, named_tables),
        json.dumps(figures.to_dict(), ensure_ascii=False, indent=1, allow_nan=False) + "\n",
        as_csv(named_tables),
    )
    with contextlib.ExitStack() as written:
        for target, content in zip(targets, contents, strict=True):
            # Half of a surrogate pair, which JSON can name, is no text.
            written.enter_context(written_aside(target)).write(content.encode(errors="replace"))
    return Report(*targets, figures)


def _targets(out: Path) -> tuple[Path, Path, Path]:
    """The three files.

    Raises:
        ReportError: they cannot be written there.
    """
    if out.suffix.lower() not in (".html", ".htm"):
        raise ReportError(f"OUT is {out}; it must end in .html")
    if not out.parent.is_dir():
        raise ReportError(f"{out} cannot be written: {out.parent} is no folder; make it first")
    targets = (out, out.with_suffix(".figures.json"), out.with_suffix(".figures.csv"))
    for target in targets:
        if target.is_dir():
            raise ReportError(f"{target} is a folder; name a file, or remove it")
    return targets
