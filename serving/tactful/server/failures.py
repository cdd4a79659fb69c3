"""Why the service's core refuses a request; `tactful.server.problems` says so in HTTP."""

from __future__ import annotations

from tactful.errors import TactfulError


class Failure(TactfulError):  # noqa: N818 - outcomes, named as the documentation names them
    """A request that gets no reading; the message never quotes what was sent.

    Attributes:
        retry_after: seconds after which another try makes sense; None where none does.
    """

    def __init__(self, message: str, *, retry_after: int | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class QueueFull(Failure):
    """More is waiting than can be read within the deadline."""


class TooManyTokens(Failure):
    """One request is larger than what may wait at all: it could never be admitted."""


class DeadlineExceeded(Failure):
    """The request was not read in time."""


class NotReady(Failure):
    """No bundle has been loaded and verified yet."""


class Draining(Failure):
    """The service is about to end."""
