"""Find configs and data sets by name: the working folder wins, then the copy that is shipped.

A wheel carries `configs/` and the shipped data set inside the package; in a source checkout they
lie at its root. Either way the same names work in an empty folder.
"""

from __future__ import annotations

import os
from pathlib import Path

from tactful.storage import recover
from tactful_training.errors import ConfigError, DataError

DEFAULT_CONFIG = "default.yaml"
SHIPPED = "_shipped"
"""The folder, within an installed package, of what came with it."""
_CONFIGS = "configs"
_DATA_SETS = "data_cards"


def shipped_root() -> Path:
    """The folder that holds the shipped ``configs`` and ``data_cards``."""
    here = Path(__file__).resolve()
    in_wheel = here.parents[1] / SHIPPED
    return in_wheel if in_wheel.is_dir() else here.parents[3]


def find_config(name: str | Path, *, beside: Path | None = None) -> Path:
    """Find a config file.

    Args:
        name: a path, or a bare name with or without ``.yaml`` (``smoke``).
        beside: a folder to look in first, that of the config which refers to this one.

    Returns:
        The first file found: beside, in the working folder (also in its ``configs``), shipped.

    Raises:
        ConfigError: there is none; names the places that were looked at.
    """
    path = Path(name)
    if not path.suffix:
        path = path.with_name(f"{path.name}.yaml") if path.name else path
    candidates = _candidates(path, _CONFIGS, beside)
    for candidate in candidates:
        if os.path.isfile(candidate):  # not Path.is_file: that raises where a name is too long
            return candidate
    if os.path.exists(name):
        found = "a folder" if os.path.isdir(name) else "a pipe or a file without a suffix"
        raise ConfigError(f"{name} is {found}, not a config file; name a .yaml file")
    raise ConfigError(f"no config {str(name)!r}; looked for {_listed(candidates)}")


def find_data_set(folder: str | Path) -> Path:
    """Find the folder of a data set; one that a killed run left aside is put back.

    Args:
        folder: a path, or the bare name of a set in ``data_cards`` (``support_replies``).

    Returns:
        The first folder found: in the working folder (also in its ``data_cards``), shipped.

    Raises:
        DataError: there is none; names the places that were looked at.
    """
    candidates = _candidates(Path(folder), _DATA_SETS, None)
    for candidate in candidates:
        try:
            recover(candidate)
        except OSError as error:
            raise DataError(
                f"{candidate}, which a killed run left aside, cannot be put back: {error}"
            ) from error
        if os.path.isdir(candidate):
            return candidate
    if os.path.isfile(folder):
        raise DataError(f"{folder} is a file; name the folder of the data set")
    raise DataError(f"no data set {str(folder)!r}; looked for the folders {_listed(candidates)}")


def _candidates(path: Path, home: str, beside: Path | None) -> list[Path]:
    if path.is_absolute():
        return [path]
    roots = [] if beside is None else [beside]
    within = [] if path.parts[:1] == (home,) else [Path(home)]
    for root in (Path(), shipped_root()):
        roots += [root, *(root / part for part in within)]
    return list(dict.fromkeys(root / path for root in roots))


def _listed(paths: list[Path]) -> str:
    return ", ".join(str(path) for path in paths)
