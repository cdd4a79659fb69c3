"""Original files of a public set from the Hugging Face hub, through ``datasets``."""

from __future__ import annotations

import os

from tactful_training.errors import DataError
from tactful_training.public.sets import PublicSet


def read_hub(name: str, found: PublicSet, address: str, config: str | None) -> dict[str, bytes]:
    """Build the original files from the hub's table, line by line.

    Args:
        name: of the set, for messages.
        found: how the set is read.
        address: id of a data set on the hub, ``owner/name``.
        config: its configuration, if it has several.

    Returns:
        File name to content. The hub's copy may differ from the original in its bytes (line ends,
        order), so that only counts can be compared.

    Raises:
        DataError: the set is not read from the hub, the hub does not answer, or its table is
            another one.
    """
    if found.hub_line is None:
        raise DataError(f"{name} is not read from the hub; give the folder of its original files")
    import datasets

    try:
        table = datasets.load_dataset(address, config)
        return {
            file: "".join(f"{found.hub_line(row)}\n" for row in table[split]).encode()
            for split, file in found.hub_files.items()
        }
    except KeyError as error:
        raise DataError(f"{address} on the hub has no {error}: it is not {name}") from error
    except Exception as error:  # what datasets raises for a hub out of reach has no common type
        detail = str(error).strip().split(os.linesep)[0]
        raise DataError(
            f"there is no folder {address}, and the hub does not give a data set of that id "
            f"({type(error).__name__}: {detail}); --source is the folder of the original files, or "
            "the id of a data set on the hub"
        ) from error
