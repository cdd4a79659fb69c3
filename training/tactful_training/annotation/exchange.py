"""Files of the tools in which people label: told by their content, read, and written.

Rows (JSONL, CSV, Parquet), feedback of the service, Label Studio's JSON and Prodigy's JSONL are
read wherever somebody's labels are asked for; of what is none of them it is said what it must be.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tactful.reading.tasks import Tasks
from tactful.storage import write_file
from tactful_training.annotation.label_studio import (
    from_label_studio,
    labelling_config,
    to_label_studio,
)
from tactful_training.annotation.labellings import (
    LabelledFile,
    Labelling,
    check_scan,
    is_feedback,
    read_feedback,
    read_rows,
    with_new_names,
    with_old_names,
)
from tactful_training.annotation.prodigy import from_prodigy, to_prodigy
from tactful_training.data.data_set import SPLITS, load_data_set
from tactful_training.data.label_cells import UNKNOWN, parse_json
from tactful_training.data.labelled_row import Row
from tactful_training.data.row_files import ScannedRows
from tactful_training.data.row_records import jsonl, row_record, write_table
from tactful_training.errors import DataError

FORMS = {"label-studio": ".json", "prodigy": ".jsonl", "csv": ".csv", "jsonl": ".jsonl"}
"""What can be written, and how the name of its file ends."""
_PRODIGY_KEYS = frozenset({"accept", "spans", "answer", "options", "_input_hash"})


def read_labellings(
    path: Path,
    tasks: Tasks,
    *,
    renamed: Mapping[str, str] | None = None,
    suggestions: bool = False,
    delimiter: str | None = None,
) -> LabelledFile:
    """Read what people said, whatever tool they used.

    Args:
        path: rows, feedback, JSON of Label Studio or JSONL of Prodigy.
        tasks: the tasks that it may speak of.
        renamed: old name of a label to its name in ``tasks``.
        suggestions: whether a model's suggestions count where nobody has answered.
        delimiter: of a CSV file; None finds it.

    Raises:
        DataError: the file cannot be read or is of no known form, a row cannot be used (all are
            named), or what was renamed is no label.
    """
    known = with_old_names(tasks, renamed or {})
    if path.suffix.lower() == ".json":
        said = from_label_studio(_json(path), str(path), known, suggestions=suggestions)
        found = _usable(path, list(said), tasks)
    elif is_feedback(path):
        found = read_feedback(path, known)
    elif path.suffix.lower() == ".jsonl" and (records := _prodigy_records(path)) is not None:
        lines = list(from_prodigy(records, known, suggestions=suggestions))
        found = _usable(path, lines, tasks)
    else:
        found = read_rows(path, known, tasks, suggestions=suggestions, delimiter=delimiter)
    named = [
        replace(each, row=with_new_names(each.row, renamed or {})) for each in found.labellings
    ]
    return replace(found, labellings=named)


def import_rows(
    path: Path,
    card: str | Path,
    out: Path,
    *,
    renamed: Mapping[str, str] | None = None,
    suggestions: bool = False,
    delimiter: str | None = None,
) -> int:
    """Write what one person said of each row as rows of JSONL.

    Args:
        path: what is read, see `read_labellings`.
        card: the data set whose card names the tasks.
        out: the file of rows.
        renamed: as for `read_labellings`.
        suggestions: as for `read_labellings`.
        delimiter: as for `read_labellings`.

    Returns:
        How many rows there are.

    Raises:
        DataError: as for `read_labellings`; or several people speak of one row.
    """
    tasks = load_data_set(card).tasks
    read = read_labellings(
        path, tasks, renamed=renamed, suggestions=suggestions, delimiter=delimiter
    )
    seen: dict[str, Labelling] = {}
    for each in read.labellings:
        other = seen.setdefault(each.row.id, each)
        if other is not each:
            raise DataError(
                f"{each.place} and {other.place} both speak of the row {each.row.id!r}; `tactful "
                "data agreement --consensus` makes one row of several people's"
            )
    provenance = ({"by": each.who, "at": each.when, "why": each.why} for each in seen.values())
    records = [
        row_record(each.row, tasks) | {key: value for key, value in said.items() if value}
        for each, said in zip(seen.values(), provenance, strict=True)
    ]
    _write(out, jsonl(records))
    return len(records)


def export_rows(
    folder: str | Path,
    out: Path,
    form: str,
    *,
    splits: Sequence[str] = (),
    suggested: bool = False,
) -> int:
    """Write the rows of a data set for another tool.

    For Label Studio the labelling config is written beside, as .xml.

    Args:
        folder: the data set.
        out: the file.
        form: one of `FORMS`.
        splits: which ones; none names all that are there. The column ``split`` says which it is.
        suggested: whether the labels go as suggestions, to be confirmed.

    Returns:
        How many rows there are.

    Raises:
        DataError: there is no such form or split, a row cannot be used, or a disk refuses.
    """
    if form not in FORMS:
        raise DataError(f"unknown form {form!r}; known: {', '.join(FORMS)}")
    if out.suffix.lower() != FORMS[form]:
        raise DataError(f"{out}: a file of {form} ends in {FORMS[form]}; name it so")
    data = load_data_set(folder)
    rows = [
        replace(row, columns={**row.columns, "split": split})
        for split in splits or [split for split in SPLITS if split in data.files]
        for row in data.split(split)
    ]
    if form == "label-studio":
        _write(out, to_label_studio(rows, data.tasks, suggested=suggested))
        _write(out.with_suffix(".xml"), labelling_config(data.tasks).encode())
    elif form == "prodigy":
        _write(out, to_prodigy(rows, data.tasks, suggested=suggested))
    elif form == "csv":
        if named := [task.name for task in data.tasks if UNKNOWN in task.labels]:
            raise DataError(
                f"the task {named[0]!r} has a label {UNKNOWN!r}, by which a table means unknown; "
                "export as jsonl, or give the label another name"
            )
        write_table(out, [(row, {}) for row in rows], data.tasks, ())
    else:
        _write(out, jsonl(row_record(row, data.tasks) for row in rows))
    return len(rows)


def _usable(path: Path, said: Sequence[Labelling | str], tasks: Tasks) -> LabelledFile:
    found = [each for each in said if isinstance(each, Labelling)]
    problems = [each for each in said if isinstance(each, str)]
    if not found and not problems:
        raise DataError(
            f"{path} holds nothing that somebody has answered; --suggestions takes what a model "
            "suggested as if it had been confirmed"
        )
    rows: list[Row] = [each.row for each in found]
    check_scan(ScannedRows(path, rows, problems, {}, {}, {}), tasks)
    return LabelledFile(found)


def _json(path: Path) -> Any:
    try:
        return parse_json(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path} is not valid JSON, which Label Studio exports: {error}; rows are .jsonl, .csv "
            "or .parquet"
        ) from error


def _prodigy_records(path: Path) -> list[tuple[str, Mapping[str, Any]]] | None:
    """The lines of a file of Prodigy; None where it is none."""
    found: list[tuple[str, Mapping[str, Any]]] = []
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError:
        return None  # whoever reads it says why
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        is_prodigy = isinstance(record, dict) and "text" in record and _PRODIGY_KEYS & record.keys()
        if not found and not is_prodigy:
            return None
        if not isinstance(record, dict):
            raise DataError(f"{path}:{number}: not a line of Prodigy's JSONL, as those above are")
        found.append((f"{path}:{number}", record))
    return found or None


def _write(path: Path, content: bytes) -> None:
    try:
        write_file(path, content)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}") from error
