"""Rows are shared out among train, validation and test; a row never changes its split.

What must stay together is drawn as one: the rows of a group, and groups whose replies are nearly
the same. Units are shared out by iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011,
"On the stratification of multi-label data", ECML PKDD): the label of which the fewest rows are left
comes first, and each of its units goes where that label is most lacking. Where nothing decides, a
hash of seed and group does, so that the order of the rows plays no part.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from tactful.reading.tasks import Tasks
from tactful.storage import locked, write_file
from tactful_training.data.data_card import CARD, read_card
from tactful_training.data.data_set import SPLITS, load_data_set
from tactful_training.data.label_counts import SplitCounts, count_labels, counts_table, decided
from tactful_training.data.labelled_row import Row
from tactful_training.data.near_duplicates import SHORT_REPLY, normalised, similar_pairs
from tactful_training.data.row_files import MAX_LISTED, scan_rows
from tactful_training.data.row_records import jsonl, row_record
from tactful_training.errors import DataError

SHARES = (0.8, 0.1, 0.1)
COLUMN = "split"
"""A column of the rows that says where they belong, where somebody decided that already."""
_LOCK = ".tactful.lock"
_Stratum = tuple[str, str]  # task and label


@dataclass(frozen=True)
class Splitting:
    """What `split_data` did.

    Attributes:
        folder: the data set.
        added: split to the number of rows that came in.
        present: rows that the data set held already.
        counts: split to what it holds now.
        joined: groups that were put together because their replies are nearly the same.
        torn: such groups that were in different splits before, and stay there.
    """

    folder: Path
    added: Mapping[str, int]
    present: int
    counts: Mapping[str, SplitCounts]
    joined: int
    torn: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "folder": str(self.folder),
            "added": dict(self.added),
            "present": self.present,
            "rows": {split: counts.rows for split, counts in self.counts.items()},
            "joined_groups": self.joined,
            "torn_groups": list(self.torn),
        }


def split_data(
    rows: Path,
    folder: Path | None = None,
    *,
    shares: Sequence[float] = SHARES,
    seed: int = 13,
    delimiter: str | None = None,
) -> Splitting:
    """Add the rows of a file to the splits of a data set.

    Rows that the set holds stay where they are, to the byte; a new row of one of their groups joins
    it. A column ``split`` is followed.

    Args:
        rows: a .jsonl, .csv or .parquet file.
        folder: the data set, whose card names the tasks; None stands for the folder of ``rows``.
            Without a card there, that beside ``rows`` is copied.
        shares: of train, validation and test; any positive numbers.
        seed: of what nothing else decides.
        delimiter: of a CSV file; None finds it.

    Raises:
        DataError: a row cannot be used, is in the set with another content, or contradicts it;
            nothing was written.
    """
    folder = rows.parent if folder is None else folder
    if len(shares) != len(SPLITS) or min(shares) < 0 or shares[0] <= 0:
        raise DataError(
            f"shares are {', '.join(f'{share:g}' for share in shares)}; give three numbers, for "
            f"{', '.join(SPLITS)}, none below 0 and the first above it: 0.8,0.1,0.1"
        )
    if rows.suffix and rows.stem in SPLITS and rows.parent.resolve() == folder.resolve():
        raise DataError(
            f"{rows} is a split of {folder} already; name a file of rows that are to be added"
        )
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; make it, with a {CARD} that names the tasks")
    with locked(folder / _LOCK):
        return _split(rows, folder, shares, seed, delimiter)


def _split(
    source: Path, folder: Path, shares: Sequence[float], seed: int, delimiter: str | None
) -> Splitting:
    own = folder / CARD
    card = read_card(folder if own.exists() else source.parent)
    held: dict[str, list[Row]] = {split: [] for split in SPLITS}
    if own.exists():
        data_set = load_data_set(folder)
        if tables := [path for path in data_set.files.values() if path.suffix != ".jsonl"]:
            raise DataError(
                f"{tables[0]} is no .jsonl file, to which rows could be added; put the rows of all "
                f"splits in one file with a column {COLUMN!r} that says where each belongs, and "
                "name that file and an empty folder"
            )
        held |= {split: data_set.split(split) for split in data_set.files}
    given = scan_rows(source, card.tasks, delimiter=delimiter).usable()
    new = _new_rows(given, held, source)
    units = _units([row for rows in held.values() for row in rows], new)
    told = _told(new, source)
    known = _known(held, told, source)
    chosen, torn = assign(units, new, known, held, card.tasks, shares, seed)
    added: dict[str, list[Row]] = {split: [] for split in SPLITS}
    for row in new:
        added[chosen[row.group]].append(row)
    if not own.exists():
        write_file(own, card.path.read_bytes())
    for split, rows in added.items():
        if rows:
            path = folder / f"{split}.jsonl"
            before = path.read_bytes() if path.exists() else b""
            if before and not before.endswith(b"\n"):
                before += b"\n"
            write_file(path, before + jsonl(_record(row, card.tasks) for row in rows))
    whole = {split: [*held[split], *added[split]] for split in SPLITS}
    groups = {row.group for rows in whole.values() for row in rows}
    return Splitting(
        folder,
        {split: len(rows) for split, rows in added.items()},
        len(given) - len(new),
        {split: count_labels(rows, card.tasks) for split, rows in whole.items() if rows},
        len(groups) - len({units[group] for group in groups}),
        torn,
    )


def _record(row: Row, tasks: Tasks) -> dict[str, Any]:
    return {name: value for name, value in row_record(row, tasks).items() if name != COLUMN}


def _new_rows(given: Sequence[Row], held: Mapping[str, Sequence[Row]], source: Path) -> list[Row]:
    """The rows that the set does not hold.

    Raises:
        DataError: it holds one of that id with another content.
    """
    known = {row.id: (split, row) for split, rows in held.items() for row in rows}
    new, changed = [], []
    for row in given:
        if row.id not in known:
            new.append(row)
            continue
        split, other = known[row.id]
        same = (row.reply, row.context, row.labels) == (other.reply, other.context, other.labels)
        if not same:
            changed.append(f"{row.id!r} is in {split} with another text or other labels")
    if changed:
        lines = "".join(f"\n  - {line}" for line in changed[:MAX_LISTED])
        more = len(changed) - MAX_LISTED
        raise DataError(
            f"{source}: {len(changed)} rows are in the set already, and differ:{lines}"
            + (f"\n  - and {more} more" if more > 0 else "")
            + "\nSplitting only adds rows; corrections are what `tactful data merge` takes."
        )
    return new


def _units(held: Sequence[Row], new: Sequence[Row]) -> dict[str, str]:
    """Group to the group that stands for all that must stay together with it."""
    rows = [*held, *new]
    parent = {row.group: row.group for row in rows}

    def root(group: str) -> str:
        while parent[group] != group:
            parent[group] = parent[parent[group]]
            group = parent[group]
        return group

    def join(one: Row, other: Row) -> None:
        ends = root(one.group), root(other.group)
        parent[max(ends)] = min(ends)

    said: dict[tuple[str, str], Row] = {}
    for row in rows:  # the same formula in answer to the same words
        join(row, said.setdefault((normalised(row.context or ""), normalised(row.reply)), row))
    texts = [normalised(row.reply) for row in rows]
    long = [at for at, text in enumerate(texts) if len(text.split()) >= SHORT_REPLY]
    for match in similar_pairs([texts[at] for at in long] if new else []):
        join(rows[long[match.text]], rows[long[match.other]])
    return {group: root(group) for group in parent}


def _told(new: Sequence[Row], source: Path) -> dict[str, str]:
    """Group to the split that a column of its rows names.

    Raises:
        DataError: it names no split, or two for one group.
    """
    told: dict[str, str] = {}
    for row in new:
        split = row.columns.get(COLUMN)
        if split is None or split == "":
            continue
        if split not in SPLITS:
            raise DataError(
                f"{source}: row {row.id!r} has {COLUMN} {split!r}; allowed: {', '.join(SPLITS)}, "
                "or nothing"
            )
        if told.setdefault(row.group, split) != split:
            raise DataError(
                f"{source}: rows of the group {row.group!r} are to be in {told[row.group]} and in "
                f"{split}; a group belongs in one split"
            )
    return told


def _known(
    held: Mapping[str, Sequence[Row]], told: Mapping[str, str], source: Path
) -> dict[str, str]:
    """Group to the split that it is in, or is told to be in.

    Raises:
        DataError: a column names another split than the one that the group is in.
    """
    known: dict[str, str] = {}
    for split, rows in held.items():
        for row in rows:
            known.setdefault(row.group, split)
    for group, split in told.items():
        if known.setdefault(group, split) != split:
            raise DataError(
                f"{source}: rows of the group {group!r} are to be in {split}, but the group is in "
                f"{known[group]} of the set; a group belongs in one split"
            )
    return known


def assign(
    units: Mapping[str, str],
    new: Sequence[Row],
    known: Mapping[str, str],
    held: Mapping[str, Sequence[Row]],
    tasks: Tasks,
    shares: Sequence[float],
    seed: int,
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Share out the groups of new rows.

    Args:
        units: group to the unit that it is a part of.
        new: the rows that need a split.
        known: groups that have a split.
        held: split to the rows that are there.
        tasks: what is to be in all splits alike.
        shares: of the splits.
        seed: of what nothing else decides.

    Returns:
        Group to split; and the groups that are known to be apart from a part of their unit.
    """
    places: dict[str, str] = {}
    torn = tuple(
        group for group, split in known.items() if places.setdefault(units[group], split) != split
    )
    total = Counter(each for rows in (*held.values(), new) for row in rows
                    for each in _strata(row, tasks))  # fmt: skip
    # What each split should hold in the end, less what it holds.
    lacking = {
        split: {each: count * share / sum(shares) for each, count in total.items()}
        for split, share in zip(SPLITS, shares, strict=True)
    }
    content: defaultdict[str, Counter[_Stratum]] = defaultdict(Counter)
    for split, rows in held.items():
        for row in rows:
            _take(lacking[split], Counter(_strata(row, tasks)))
    for row in new:
        place = known.get(row.group) or places.get(units[row.group])
        if place is not None:
            _take(lacking[place], Counter(_strata(row, tasks)))
        else:
            content[units[row.group]].update(_strata(row, tasks))
    places |= _stratified(content, lacking, [s for s, share in zip(SPLITS, shares, strict=True)
                                             if share > 0], seed)  # fmt: skip
    return {row.group: known.get(row.group) or places[units[row.group]] for row in new}, torn


