"""SCORED row by row: the output of ``tactful score``, whatever its format, read in a stream."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tactful.batch.csv_format import as_it_was
from tactful.batch.job_files import described, find_files
from tactful.batch.job_parts import rows_of
from tactful.batch.job_spec import ResultOptions, Row
from tactful.errors import ReportError
from tactful.report.label_roles import STRATEGIES, TONE
from tactful.report.report_command import ReportOptions

_PART_ROWS = 1000


@dataclass(frozen=True, slots=True)
class ScoredRow:
    """One row that a bundle has read.

    Attributes:
        number: its place in SCORED, from 0.
        reply: the reply.
        context: what the customer said before it; empty where there is nothing.
        strategies: labels it has.
        tone: its tone, if it was read for one.
        scores: column (without prefix) to score, for the scores that are given.
        evidence: (label, start, end) of the words that carry a label; None where none were kept.
        bundle: the id of the bundle.
        cells: role to value of the optional columns.
    """

    number: int
    reply: str
    context: str
    strategies: Sequence[str]
    tone: str | None
    scores: Mapping[str, float]
    evidence: Sequence[tuple[str, int, int]] | None
    bundle: str
    cells: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class LeftRow:
    """One row that is left out, and why in a word: a code of ``error``, or of our own."""

    number: int
    why: str


class ScoredFiles:
    """The files that SCORED names.

    Args:
        scored: a file, a folder or a glob.
        options: which columns have which role.
        out: where the report goes; what a job made there is none of SCORED.

    Attributes:
        sources: the files with size and digest.
        columns: names of all columns seen so far, in order.

    Raises:
        JobError: there is no file that can be read.
        MissingExtraError: the format needs the extra ``batch``.
    """

    def __init__(self, scored: str, options: ReportOptions, out: Path) -> None:
        self._options = options
        self.scored = scored
        self.sources = described(find_files(scored, None, out))
        self.columns: dict[str, None] = {}
        self._score_columns: dict[str, str] = {}  # with the prefix to without
        self._reading = ResultOptions(
            options.reply_column, options.context_column, part_rows=_PART_ROWS
        )

    def rows(self) -> Iterator[ScoredRow | LeftRow]:
        """Every row, in order, lazily.

        Raises:
            JobError: a file is damaged, changed since, or lacks a column that was asked for.
        """
        for number, (source, row) in enumerate(rows_of(self.sources, self._reading)):
            if row.columns is None:
                code = getattr(row.error, "code", "unreadable")
                yield LeftRow(number, code)
                continue
            if not row.columns.keys() <= self.columns.keys():
                self._learn(row.columns)
            yield self._scored(number, row, source.kind.format == "csv")

    def texts(self, numbers: set[int]) -> dict[int, tuple[str, str]]:
        """Reply and context of some rows, by number; reads the files again."""
        found: dict[int, tuple[str, str]] = {}
        if not numbers:
            return found
        last = max(numbers)
        for number, (source, row) in enumerate(rows_of(self.sources, self._reading)):
            if number in numbers:
                csv = source.kind.format == "csv"
                found[number] = (as_it_was(row.reply, csv=csv), as_it_was(row.context, csv=csv))
            if number == last:
                break
        return found

    def _learn(self, names: Iterable[str]) -> None:
        prefix = self._options.prefix
        for name in names:
            self.columns.setdefault(name)
            if name.startswith(f"{prefix}score."):
                self._score_columns.setdefault(name, name[len(prefix) :])

    def _scored(self, number: int, row: Row, csv: bool) -> ScoredRow | LeftRow:
        values = row.columns or {}
        prefix = self._options.prefix
        if error := _data(values.get(prefix + "error"), csv):
            code = error.get("code") if isinstance(error, Mapping) else None
            return LeftRow(number, str(code or "error"))
        if prefix + STRATEGIES not in values:
            return LeftRow(number, "not_scored")
        strategies, tone = values[prefix + STRATEGIES], values.get(prefix + TONE)
        if isinstance(strategies, str):  # a cell of CSV, or Parquet made of it
            strategies = [label for label in strategies.split("|") if label]
        if not isinstance(strategies, list) or not isinstance(row.reply, str):
            return LeftRow(number, "not_scored")
        scores = {
            column: score
            for name, column in self._score_columns.items()
            if (score := _number(values.get(name))) is not None
        }
        cells = {
            role: as_it_was(value, csv=csv) if isinstance(value := values.get(name), str) else value
            for role, name in self._options.columns.items()
        }
        return ScoredRow(
            number,
            as_it_was(row.reply, csv=csv),
            as_it_was(row.context, csv=csv),
            [str(label) for label in strategies],
            tone if isinstance(tone, str) and tone else None,
            scores,
            _spans(_data(values.get(prefix + "evidence"), csv)),
            str(values.get(prefix + "bundle") or ""),
            cells,
        )

    def check_columns(self) -> None:
        """Once rows have been read: refuse a file that lacks what was asked for.

        Raises:
            ReportError: names the column, the option and the columns that are there.
        """
        there = ", ".join(self.columns) or "none"
        task = self._options.prefix + STRATEGIES
        if self.columns and task not in self.columns:
            raise ReportError(
                f"{self.scored} has no column {task!r}, so `tactful score` with a bundle for the "
                f"task {STRATEGIES!r} did not write it; if it did with --prefix, give the same "
                f"--prefix. Its columns: {there}"
            )
        for role, name in self._options.columns.items():
            if name not in self.columns:
                option = f"--{role.replace('_', '-')}-column"
                raise ReportError(
                    f"{self.scored} has no column {name!r}, which {option} names. Its columns: "
                    f"{there}"
                )
        reply = self._options.reply_column
        if self.columns and reply not in self.columns:
            raise ReportError(
                f"{self.scored} has no column {reply!r}; name the reply's with --reply-column. "
                f"Its columns: {there}"
            )


def _number(value: object) -> float | None:
    if isinstance(value, float):
        return value
    if isinstance(value, int | str) and value != "":
        with contextlib.suppress(ValueError):
            return float(value)
    return None


def _data(value: object, csv: bool) -> Any:
    """Lists and objects are JSON in a CSV cell."""
    if isinstance(value, str) and (csv or value[:1] in ("[", "{")):
        try:
            return json.loads(value) if value else None
        except ValueError:
            return value
    return value


def _spans(evidence: object) -> list[tuple[str, int, int]] | None:
    if not isinstance(evidence, list):
        return None
    return [
        (str(span.get("label")), span["start"], span["end"])
        for span in evidence
        if isinstance(span, Mapping)
        and isinstance(span.get("start"), int)
        and isinstance(span.get("end"), int)
    ]
