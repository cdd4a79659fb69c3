"""The coaching report: what a team lead, an agent and a model owner need to see.

In comes what ``tactful score`` wrote, read in a stream, and what is known of the bundle that did.
Pure figures with intervals are made of it; out go one self-contained HTML page, and the figures as
JSON and CSV.

>>> from tactful import report
>>> made = report.write("scored.jsonl", "report.html", agent_column="agent", team_column="team")
>>> made.figures.overview.rates["strategies"]["apology"].seen.value
0.4
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tactful.errors import MissingExtraError, ReportError
from tactful.report.report_command import ReportOptions

if TYPE_CHECKING:
    from tactful.report.report_files import Report, write

__all__ = ["Report", "ReportError", "ReportOptions", "write"]


def __getattr__(name: str) -> Any:
    # The command line knows this package from its start; what a report needs can wait for one.
    if name not in ("Report", "write"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from tactful.report import report_files
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "tactful":
            raise
        raise MissingExtraError("a report", "report") from error
    return getattr(report_files, name)
