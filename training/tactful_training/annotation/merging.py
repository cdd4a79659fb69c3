"""Corrections and new labels become part of a data set: all of them at once, or none.

A row of the set is found by its id, or, as feedback has none, by its texts. What is said of a task
takes the place of what was there; marked words of labels that stay are kept unless others are
given. A reply that the set does not hold is added, to the split that its group is in. The files are
made beside the old ones and move in together; whoever merges at the same time waits and goes on
from there.
"""

from __future__ import annotations

import getpass
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from tactful.reading.tasks import Tasks
from tactful.storage import locked, replace_folder
from tactful_training.annotation.exchange import read_labellings
from tactful_training.annotation.labellings import Labelling, raw_records
from tactful_training.annotation.row_history import (
    CHANGES,
    HISTORY,
    Change,
    changelog,
    merged_events,
    next_version,
    with_version,
)
from tactful_training.config.shipped_files import SHIPPED, shipped_root
from tactful_training.data.data_card import CARD
from tactful_training.data.data_set import SPLITS, DataSet, load_data_set
from tactful_training.data.labelled_row import EvidenceSpan, Row
from tactful_training.data.row_files import MAX_LISTED
from tactful_training.data.row_records import jsonl, row_record
from tactful_training.errors import DataError

SPLIT = "split"
"""A column of a new row that says where it belongs."""
_LOCK = ".tactful.lock"
_SHOWN_ID = 12  # hex digits of the id of a row that has none


@dataclass(frozen=True)
class Merged:
    """What `merge_data` did.

    Attributes:
        folder: the data set.
        version: of the set now; None where nothing changed.
        changes: the rows that were added or corrected, in order.
        unchanged: how many things were said that the set says already.
        unlabelled: how many new rows say nothing of any task, and are left out.
        unconfirmed: how many a model alone has labelled (``suggested_by``), and are left out.
        known: how many pieces of feedback were merged before.
        contradicted: rows of which the files say two different things; the last counts.
        torn: lines that were cut off and are left out.
    """

    folder: Path
    version: str | None
    changes: tuple[Change, ...]
    unchanged: int
    unlabelled: int
    unconfirmed: int
    known: int
    contradicted: tuple[str, ...]
    torn: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "folder": str(self.folder),
            "version": self.version,
            "added": sum(each.before is None for each in self.changes),
            "corrected": sum(each.before is not None for each in self.changes),
            "unchanged": self.unchanged,
            "unlabelled": self.unlabelled,
            "unconfirmed": self.unconfirmed,
            "merged_before": self.known,
            "contradicted": list(self.contradicted),
            "cut_off": list(self.torn),
            "changes": [each.to_dict() for each in self.changes],
        }


class _ChangedError(Exception):
    """Another one wrote the data set meanwhile."""


def merge_data(
    folder: str | Path,
    sources: Sequence[Path],
    *,
    who: str | None = None,
    why: str | None = None,
    renamed: Mapping[str, str] | None = None,
    split: str = "train",
    delimiter: str | None = None,
    dry_run: bool = False,
) -> Merged:
    """Merge files of rows or feedback into a data set.

    Args:
        folder: the data set.
        sources: files, in the order in which they count.
        who: says what a file gives no name for; None is the user of this machine.
        why: the reason where a file gives none.
        renamed: old name of a label, in the files, to its name in the set.
        split: where new rows go whose group is in no split and which name none themselves.
        delimiter: of CSV files; None finds it.
        dry_run: whether to say what would be done, and do nothing.

    Raises:
        DataError: something cannot be used or does not fit; all of it is named and nothing done.
    """
    if split not in SPLITS:
        raise DataError(f"--split {split!r}: allowed are {', '.join(SPLITS)}")
    shipped = shipped_root()
    while True:
        data = load_data_set(folder)
        if shipped.name == SHIPPED and data.folder.resolve().is_relative_to(shipped):
            raise DataError(
                f"{data.folder} belongs to the installed package; copy it to a folder of your own, "
                "and merge into that"
            )
        before = data.digests
        read = [
            read_labellings(path, data.tasks, renamed=renamed, delimiter=delimiter)
            for path in sources
        ]
        plan = _Plan(data, split, who or getpass.getuser(), why)
        for file in read:
            for labelling in file.labellings:
                plan.take(labelling)
        plan.check()
        torn = tuple(line for file in read for line in file.torn)
        version = next_version(data.card) if plan.changes else None
        if version is not None and not dry_run:
            try:
                _write(data, plan, version, before)
            except _ChangedError:
                continue
            except OSError as error:
                raise DataError(f"{data.folder} cannot be written: {error}") from error
        return Merged(
            data.folder,
            version,
            tuple(plan.changes),
            plan.unchanged,
            plan.unlabelled,
            sum(file.unconfirmed for file in read),
            plan.known,
            tuple(plan.contradicted),
            torn,
        )


