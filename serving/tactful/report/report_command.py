"""``tactful report``: what can be asked of a report, and the command that makes one."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from tactful.errors import ReportError
from tactful.options import JsonOption, check_options, option, takes_options

_COLUMNS = "Columns of SCORED"
_PERSONS = "Persons"
_READER = "What is known of the bundle"


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """What can be asked of a report; the fields' help says what they are.

    Raises:
        ReportError: a value is out of its bounds; names them.
    """

    agent_column: str | None = option(
        None, "The column of the agent; without it no person is looked at.", panel=_COLUMNS
    )
    team_column: str | None = option(None, "The column of the agent's team.", panel=_COLUMNS)
    time_column: str | None = option(
        None, "The column of when the reply was sent: ISO 8601 with a zone.", panel=_COLUMNS
    )
    customer_time_column: str | None = option(
        None, "The column of when the customer's message came in.", panel=_COLUMNS
    )
    conversation_column: str | None = option(
        None,
        "The column of the conversation. Replies of one are alike, and intervals allow for it.",
        panel=_COLUMNS,
    )
    channel_column: str | None = option(None, "The column of the channel.", panel=_COLUMNS)
    outcome_column: str | None = option(
        None,
        "The column of an outcome, a number or yes and no: for example a satisfaction score.",
        panel=_COLUMNS,
    )
    reply_column: str = option("reply", "The column of the reply.", panel=_COLUMNS)
    context_column: str = option(
        "context", "The column of what the customer said; may be missing.", panel=_COLUMNS
    )
    prefix: str = option(
        "", "What `tactful score --prefix` put before the columns it added.", panel=_COLUMNS
    )
    time_zone: str | None = option(
        None,
        "The zone of times that have none, for example Europe/Berlin; weeks begin in it as well. "
        "Without it such times are left out, and weeks begin in UTC.",
        panel=_COLUMNS,
    )
    aggregate_only: bool = option(
        False,
        "Leave persons out: no agents, no text of single replies, no team of fewer than three "
        "agents.",
        panel=_PERSONS,
    )
    only_agent: str | None = option(
        None, "Of the coaching pages, this agent's only: to hand it to them.", panel=_PERSONS
    )
    minimum_replies: int = option(
        30, "Agents, teams, channels and weeks with fewer replies are not shown.", least=5
    )
    rank: bool = option(
        False,
        "Also list whose rates differ from their team's by more than chance, in order.",
        panel=_PERSONS,
    )
    bundle: str | None = option(
        None,
        "The bundle that scored the file: for its labels' meanings, and for its training's "
        "reference and reliability where it holds them. Without it $TACTFUL_BUNDLE or "
        "models/tactful, if that is the one that scored.",
        metavar="DIR",
        panel=_READER,
    )
    evaluation: str | None = option(
        None,
        "JSON of `tactful evaluate --json` for the bundle: how well it finds each label.",
        metavar="FILE",
        panel=_READER,
    )
    reference: str | None = option(
        None,
        "What drift is measured against instead of the bundle's training data: the figures "
        "(.json) of an earlier report, or a reference alone.",
        metavar="FILE",
        panel=_READER,
    )
    title: str = option("How we write to customers", "The heading of the report.")

    def __post_init__(self) -> None:
        check_options(self, ReportError)
        try:
            _ = self.zone
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ReportError(
                f"--time-zone is {self.time_zone!r}, allowed: a name of the time zone database, "
                "for example Europe/Berlin or UTC"
            ) from error
        if self.only_agent is not None and (self.agent_column is None or self.aggregate_only):
            raise ReportError("--only-agent needs --agent-column and goes without --aggregate-only")

    @property
    def zone(self) -> ZoneInfo | None:
        """The zone of times that have none; None where none was said."""
        return None if self.time_zone is None else ZoneInfo(self.time_zone)

    @property
    def names_persons(self) -> bool:
        """Whether all agents may be named: the report leaves none out, and is not for one."""
        return not self.aggregate_only and self.only_agent is None

    @property
    def columns(self) -> dict[str, str]:
        """Role to name of the optional columns that were asked for."""
        roles = ("agent", "team", "time", "customer_time", "conversation", "channel", "outcome")
        named = {role: getattr(self, f"{role}_column") for role in roles}
        return {role: name for role, name in named.items() if name is not None}


@takes_options
def report(
    scored: Annotated[
        str,
        typer.Argument(
            metavar="SCORED",
            help="What `tactful score` wrote: JSONL, CSV or Parquet, a folder or a glob of files.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT.html",
            help="The page; the figures come beside it as OUT.figures.json and OUT.figures.csv.",
        ),
    ],
    options: ReportOptions,
    json_output: JsonOption = False,
) -> None:
    """Make the coaching report of a scored file: one page, and its figures as JSON and CSV."""
    from tactful import report as room

    made = room.write(scored, out, options)
    intake = made.figures.intake
    if json_output:
        content = {
            "page": str(made.page),
            "json": str(made.json),
            "csv": str(made.csv),
            "rows": intake.rows,
            "replies": intake.replies,
            "bundle": intake.bundle,
            "notes": [asdict(note) for note in intake.notes],
        }
        typer.echo(json.dumps(content, ensure_ascii=False))
        return
    typer.echo(f"{made.page}: {intake.replies:,} of {intake.rows:,} rows, read by {intake.bundle}")
    for note in intake.notes:
        typer.echo(f"note: {note.text}")
    typer.echo(f"figures: {made.json}, {made.csv}")
