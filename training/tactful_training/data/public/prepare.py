"""``tactful data prepare``: from original files to a data set, whole or not at all."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from tactful.reading.tasks import Tasks
from tactful.storage import replace_folder, write_file
from tactful_training.config.shipped_files import find_data_set
from tactful_training.data.data_card import (
    CARD,
    ORIGINALS,
    Originals,
    card_for,
    read_card,
    read_originals,
    recorded_fold,
)
from tactful_training.data.data_set import SPLITS
from tactful_training.data.label_counts import SplitCounts, count_labels, counts_table
from tactful_training.data.public import epitome, esconv, goemotions
from tactful_training.data.public.original_files import (
    Converted,
    count_differences,
    digest_differences,
    read_folder,
    read_hub,
)
from tactful_training.data.row_files import scan_rows
from tactful_training.errors import DataError

_FILES = (CARD, *(f"{split}.jsonl" for split in SPLITS))
_MAX_LISTED = 20
_MAX_UNUSABLE = 5  # of those, so that differing counts are listed too
_HOME = Path("data_cards")


@dataclass(frozen=True)
class PublicSet:
    """How one set is read.

    Attributes:
        to_rows: from the original files (name to content), the card's tasks and the fold to rows.
        hub_line: a row of the table on the Hugging Face hub as a line of the original file.
        hub_files: name of a split on the hub to the original file that it stands for; none where
            the set is not read from there.
        folds: how many folds there are to choose from; 0 where the split is the official one.
    """

    to_rows: Callable[[Mapping[str, bytes], Tasks, int], Converted]
    hub_line: Callable[[Mapping[str, Any]], str] = str
    hub_files: Mapping[str, str] = field(default_factory=dict)
    folds: int = 0


SETS = {
    "goemotions": PublicSet(goemotions.to_rows, goemotions.hub_line, goemotions.FILES),
    "esconv": PublicSet(esconv.to_rows, esconv.hub_line, esconv.FILES),
    "epitome": PublicSet(epitome.to_rows, folds=epitome.FOLDS),
}


@dataclass(frozen=True)
class Prepared:
    """What `prepare` made.

    Attributes:
        name: the set.
        folder: where it is.
        fold: which fold it is; None where the split is the official one.
        counts: split to what it holds.
        differences: how the originals differ from the card, where that was accepted.
        notes: what a reader should know.
    """

    name: str
    folder: Path
    fold: int | None
    counts: Mapping[str, SplitCounts]
    differences: Sequence[str]
    notes: Sequence[str]

    def to_dict(self) -> dict[str, Any]:
        """As in the JSON of ``tactful data prepare``."""
        return {
            "set": self.name,
            "folder": str(self.folder),
            "fold": self.fold,
            "splits": {
                split: {"rows": each.rows, "groups": each.groups, "labels": each.labels}
                for split, each in self.counts.items()
            },
            "differences": list(self.differences),
            "notes": list(self.notes),
        }


def prepare(
    name: str,
    source: str,
    out: Path | None = None,
    *,
    fold: int | None = None,
    accept_differences: bool = False,
) -> Prepared:
    """Turn the original files of a public set into a data set.

    Args:
        name: of the set.
        source: folder of the original files, or the id that the card names for the hub.
        out: folder of the data set; ``data_cards/<name>`` here by default. An older set of that
            name in it is replaced once the new one is complete; anything else is left alone.
        fold: for a set without an official split, which of its folds; the first by default.
        accept_differences: go on where digests or counts are not those of the card. Records that
            cannot be read are refused all the same.

    Raises:
        DataError: no source is given; the originals are not those of the card, with all that
            differs; they cannot be read; or ``out`` holds something else.
    """
    if not source:
        raise DataError("--source is empty; give the folder of the original files")
    chosen = _chosen(name, fold)
    number = fold or 1
    out = _HOME / name if out is None else out
    card = read_card(find_data_set(name))
    expected = read_originals(card)
    _check_replaceable(out, name)
    made = number if chosen.folds else None
    earlier = recorded_fold(read_card(out)) if (out / CARD).is_file() else None
    found, lacking, notes = _read(chosen, source, expected)
    differences = [] if notes else digest_differences(found, expected.files)

    def refusal(obstacles: Sequence[str]) -> DataError:
        return _refusal(name, source, obstacles, None if accept_differences else differences)

    if lacking:
        raise refusal(lacking)
    try:
        converted = chosen.to_rows(found, card.tasks, number)
    except DataError as error:
        raise refusal([str(error)]) from error
    unusable = list(converted.problems)
    contents = {}
    for split, rows in converted.rows.items():
        lines = (json.dumps(row, ensure_ascii=False) for row in rows)
        contents[f"{split}.jsonl"] = "".join(f"{line}\n" for line in lines).encode()

    def check(folder: Path) -> dict[str, SplitCounts]:
        """Read the new set as training will, and compare it with the card."""
        counts = {}
        for split in SPLITS:
            scan = scan_rows(folder / f"{split}.jsonl", card.tasks)
            unusable.extend(problem.replace(f"{folder}/", "") for problem in scan.problems)
            counts[split] = count_labels(scan.rows, card.tasks)
        differences.extend(count_differences(counts, expected.counts))
        if unusable or (differences and not accept_differences):
            lines = unusable[:_MAX_UNUSABLE]
            if len(unusable) > _MAX_UNUSABLE:
                lines.append(f"and {len(unusable) - _MAX_UNUSABLE} more that cannot be rows")
            raise refusal(lines)
        write_file(folder / CARD, card_for(out.resolve(), card, made, differences))
        return counts

    try:
        counts = replace_folder(
            out.resolve(),
            contents,
            may_replace=lambda old: _check_replaceable(old, name),
            check=check,
        )
    except OSError as error:
        raise DataError(f"{out} cannot be written: {error}") from error
    if made is not None and card.path.parent.resolve() == out.resolve():
        notes.append(f"fold {made} is not named in {out}, whose card is kept; --out has it named")
    if earlier not in (None, made):
        notes.append(f"fold {earlier}, which was in {out}, has been replaced")
    return Prepared(name, out, made, counts, differences, [*notes, *converted.notes])


def _chosen(name: str, fold: int | None) -> PublicSet:
    """The set of that name, which has that fold if one is given."""
    if name not in SETS:
        raise DataError(f"no public set {name!r}; there are: {', '.join(SETS)}")
    folds = SETS[name].folds
    if fold is not None and not folds:
        raise DataError(f"{name} has an official split and no folds; leave --fold out")
    if fold is not None and not 1 <= fold <= folds:
        raise DataError(f"{name} has the folds 1 to {folds}, not {fold}")
    return SETS[name]


def _read(
    chosen: PublicSet, source: str, expected: Originals
) -> tuple[dict[str, bytes], list[str], list[str]]:
    """The original files, what they lack, and what to note where digests say nothing."""
    folder, hub = Path(source), expected.hub
    if folder.is_dir():
        return *read_folder(folder, expected.files), []
    if hub is not None and hub.id == source:
        found = read_hub(hub.id, hub.config, chosen.hub_files, chosen.hub_line)
        return found, [], ["read from the hub: rows and labels were counted, digests not compared"]
    allowed = f", or {hub.id} for the Hugging Face hub" if hub is not None else ""
    raise DataError(f"{source} is no folder; --source is that of the original files{allowed}")


def _check_replaceable(out: Path, name: str) -> None:
    """Raise where a folder holds anything but an earlier state of the set."""
    try:
        there = set(os.listdir(out))
    except FileNotFoundError:
        return
    except OSError as error:
        raise DataError(f"{out} cannot be written: {error.strerror}") from error
    if strange := sorted(there - set(_FILES)):
        raise DataError(
            f"{out} holds {', '.join(strange[:5])}, which would be lost; name another folder with "
            "--out, or remove what is not needed"
        )
    card = read_card(out) if CARD in there else None
    is_same = card and ORIGINALS in card.front_matter and read_originals(card).set == name
    if there and not is_same:
        raise DataError(f"{out} holds another data set than {name}; name another folder with --out")


def _refusal(
    name: str, source: str, obstacles: Sequence[str], differences: Sequence[str] | None
) -> DataError:
    """What keeps the set from being made.

    Args:
        name: of the set.
        source: where its files were read.
        obstacles: what nobody can accept.
        differences: what could be accepted; None where it is.
    """
    what = f"what {name} is made of" if differences is None else f"the original files of {name}"
    lines = [*obstacles, *(differences or [])]
    listed = "".join(f"\n  - {line}" for line in lines[:_MAX_LISTED])
    if len(lines) > _MAX_LISTED:
        listed += f"\n  - and {len(lines) - _MAX_LISTED} more"
    if obstacles:
        covered = "covers digests and counts alone, not " + (
            "all of this" if differences else "this"
        )
    else:
        covered = "goes on where digests and counts are all that differs"
    return DataError(
        f"{source} does not hold {what} (nothing was written):{listed}\n"
        f"Its card says where to get them; --accept-differences {covered}."
    )


def render_prepared(prepared: Prepared) -> RenderableType:
    """Lay out what each split holds, then what differs and what to know."""
    fold = "" if prepared.fold is None else f", fold {prepared.fold}"
    setting = shlex.quote(f"data.folder={prepared.folder}")
    bundle = shlex.quote(f"models/{prepared.folder.name}")
    lines = [Text(note) for note in prepared.notes]
    lines += [
        Text.assemble(("accepted: ", "yellow"), difference) for difference in prepared.differences
    ]
    return Group(
        counts_table(f"{prepared.folder} ({prepared.name}{fold})", prepared.counts),
        *lines,
        Text(f"tactful train {prepared.name} --set {setting} --out {bundle}"),
    )