def _stratified(
    content: Mapping[str, Counter[_Stratum]],
    lacking: Mapping[str, dict[_Stratum, float]],
    splits: Sequence[str],
    seed: int,
) -> dict[str, str]:
    """Unit to split, by iterative stratification.

    Args:
        content: unit to what it holds.
        lacking: split to what it still should get; changed in place.
        splits: those that get anything.
        seed: of what nothing else decides.
    """
    left = Counter(each for counts in content.values() for each in counts.elements())
    having: defaultdict[_Stratum, list[str]] = defaultdict(list)
    for unit in sorted(content, key=lambda unit: _drawn(seed, unit)):
        for each in content[unit]:
            having[each].append(unit)
    chosen: dict[str, str] = {}
    while left:
        rarest = min(left, key=lambda each: (each == _ROWS, left[each], each))
        # The largest first: they are the hardest to place.
        for unit in sorted(having[rarest], key=lambda unit: -content[unit][_ROWS]):
            if unit not in chosen:
                chosen[unit] = max(
                    splits, key=lambda split: (lacking[split][rarest], lacking[split][_ROWS])
                )
                _take(lacking[chosen[unit]], content[unit])
                left.subtract(content[unit])
        del left[rarest]
    return chosen


_ROWS = ("rows", "")


def _take(lacking: dict[_Stratum, float], content: Counter[_Stratum]) -> None:
    for each, count in content.items():
        lacking[each] -= count


def _strata(row: Row, tasks: Tasks) -> list[_Stratum]:
    """What of a row is to be in all splits alike: its labels, that it has none, that it is one."""
    none = [(task.name, "") for task in tasks if row.labels[task.name] == ()]
    return [*decided(row), *none, _ROWS]


def _drawn(seed: int, unit: str) -> str:
    return hashlib.sha256(f"{seed}/{unit}".encode("utf-8", "surrogatepass")).hexdigest()


def render_splitting(splitting: Splitting) -> RenderableType:
    """Lay out what each split holds, then what came in."""
    came = ", ".join(f"{count} {split}" for split, count in splitting.added.items())
    lines = [Text(f"Added: {came}.")]
    if splitting.present:
        lines.append(Text(f"{splitting.present} rows were there already and stay as they are."))
    if splitting.joined:
        lines.append(
            Text(f"{splitting.joined} groups stay with another one that says nearly the same.")
        )
    lines += [
        Text.assemble(
            ("warning: ", "yellow"),
            f"group {group!r} says nearly the same as another one, in another split; both stay",
        )
        for group in splitting.torn[:MAX_LISTED]
    ]
    return Group(counts_table(str(splitting.folder), splitting.counts), *lines)
