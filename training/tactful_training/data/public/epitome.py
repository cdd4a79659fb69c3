"""EPITOME, the Reddit part: how strongly a response shows each of three mechanisms of empathy.

Three tables of the same pairs of posts, one for each mechanism, with its level (0, 1, 2) and the
words of the response that show it, joined by ``|``. The tables differ in white space, and one has
lost the word "reddit" in places, so words are found by their letters.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tactful.reading.tasks import Tasks
from tactful_training.data.public.original_files import Converted, text_of
from tactful_training.errors import DataError

FOLDS = 5
MECHANISMS = "mechanisms"
# Mechanism, which is also the name of its task, to its file.
_FILES = {
    "emotional_reactions": "emotional-reactions-reddit.csv",
    "interpretations": "interpretations-reddit.csv",
    "explorations": "explorations-reddit.csv",
}
_TEXTS = "interpretations"  # the table that has the posts in full
_LEVELS = {"0": "none", "1": "weak", "2": "strong"}
_COLUMNS = ["sp_id", "rp_id", "seeker_post", "response_post", "level", "rationales"]
_PARTS = 2 * FOLDS
# What two copies of a text may differ in: white space and punctuation, HTML's names for signs
# (one copy has them as signs), and the word that one copy lost.
_IGNORED = re.compile(r"&(?:amp;)*#?\w{1,8};|(?:sub)?reddit|[\W_]", re.IGNORECASE)

_Table = Sequence[Mapping[str, str]]


def to_rows(files: Mapping[str, bytes], tasks: Tasks, fold: int) -> Converted:
    """One of five folds, drawn by seeker post; every row is a test row of exactly one fold."""
    tables = {mechanism: _table(file, files[file]) for mechanism, file in _FILES.items()}
    _check_same_pairs(tables)
    rows: dict[str, list[dict[str, Any]]] = {"train": [], "validation": [], "test": []}
    seen: Counter[str] = Counter()
    marked = lost = 0
    for line in range(len(tables[_TEXTS])):
        records = {mechanism: table[line] for mechanism, table in tables.items()}
        row, missing = _row(records, seen)
        marked += len(row["evidence"])
        lost += missing
        rows[split_of(row["group"], fold)].append(row)
    notes = f"{marked} rationales were found in their response, {lost} were not and are left out"
    return Converted(rows, notes=[notes])


def split_of(seeker_post: str, fold: int) -> str:
    """The split of a seeker post's rows in a fold (1 to 5).

    The SHA-256 of its id, as a number modulo 10, is its part: parts 2 (fold - 1) and the next are
    test, the one after those (10 is 0) is validation, the others train.
    """
    part = int(hashlib.sha256(seeker_post.encode()).hexdigest(), 16) % _PARTS
    place = (part - 2 * (fold - 1)) % _PARTS
    return "test" if place < 2 else "validation" if place == 2 else "train"


def _table(name: str, content: bytes) -> _Table:
    try:
        reader = csv.DictReader(io.StringIO(text_of(name, content), newline=""), strict=True)
        if reader.fieldnames != _COLUMNS:
            raise DataError(
                f"{name} has the columns {', '.join(reader.fieldnames or ['none'])}; expected "
                f"{', '.join(_COLUMNS)}"
            )
        table = []
        for record in reader:
            if None in record or None in record.values():
                raise DataError(f"{name}:{reader.line_num}: not {len(_COLUMNS)} cells")
            if record["level"] not in _LEVELS:
                raise DataError(
                    f"{name}:{reader.line_num}: level {record['level']!r}; expected 0, 1 or 2"
                )
            table.append(record)
    except csv.Error as error:
        raise DataError(f"{name}: not valid CSV: {error}") from error
    return table


def _check_same_pairs(tables: Mapping[str, _Table]) -> None:
    pairs = {
        mechanism: [(record["sp_id"], record["rp_id"]) for record in table]
        for mechanism, table in tables.items()
    }
    first = pairs[_TEXTS]
    for mechanism, others in pairs.items():
        if others != first:
            raise DataError(
                f"{_FILES[mechanism]} ({len(others)} rows) and {_FILES[_TEXTS]} ({len(first)} "
                "rows) do not hold the same pairs of posts in the same order"
            )


def _row(
    records: Mapping[str, Mapping[str, str]], seen: Counter[str]
) -> tuple[dict[str, Any], int]:
    """The row of one pair, and how many rationales were not found in its response."""
    pair = records[_TEXTS]
    name = f"{pair['sp_id']}-{pair['rp_id']}"
    seen[name] += 1  # some pairs were annotated twice
    levels = {mechanism: _LEVELS[record["level"]] for mechanism, record in records.items()}
    shown = [mechanism for mechanism, level in levels.items() if level != "none"]
    evidence, missing = [], 0
    for mechanism in shown:
        spans = set()
        for rationale in filter(str.strip, records[mechanism]["rationales"].split("|")):
            span = locate(rationale, pair["response_post"])
            missing += span is None
            spans |= {span} - {None}
        evidence += [
            {"task": MECHANISMS, "label": mechanism, "start": start, "end": end}
            for start, end in sorted(filter(None, spans))
        ]
    row: dict[str, Any] = {
        "id": name if seen[name] == 1 else f"{name}-{seen[name]}",
        "group": pair["sp_id"],
        "context": pair["seeker_post"],
        "reply": pair["response_post"],
        "labels": {**levels, MECHANISMS: shown},
        "evidence": evidence,
    }
    return row, missing


def locate(words: str, text: str) -> tuple[int, int] | None:
    """Where some words stand in a text (code points, end exclusive); None where they do not.

    As they are, or else by their letters and digits alone, whatever their case.
    """
    words = words.strip()
    start = text.find(words)
    if start >= 0:
        return start, start + len(words)
    wanted = "".join(letter for letter, _ in _letters(words))
    there = _letters(text)
    found = "".join(letter for letter, _ in there).find(wanted) if wanted else -1
    if found < 0:
        return None
    return there[found][1], there[found + len(wanted) - 1][1] + 1


def _letters(text: str) -> list[tuple[str, int]]:
    """Each letter and digit in lower case with its place; a place may give several."""
    kept = bytearray(b"\x01" * len(text))
    for match in _IGNORED.finditer(text):
        kept[match.start() : match.end()] = bytes(match.end() - match.start())
    return [(low, at) for at, letter in enumerate(text) if kept[at] for low in letter.lower()]