class _Plan:
    """What becomes of the rows of a data set.

    Args:
        data: the set.
        split: where new rows go.
        who: says what has no name.
        why: the reason where none is given.
    """

    def __init__(self, data: DataSet, split: str, who: str, why: str | None) -> None:
        self._tasks, self._split, self._who, self._why = data.tasks, split, who, why
        self.rows = {name: data.split(name) for name in data.files}
        self.places = {
            row.id: (name, at) for name, rows in self.rows.items() for at, row in enumerate(rows)
        }
        self._by_text = {
            (row.context, row.reply): row.id for rows in self.rows.values() for row in rows
        }
        self._groups = {row.group: name for name, rows in self.rows.items() for row in rows}
        history = data.folder / HISTORY
        self._merged = merged_events(history.read_bytes()) if history.exists() else set()
        self._said: dict[tuple[str, str], tuple[object, str]] = {}
        self._problems: list[str] = []
        self.changes: list[Change] = []
        self.changed: set[str] = set()
        self.contradicted: list[str] = []
        self.unchanged = self.unlabelled = self.known = 0

    def take(self, labelling: Labelling) -> None:
        """Add or correct a row."""
        if labelling.event is not None:
            if labelling.event in self._merged:
                self.known += 1
                return
            self._merged.add(labelling.event)
        row = labelling.row
        if labelling.by_text:
            row = replace(row, id=self._by_text.get((row.context, row.reply), _id_of(row)))
            row = replace(row, group=row.id)
        if row.id in self.places:
            self._correct(row, labelling)
        elif all(said is None for said in row.labels.values()):
            self.unlabelled += 1
        else:
            self._add(row, labelling)

    def check(self) -> None:
        """Refuse all of it if a part does not fit.

        Raises:
            DataError: says what does not.
        """
        if self._problems:
            lines = "".join(f"\n  - {line}" for line in self._problems[:MAX_LISTED])
            more = len(self._problems) - MAX_LISTED
            raise DataError(
                f"{len(self._problems)} rows do not fit the data set; nothing was changed:{lines}"
                + (f"\n  - and {more} more" if more > 0 else "")
            )

    def _correct(self, said: Row, labelling: Labelling) -> None:
        split, at = self.places[said.id]
        old = self.rows[split][at]
        if (said.reply, said.context) != (old.reply, old.context):
            what = "reply" if said.reply != old.reply else "context"
            self._problems.append(
                f"{labelling.place}: the row has another {what} in {split}; give a new row an id "
                "of its own, and leave the texts of others as they are"
            )
            return
        new = _corrected(old, said)
        self._note(said, labelling)
        if _meaning(new) == _meaning(old):
            self.unchanged += 1
            return
        self.rows[split][at] = new
        self._record(split, _said_of(old, self._tasks), new, labelling)

    def _add(self, row: Row, labelling: Labelling) -> None:
        wanted = row.columns.get(SPLIT) or None
        known = self._groups.get(row.group)
        if wanted is not None and (wanted not in SPLITS or known not in (None, wanted)):
            allowed = ", ".join(SPLITS) if known is None else f"{known}, where its group is"
            self._problems.append(f"{labelling.place}: {SPLIT} {wanted!r}; allowed: {allowed}")
            return
        split = known or wanted or self._split
        columns = {name: value for name, value in row.columns.items() if name != SPLIT}
        row = replace(row, columns=columns)
        rows = self.rows.setdefault(split, [])
        self.places[row.id] = (split, len(rows))
        self._by_text.setdefault((row.context, row.reply), row.id)
        self._groups[row.group] = split
        rows.append(row)
        self._note(row, labelling)
        self._record(split, None, row, labelling)

    def _note(self, row: Row, labelling: Labelling) -> None:
        """Remember what is said of each task, to tell where something else was said before."""
        for task, said in row.labels.items():
            if said is None:
                continue
            plain = said if isinstance(said, str) else frozenset(said)
            other, place = self._said.setdefault((row.id, task), (plain, labelling.place))
            if other != plain:
                self.contradicted.append(
                    f"{labelling.place} says other {task} of {row.id!r} than {place}"
                )
                self._said[row.id, task] = (plain, labelling.place)

    def _record(
        self, split: str, before: dict[str, Any] | None, row: Row, labelling: Labelling
    ) -> None:
        self.changed.add(row.id)
        self.changes.append(
            Change(
                row=row.id,
                split=split,
                who=labelling.who or self._who,
                when=labelling.when or datetime.now(UTC).isoformat(timespec="seconds"),
                why=labelling.why or self._why,
                source=labelling.place,
                event=labelling.event,
                before=before,
                after=_said_of(row, self._tasks),
            )
        )


