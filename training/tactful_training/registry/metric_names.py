"""Names that MLflow takes, made from those of labels, columns and files, which may be anything."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable

# MLflow takes words, spaces and a few signs; a part of a path that is only dots would be another.
_NOT_IN_NAMES = re.compile(r"[^/\w\-. :]")
_ONLY_DOTS = re.compile(r"(?<![^/])\.+(?![^/])")
_SUFFIX = 6
_LONGEST = 60  # of one part: MLflow takes paths of 250 characters


def paths(names: Iterable[str]) -> dict[str, str]:
    """Name to a name for MLflow, ``/`` parting it as before; different names stay different."""
    return _distinct({name: _clear(name) for name in names})


def parts(names: Iterable[str]) -> dict[str, str]:
    """The same for names that become one part of a path: ``/`` is replaced too, the end cut off.

    The parts depend on the names alone, not on their order: the same labels have the same metrics
    in every run.
    """
    return _distinct({name: _clear(name.replace("/", "_"))[:_LONGEST].strip() for name in names})


def _clear(name: str) -> str:
    return _ONLY_DOTS.sub("_", _NOT_IN_NAMES.sub("_", name))


def _distinct(cleared: dict[str, str]) -> dict[str, str]:
    """Where two would be one, those that had to be changed get some digits of their digest."""
    times = Counter(cleared.values())
    return {
        name: clear if times[clear] == 1 or clear == name else f"{clear}-{_digits(name)}"
        for name, clear in cleared.items()
    }


def _digits(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_SUFFIX]
