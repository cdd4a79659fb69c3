"""Everything that can be set about the service; one flag and one environment variable each.

Defaults and ranges are here, the reasons in `tactful.server.command`;
docs/service.md is held against both by a test.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from tactful.errors import TactfulError
from tactful.options import DEFAULT_BUNDLE
from tactful.server.batcher import BatchLimits

TOKEN_VARIABLE = "TACTFUL_TOKEN"
# Two: one is tokenised, or at its end on fewer threads than there are, while the other one runs.
BATCHES_AT_ONCE = 2


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How one service runs; the command line says what each is for.

    Raises:
        TactfulError: names the value that is out of range.
    """

    bundle: str = DEFAULT_BUNDLE
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    threads: int | None = None
    max_body_bytes: int = 2**20
    max_items: int = 256
    max_chars: int = 20_000
    max_queue_tokens: int = 32_768
    deadline_ms: int = 10_000
    max_connections: int = 512
    batch_tokens: int = 1_024
    gather_ms: int = 2
    receive_ms: int = 10_000
    drain_ms: int = 30_000
    token: str | None = None
    log_format: str = "text"

    def __post_init__(self) -> None:
        for name, (least, most) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise TactfulError(
                    f"--{name.replace('_', '-')} is {value}, allowed: {least} to {most}"
                )
        if self.log_format not in LOG_FORMATS:
            raise TactfulError(
                f"--log-format is {self.log_format!r}, allowed: {', '.join(LOG_FORMATS)}"
            )

    @property
    def batch_limits(self) -> BatchLimits:
        """What the queue needs of this."""
        return BatchLimits(
            self.batch_tokens,
            self.gather_ms / 1000,
            self.max_queue_tokens,
            self.deadline_ms / 1000,
            BATCHES_AT_ONCE,
        )

    @property
    def is_exposed(self) -> bool:
        """Whether others than this machine can reach it and no token is asked for."""
        if self.token is not None or self.host == "localhost":
            return False
        try:
            return not ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return True

    def allows(self, authorization: str | None) -> bool:
        """Whether an ``Authorization`` header holds the token; True where none is set.

        Digests are compared, in constant time, so that not even the length can be measured.
        """
        if self.token is None:
            return True
        scheme, _, given = (authorization or "").partition(" ")
        matches = hmac.compare_digest(_digest(given.strip()), _digest(self.token))
        return matches and scheme.lower() == "bearer"


LOG_FORMATS = ("text", "json")
_MILLISECONDS = (1, 3_600_000)
_RANGES: dict[str, tuple[int, int]] = {
    "port": (0, 65_535),
    "workers": (1, 256),
    "threads": (1, 1_024),
    "max_body_bytes": (64, 2**30),
    "max_items": (1, 100_000),
    "max_chars": (1, 10_000_000),
    "max_queue_tokens": (1, 10**9),
    "deadline_ms": _MILLISECONDS,
    "max_connections": (1, 100_000),
    "batch_tokens": (1, 1_000_000),
    "gather_ms": (0, 1_000),
    "receive_ms": _MILLISECONDS,
    "drain_ms": (0, 3_600_000),
}


def read_token(file: Path | None, variable: str | None) -> str | None:
    """The bearer token from a file or, without one, from the value of `TOKEN_VARIABLE`.

    Raises:
        TactfulError: the file cannot be read, or the token is no visible ASCII.
    """
    if file is not None:
        try:
            token, source = file.read_text("utf-8").strip(), f"the token file {file}"
        except (OSError, UnicodeDecodeError) as error:
            raise TactfulError(f"the token file {file} cannot be read: {error}") from error
    elif variable is not None:
        token, source = variable.strip(), f"${TOKEN_VARIABLE}"
    else:
        return None
    # An empty token, often a secret that was not filled in, must not open the service to all.
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise TactfulError(
            f"{source} must hold one token of visible ASCII characters without spaces; for "
            "example: python -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
    return token


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
