"""Why a batch job cannot start, stops or refuses to go on."""

from __future__ import annotations

from tactful.errors import TactfulError


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
