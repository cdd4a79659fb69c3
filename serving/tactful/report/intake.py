"""What was read of SCORED and what was left out: said in the report, so that nobody wonders."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tactful.report.report_command import ReportOptions
from tactful.report.scored_rows import ScoredFiles

if TYPE_CHECKING:
    from tactful.report.scored_table import Coded

# Codes of `LeftRow` and of faults to what is said of them; the number of rows stands before.
_LEFT = {
    "not_scored": "without labels, or without a reply in the column that was named",
    "line_not_json": "that are no JSON objects",
    "line_too_long": "that are too long",
    "row_malformed": "that are malformed CSV records",
    "not_utf8": "with bytes that are not UTF-8",
}
_FAULTS = {
    "time_none": "replies have no time; they are not in the figures over time",
    "time_unreadable": "times of replies are not ISO 8601; these replies are not in the figures "
    "over time",
    "time_no_zone": "times of replies have no zone; these replies are not in the figures over "
    "time. Say the zone with --time-zone",
    "time_future": "times of replies are in the future; these replies are not in the figures over "
    "time",
    "customer_time_none": "replies have no time of the customer's message, and so no response time",
    "customer_time_unreadable": "times of customers' messages are not ISO 8601; these replies have "
    "no response time",
    "customer_time_no_zone": "times of customers' messages have no zone; these replies have no "
    "response time. Say the zone with --time-zone",
    "customer_time_future": "times of customers' messages are in the future; these replies have no "
    "response time",
    "response_negative": "replies were sent before the message they answer; they have no response "
    "time",
    "outcome_unreadable": "outcomes are neither a number nor yes or no; they are left out",
}
_SHORTEST_NAME = 6  # letters; of shorter ones many differ by one


@dataclass(frozen=True, slots=True)
class Note:
    """Something about SCORED that a reader has to know.

    Attributes:
        code: a stable name.
        rows: how many rows it is about; 0 where it is about none in particular.
        text: a sentence.
    """

    code: str
    rows: int
    text: str


@dataclass(frozen=True)
class Intake:
    """What was read.

    Attributes:
        scored: what was named.
        sha256: digest of each file, by name.
        rows: rows of SCORED.
        replies: those that the report is about.
        bundle: the id of the bundle that read them.
        columns: role to name of the columns that were asked for.
        unused: other columns that SCORED has.
        notes: what was left out or looks wrong.
    """

    scored: str
    sha256: dict[str, str]
    rows: int
    replies: int
    bundle: str
    columns: dict[str, str]
    unused: tuple[str, ...]
    notes: tuple[Note, ...]

    @classmethod
    def of(
        cls,
        files: ScoredFiles,
        options: ReportOptions,
        rows: int,
        left: Mapping[str, int],
        faults: Mapping[str, int],
    ) -> Intake:
        """The record of what came in.

        Args:
            files: what was read, to its end.
            options: what was asked.
            rows: rows there were.
            left: why rows were left out, to how many.
            faults: what is wrong with cells, to how many.
        """
        notes = []
        for why, count in left.items():
            said = _LEFT.get(why, f"with the error {why} in the place of a reading")
            notes.append(Note(why, count, f"{_rows(count)} {said}: left out"))
        for fault, count in faults.items():
            notes.append(Note(fault, count, f"{count:,} {_FAULTS[fault]}"))
        if options.context_column not in files.columns:
            text = (
                f"there is no column {options.context_column!r}, so that what the customers said "
                "is not known: nothing can be told of their distress. Name it with --context-column"
            )
            notes.append(Note("no_context", 0, text))
        known = {options.reply_column, options.context_column, *options.columns.values()}
        prefix = options.prefix
        added = ("evidence", "truncated", "skipped", "language_doubtful", "bundle", "error")
        ours = {prefix + name for name in added}
        tasks = {
            name.removeprefix(f"{prefix}score.").split(".")[0]
            for name in files.columns
            if name.startswith(f"{prefix}score.")
        }
        ours |= {prefix + task for task in (*tasks, "strategies", "tone")}
        unused = tuple(
            name
            for name in files.columns
            if name not in known | ours and not name.startswith(f"{prefix}score.")
        )
        digests = {source.name: source.sha256 for source in files.sources}
        return cls(files.scored, digests, rows, 0, "", options.columns, unused, tuple(notes))

    def read_by(self, bundle: str, replies: int) -> Intake:
        """With the bundle that read the replies."""
        return replace(self, bundle=bundle, replies=replies)

    def of_other_bundles(self, others: Mapping[str, int]) -> Intake:
        """With what other bundles read left out."""
        count = sum(others.values())
        named = ", ".join(f"{bundle}: {rows:,}" for bundle, rows in others.items())
        text = (
            f"{_rows(count)} scored by another bundle than the rest ({named}): left out, "
            "for what two readers find cannot be added up. Score all replies with one bundle"
        )
        return self.noting(Note("other_bundle", count, text))

    def with_names(self, names: Mapping[str, Coded], *, persons: bool) -> Intake:
        """With what looks wrong in the columns of names; agents are named where ``persons``."""
        intake = self
        for role, column in names.items():
            if none := int((column.codes < 0).sum()):
                text = f"{none:,} replies name no {role}"
                intake = intake.noting(Note(f"{role}_none", none, text))
        for role in ("agent", "team"):
            if role in names:
                for alike in spellings(names[role].names):
                    named = " and ".join(f"“{name}”" for name in alike)
                    if role == "agent" and not persons:
                        named = f"{len(alike)} names of agents"
                    text = f"{named} may be one {role}; they are counted apart"
                    intake = intake.noting(Note(f"{role}_spelling", 0, text))
        return intake

    def noting(self, note: Note) -> Intake:
        """With one more note."""
        return replace(self, notes=(*self.notes, note))


def spellings(names: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Names that may be of one person: alike but for case, accents, order, marks or one letter."""
    keys: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        plain = unicodedata.normalize("NFKD", name.casefold())
        plain = "".join(c if c.isalnum() else " " for c in plain if not unicodedata.combining(c))
        keys[" ".join(sorted(plain.split())) or name].append(name)
    found = [tuple(each) for each in keys.values() if len(each) > 1]
    near: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for key, same in keys.items():
        letters = key.replace(" ", "")
        # Where names differ by a number, the number is the name; nobody slips at a first letter.
        initials = [word[0] for word in key.split()]
        if len(letters) >= _SHORTEST_NAME and letters.isalpha():
            for shape in {letters, *(letters[:i] + letters[i + 1 :] for i in range(len(letters)))}:
                near[shape, *initials].append(same[0])
    pairs = Counter(tuple(each) for each in near.values() if len(each) > 1)
    known: set[frozenset[str]] = set()
    for alike in pairs:
        if frozenset(alike) not in known:
            known.add(frozenset(alike))
            found.append(alike)
    return found


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"
