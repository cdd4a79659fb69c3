"""Croissant metadata of a data set: what machines read of its card (extra ``croissant``).

Files with their digests, and the columns of their rows with a label's place in each. The vocabulary
is MLCommons Croissant; mlcroissant writes it and checks it on the way.

Format: https://docs.mlcommons.org/croissant/docs/croissant-spec.html (read 2026-11).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tactful.errors import MissingExtraError
from tactful.storage import write_file
from tactful_training.data.data_set import DataSet, load_data_set
from tactful_training.errors import DataError

CROISSANT = "croissant.json"
_LICENCES = {
    "cc-by-4.0": "https://creativecommons.org/licenses/by/4.0/",
    "cc0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "apache-2.0": "https://www.apache.org/licenses/LICENSE-2.0",
}
_HOME = "https://schema.org/Dataset"  # the vocabulary asks for some address; a folder has none


def write_croissant(folder: str | Path) -> Path:
    """Write ``croissant.json`` beside the card of a data set.

    Args:
        folder: of the data set.

    Returns:
        The file.

    Raises:
        DataError: the set cannot be described: no card, no splits, or splits that are not JSONL.
        MissingExtraError: mlcroissant is not installed.
    """
    data = load_data_set(folder)
    path = data.folder / CROISSANT
    write_file(path, (json.dumps(describe(data), indent=2, ensure_ascii=False) + "\n").encode())
    return path


def describe(data: DataSet) -> dict[str, Any]:
    """The Croissant metadata of a data set, as JSON-LD.

    Args:
        data: the set; its splits must be JSONL.

    Raises:
        DataError: as of `write_croissant`.
        MissingExtraError: as of `write_croissant`.
    """
    try:
        import mlcroissant as mlc
    except ModuleNotFoundError as error:
        raise MissingExtraError("tactful data croissant", "croissant") from error

    others = [path.name for path in data.files.values() if path.suffix != ".jsonl"]
    if others or not data.files:
        named = ", ".join(others) or "none"
        raise DataError(f"{data.folder}: its splits are {named}; Croissant is made of .jsonl files")
    stated = data.card.front_matter
    licence = str(stated.get("license", "other"))
    files, records = [], []
    for split, path in data.files.items():
        files.append(
            mlc.FileObject(
                id=path.name,
                name=path.name,
                content_url=path.name,
                encoding_formats=["application/jsonlines"],
                sha256=data.digests[path.name],
            )
        )
        columns: list[tuple[str, str | None]] = [
            ("id", None),
            ("group", None),
            ("context", None),
            ("reply", None),
        ]
        columns += [("labels", task.name) for task in data.tasks]
        fields = [_field(mlc, split, path.name, column, key) for column, key in columns]
        records.append(mlc.RecordSet(id=split, name=split, fields=fields))
    name = data.folder.name
    metadata = mlc.Metadata(
        name=name,
        description=str(stated.get("pretty_name", name)),
        license=[_LICENCES.get(licence, str(stated.get("license_link", licence)))],
        url=_HOME,
        version=str(stated.get("version", "0.1.0")),
        keywords=[str(tag) for tag in stated.get("tags", ())] or None,
        distribution=files,
        record_sets=records,
    )
    content: dict[str, Any] = metadata.to_json()
    return content


def _field(mlc: Any, split: str, file: str, column: str, key: str | None) -> Any:
    name = f"{split}/{column}" if key is None else f"{split}/{column}.{key}"
    return mlc.Field(
        id=name,
        name=name,
        data_types=[mlc.DataType.TEXT],
        source=mlc.Source(
            file_object=file,
            extract=mlc.Extract(column=column),
            transforms=[] if key is None else [mlc.Transform(json_path=f"$.{key}")],
        ),
    )
