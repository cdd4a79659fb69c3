"""All that can be set about the service; a field is a flag, a variable and a line of the docs."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from tactful.bundle.addresses import DEFAULT_BUNDLE
from tactful.errors import TactfulError
from tactful.options import BUNDLE_HELP, check_options, option
from tactful.server.fair_queue import BatchLimits

TOKEN_VARIABLE = "TACTFUL_TOKEN"
# Two: one is tokenised, or at its end on fewer threads than there are, while the other one runs.
BATCHES_AT_ONCE = 2
_LIMITS, _PROCESS = "Limits", "Process"
_HOUR = 3_600_000  # milliseconds


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How one service runs.

    Raises:
        TactfulError: names the value that is out of range.
    """

    environment: ClassVar[str] = "TACTFUL_"

    bundle: str = option(DEFAULT_BUNDLE, BUNDLE_HELP, metavar="DIR")
    host: str = option(
        "127.0.0.1",
        "The address to listen on. The default is reached from this machine only; 0.0.0.0 is "
        "reached by everybody who can reach the machine, and then a token should be set.",
        panel=_PROCESS,
    )
    port: int = option(
        8000,
        "The port to listen on. 0 takes any free one; which one it was stands in the log.",
        least=0,
        most=65_535,
        panel=_PROCESS,
    )
    root_path: str = option(
        "",
        "The path under which a proxy shows this service, for example /tactful, where it does not "
        "take that path away. Without it, page and OpenAPI document use relative addresses.",
        panel=_PROCESS,
    )
    model_name: str | None = option(
        None,
        "The model's name under /v2/models/ (Open Inference Protocol). By default that of the "
        "bundle; KServe asks by the name of the InferenceService.",
        panel=_PROCESS,
    )
    workers: int = option(
        1,
        "Processes that share the port. Each holds a bundle of its own, so memory grows with "
        "them; they help where one process's Python is the limit (many short replies, many "
        "processors), not where the model is.",
        least=1,
        most=256,
        panel=_PROCESS,
    )
    threads: int | None = option(
        None,
        "Threads of the model in each worker. By default the processors that this process "
        "may use, by affinity and by the container's quota, divided by the workers; more "
        "threads than processors fight each other.",
        least=1,
        most=1_024,
        panel=_PROCESS,
    )
    max_body_bytes: int = option(
        2**20,
        "Largest body of a request, in bytes. It bounds what one sender can make the service "
        "hold before anything is looked at. Above: 413.",
        least=64,
        most=2**30,
        panel=_LIMITS,
    )
    max_items: int = option(
        256,
        "Most replies in one request. Large jobs belong to `tactful score`; here they would "
        "only wait in memory. Above: 413.",
        least=1,
        most=100_000,
        panel=_LIMITS,
    )
    max_chars: int = option(
        20_000,
        "Most characters of one reply and of one context, counted before tokenising, whose "
        "time grows with the text. The model reads some thousand characters at most anyway. "
        "Above: 422, or an error in the item's place.",
        least=1,
        most=10_000_000,
        panel=_LIMITS,
    )
    max_queue_tokens: int = option(
        32_768,
        "Most tokens (estimated, four bytes each) that may wait. A long queue helps nobody: "
        "those at its end would time out after they were paid for. A quarter is kept for "
        "requests of one reply. Past it: 429 with Retry-After, at once.",
        least=1,
        most=10**9,
        panel=_LIMITS,
    )
    deadline_ms: int = option(
        10_000,
        "Longest time between admission and answer. Who waits longer has usually gone; what "
        "is certain to miss it is refused at once with 429, what misses it all the same gets "
        "503 and is not read.",
        least=1,
        most=_HOUR,
        panel=_LIMITS,
    )
    max_connections: int = option(
        512,
        "Most open connections of a worker. Each costs a file descriptor and some memory, "
        "even when it sends nothing. Above: 503, and beyond half as many again connections "
        "are closed unanswered.",
        least=1,
        most=100_000,
        panel=_LIMITS,
    )
    batch_tokens: int = option(
        1_024,
        "Tokens (estimated) that are read together. More fill the processors better, and let "
        "everyone wait for the slowest of the batch.",
        least=1,
        most=1_000_000,
        panel=_LIMITS,
    )
    gather_ms: int = option(
        2,
        "How long the first request of an idle service waits for company. While a batch "
        "runs, nobody waits for company: the next one has gathered, or begins at once.",
        least=0,
        most=1_000,
        panel=_LIMITS,
    )
    receive_ms: int = option(
        10_000,
        "How long a sender may take for the head of a request, and again for its body. "
        "Otherwise slow ones, on purpose or not, would hold connections for ever. Above: 408.",
        least=1,
        most=_HOUR,
        panel=_LIMITS,
    )
    drain_ms: int = option(
        30_000,
        "After SIGTERM, how long requests in flight may take to finish. Keep it below the "
        "time after which the orchestrator kills (terminationGracePeriodSeconds).",
        least=0,
        most=_HOUR,
        panel=_LIMITS,
    )
    token_file: Path | None = option(
        None,
        f"A file that holds the bearer token that /v1/ asks for; ${TOKEN_VARIABLE} may hold "
        "the token itself. There is no flag for it, for flags are seen by everyone who can "
        "list processes. Without a token anyone who reaches the port may ask, and reloading "
        "over HTTP is off.",
        panel=_PROCESS,
    )
    feedback: Path | None = option(
        None,
        "A file that takes what people say against readings (POST /v1/feedback, and on the page), "
        "with the reply and its context. Off without it, as it stores texts: say so to those who "
        "use the page, and keep the file as you keep the replies. `tactful data merge` takes it.",
        panel=_PROCESS,
    )
    log_format: Literal["text", "json"] = option(
        "text",
        "text for people, json (one object a line) for machines. Logs never hold the text of "
        "a reply in either.",
        panel=_PROCESS,
    )
    token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        check_options(self)
        if self.root_path and not re.fullmatch(r"(/[\w.~-]+)+", self.root_path, re.ASCII):
            raise TactfulError(
                f"--root-path is {self.root_path!r}, allowed: a path of letters, digits and ._~- "
                "that begins with / and does not end with one, for example /tactful"
            )
        if self.model_name is not None and not re.fullmatch(r"[\w.-]+", self.model_name, re.ASCII):
            raise TactfulError(
                f"--model-name is {self.model_name!r}, allowed: letters, digits and ._-"
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
