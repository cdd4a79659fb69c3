"""Original files of a public set from the Hugging Face hub, through ``datasets``."""

from __future__ import annotations

from tactful_training.data.public.sets import PublicSet
from tactful_training.errors import DataError


def read_hub(found: PublicSet, address: str, config: str | None) -> dict[str, bytes]:
    """Build the original files from the hub's table, line by line.

    Args:
        found: how the set is read.
        address: what ``datasets`` loads: the id of the set on the hub, or a folder.
        config: its configuration, if it has several.

    Returns:
        File name to content. The hub's copy may differ from the original in its bytes, so that
        only counts can be compared.

    Raises:
        DataError: the hub does not answer, or its table is another one.
    """
    import datasets

    try:
        table = datasets.load_dataset(address, config)
    except Exception as error:  # what datasets raises for a hub out of reach has no common type
        raise DataError(
            f"{address} cannot be read from the Hugging Face hub "
            f"({type(error).__name__}: {str(error).strip()}); give --source the folder of the "
            "original files instead"
        ) from error
    try:
        return {
            file: "".join(f"{found.hub_line(row)}\n" for row in table[split]).encode()
            for split, file in found.hub_files.items()
        }
    except KeyError as error:
        raise DataError(f"{address} on the hub has no {error}: its table has changed") from error