def _corrected(old: Row, said: Row) -> Row:
    """A row with what was said of it in the place of what was there, task by task."""
    labels = {
        task: before if said.labels.get(task) is None else said.labels[task]
        for task, before in old.labels.items()
    }
    marked = {span.task for span in said.evidence}
    decided = {
        (task, label)
        for task, names in labels.items()
        for label in ((names,) if isinstance(names, str) else names or ())
    }
    kept = [
        span
        for span in old.evidence
        if span.task not in marked
        and (said.labels.get(span.task) is None or (span.task, span.label) in decided)
    ]
    return replace(old, labels=labels, evidence=(*kept, *said.evidence))


def _meaning(row: Row) -> tuple[dict[str, object], set[EvidenceSpan]]:
    """Labels and marked words, whatever their order."""
    labels: dict[str, object] = {
        task: frozenset(said) if isinstance(said, tuple) else said
        for task, said in row.labels.items()
    }
    return labels, set(row.evidence)


def _said_of(row: Row, tasks: Tasks) -> dict[str, Any]:
    record = row_record(row, tasks)
    return {"labels": record["labels"], "evidence": record.get("evidence", [])}


def _id_of(row: Row) -> str:
    """An id for a row without one, made of its texts."""
    texts = f"{row.context or ''}\0{row.reply}".encode("utf-8", "surrogatepass")
    return f"feedback-{hashlib.sha256(texts).hexdigest()[:_SHOWN_ID]}"


def _write(data: DataSet, plan: _Plan, version: str, before: Mapping[str, str]) -> None:
    """Put the new files in the place of the old ones.

    Raises:
        _ChangedError: another one wrote there since the set was read.
        OSError: the disk refuses; all is as it was.
    """
    files: dict[str, bytes] = {}
    replaced = set()
    for split in {each.split for each in plan.changes}:
        old = data.files.get(split)
        lines = raw_records(old.read_bytes()) if old and old.suffix == ".jsonl" else None
        if old is not None:
            replaced.add(old.name)  # a table becomes JSONL, which holds all that it held
        files[f"{split}.jsonl"] = b"".join(
            lines[at] + b"\n"
            if lines is not None and at < len(lines) and row.id not in plan.changed
            else jsonl([row_record(row, data.tasks)])
            for at, row in enumerate(plan.rows[split])
        )
    history, changes = data.folder / HISTORY, data.folder / CHANGES
    past = history.read_bytes() if history.exists() else b""
    files[HISTORY] = past + b"".join(each.line(version) for each in plan.changes)
    files[CHANGES] = changelog(
        changes.read_bytes() if changes.exists() else b"",
        version,
        datetime.now(UTC).date().isoformat(),
        plan.changes,
    )
    files[CARD] = with_version((data.folder / CARD).read_bytes(), version)

    def unchanged(folder: Path) -> None:
        if load_data_set(folder).digests != before:
            raise _ChangedError

    def check(folder: Path) -> None:
        written = load_data_set(folder)
        for split in written.files:
            written.split(split)

    folder = data.folder.resolve()
    with locked(folder / _LOCK):  # rows that are shared out among the splits take this one
        replace_folder(
            folder,
            files,
            may_replace=unchanged,
            check=check,
            kept=lambda name: name not in {*files, *replaced, _LOCK},
        )


def render_merged(merged: Merged, *, dry_run: bool) -> RenderableType:
    """Say what was done, then what somebody should look at."""
    content = merged.to_dict()
    counts = f"{content['added']} rows added, {content['corrected']} corrections"
    lines = [Text(f"{merged.folder}: {counts}, {merged.unchanged} already so.")]
    if merged.unlabelled:
        lines.append(Text(f"{merged.unlabelled} new rows without any label were left out."))
    if merged.unconfirmed:
        lines.append(
            Text(
                f"{merged.unconfirmed} rows are a model's suggestions and were left out; whoever "
                "confirms one empties its cell in the column suggested_by."
            )
        )
    if merged.known:
        lines.append(Text(f"{merged.known} pieces of feedback were merged before."))
    if merged.version is None:
        lines.append(Text("Nothing changes; the version stays."))
    elif dry_run:
        lines.append(Text(f"Nothing was written; it would be version {merged.version}."))
    else:
        lines.append(
            Text(f"Version {merged.version}; who, when and why: {merged.folder / HISTORY}")
        )
    warnings = (*merged.contradicted[:MAX_LISTED], *merged.torn[:MAX_LISTED])
    return Group(*lines, *(Text.assemble(("warning: ", "yellow"), line) for line in warnings))
