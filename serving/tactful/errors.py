"""Every error that tactful raises on purpose.

The core raises these and knows nothing of exit codes on the wire or HTTP statuses; each edge
(command line, service, batch job) maps them once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class TactfulError(Exception):
    """Base of all errors that name what was given, what is allowed and what to do.

    Attributes:
        exit_code: what the command line exits with, 2 (unusable input) unless a subclass differs.
    """

    exit_code = 2

    def __reduce__(self) -> tuple[Any, ...]:
        # By what it holds, not by making it again: the arguments of subclasses differ.
        return _restored, (type(self), self.args, self.__dict__)


class BundleError(TactfulError):
    """A model bundle that is damaged, incomplete, of a foreign format or not reproducible here.

    Attributes:
        problems: one line for each thing that is extra, missing, changed or malformed.
    """

    def __init__(self, bundle: object, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        lines = "".join(f"\n  - {problem}" for problem in self.problems)
        super().__init__(f"the bundle {bundle} cannot be used:{lines}")


class SignatureError(BundleError):
    """A bundle that no trusted key has signed as it is; what it holds was not looked at."""


class InputError(TactfulError, ValueError):
    """A reply or context that cannot be read.

    Attributes:
        code: a stable name of the cause, for example ``reply_empty``.
        message: what is wrong, and what to do.
        index: the place of the item among those given, from 0; None where there was but one. The
            error's text names it.
    """

    def __init__(self, code: str, message: str, index: int | None = None) -> None:
        self.code = code
        self.message = message
        self.index = index
        super().__init__(message if index is None else f"item {index}: {message}")


class ModelError(TactfulError, ValueError):
    """A model that cannot run what it was given."""


class ReportError(TactfulError):
    """A report that cannot be made of what was given."""


class MissingExtraError(TactfulError, ImportError):
    """A feature whose packages belong to an extra that is not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(
            f"{feature} needs packages that are not installed; run: pip install 'tactful[{extra}]'"
        )


class JobError(TactfulError):
    """A job that cannot start or go on; what was committed is kept for the same command."""


class ColumnTakenError(JobError):
    """An input column has the name of one that the job adds."""

    @classmethod
    def named(cls, where: str, columns: list[str]) -> ColumnTakenError:
        """The error for a file that has such columns."""
        return cls(
            f"{where} has a column {', '.join(map(repr, columns))} already, which scoring would "
            "add; put the added columns under a prefix: --prefix tactful."
        )


class TooManyErrorsError(JobError):
    """More rows failed than ``--max-errors`` allows."""

    exit_code = 1


def _restored(
    kind: type[TactfulError], args: tuple[Any, ...], state: dict[str, Any]
) -> TactfulError:
    error = kind.__new__(kind, *args)
    super(TactfulError, error).__init__(*args)  # of the built-in base, which may keep them too
    error.__dict__.update(state)
    return error
