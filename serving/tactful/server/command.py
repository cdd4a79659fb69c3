"""``tactful serve``: its options, each with an environment variable and the reason for it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from tactful.errors import MissingExtraError
from tactful.options import DEFAULT_BUNDLE, BundleOption
from tactful.server.settings import TOKEN_VARIABLE, Settings, read_token

_D = Settings()
_LIMITS, _PROCESS = "Limits", "Process"


def _option(name: str, help: str, panel: str = _LIMITS) -> typer.models.OptionInfo:
    variable = "TACTFUL_" + name.strip("-").upper().replace("-", "_")
    option: typer.models.OptionInfo = typer.Option(
        name, envvar=variable, help=help, rich_help_panel=panel
    )
    return option


def serve(
    bundle: BundleOption = DEFAULT_BUNDLE,
    host: Annotated[
        str,
        _option(
            "--host",
            "The address to listen on. The default is reached from this machine only; 0.0.0.0 is "
            "reached by everybody who can reach the machine, and then a token should be set.",
            _PROCESS,
        ),
    ] = _D.host,
    port: Annotated[
        int,
        _option(
            "--port",
            "The port to listen on. 0 takes any free one; which one it was stands in the log.",
            _PROCESS,
        ),
    ] = _D.port,
    workers: Annotated[
        int,
        _option(
            "--workers",
            "Processes that share the port. Each holds a bundle of its own, so memory grows with "
            "them; they help where one process's Python is the limit (many short replies, many "
            "processors), not where the model is.",
            _PROCESS,
        ),
    ] = _D.workers,
    threads: Annotated[
        int | None,
        _option(
            "--threads",
            "Threads of the model in each worker. By default the processors that this process "
            "may use, by affinity and by the container's quota, divided by the workers; more "
            "threads than processors fight each other.",
            _PROCESS,
        ),
    ] = _D.threads,
    max_body_bytes: Annotated[
        int,
        _option(
            "--max-body-bytes",
            "Largest body of a request, in bytes. It bounds what one sender can make the service "
            "hold before anything is looked at. Above: 413.",
        ),
    ] = _D.max_body_bytes,
    max_items: Annotated[
        int,
        _option(
            "--max-items",
            "Most replies in one request. Large jobs belong to `tactful score`; here they would "
            "only wait in memory. Above: 413.",
        ),
    ] = _D.max_items,
    max_chars: Annotated[
        int,
        _option(
            "--max-chars",
            "Most characters of one reply and of one context, counted before tokenising, whose "
            "time grows with the text. The model reads some thousand characters at most anyway. "
            "Above: 422, or an error in the item's place.",
        ),
    ] = _D.max_chars,
    max_queue_tokens: Annotated[
        int,
        _option(
            "--max-queue-tokens",
            "Most tokens (estimated, four bytes each) that may wait. A long queue helps nobody: "
            "those at its end would time out after they were paid for. A quarter is kept for "
            "requests of one reply. Past it: 429 with Retry-After, at once.",
        ),
    ] = _D.max_queue_tokens,
    deadline_ms: Annotated[
        int,
        _option(
            "--deadline-ms",
            "Longest time between admission and answer. Who waits longer has usually gone; what "
            "is certain to miss it is refused at once with 429, what misses it all the same gets "
            "503 and is not read.",
        ),
    ] = _D.deadline_ms,
    max_connections: Annotated[
        int,
        _option(
            "--max-connections",
            "Most open connections of a worker. Each costs a file descriptor and some memory, "
            "even when it sends nothing. Above: 503, and beyond half as many again connections "
            "are closed unanswered.",
        ),
    ] = _D.max_connections,
    batch_tokens: Annotated[
        int,
        _option(
            "--batch-tokens",
            "Tokens (estimated) that are read together. More fill the processors better, and let "
            "everyone wait for the slowest of the batch.",
        ),
    ] = _D.batch_tokens,
    gather_ms: Annotated[
        int,
        _option(
            "--gather-ms",
            "How long the first request of an idle service waits for company. While a batch "
            "runs, nobody waits for company: the next one has gathered, or begins at once.",
        ),
    ] = _D.gather_ms,
    receive_ms: Annotated[
        int,
        _option(
            "--receive-ms",
            "How long a sender may take for the head of a request, and again for its body. "
            "Otherwise slow ones, on purpose or not, would hold connections for ever. Above: 408.",
        ),
    ] = _D.receive_ms,
    drain_ms: Annotated[
        int,
        _option(
            "--drain-ms",
            "After SIGTERM, how long requests in flight may take to finish. Keep it below the "
            "time after which the orchestrator kills (terminationGracePeriodSeconds).",
        ),
    ] = _D.drain_ms,
    token_file: Annotated[
        Path | None,
        _option(
            "--token-file",
            f"A file that holds the bearer token that /v1/ asks for; ${TOKEN_VARIABLE} may hold "
            "the token itself. There is no flag for it, for flags are seen by everyone who can "
            "list processes. Without a token anyone who reaches the port may ask, and reloading "
            "over HTTP is off.",
            _PROCESS,
        ),
    ] = None,
    log_format: Annotated[
        str,
        _option(
            "--log-format",
            "text for people, json (one object a line) for machines. Logs never hold the text of "
            "a reply in either.",
            _PROCESS,
        ),
    ] = _D.log_format,
) -> None:
    """Serve readings over HTTP, with a page to try them at /."""
    settings = Settings(
        bundle=bundle,
        host=host,
        port=port,
        workers=workers,
        threads=threads,
        max_body_bytes=max_body_bytes,
        max_items=max_items,
        max_chars=max_chars,
        max_queue_tokens=max_queue_tokens,
        deadline_ms=deadline_ms,
        max_connections=max_connections,
        batch_tokens=batch_tokens,
        gather_ms=gather_ms,
        receive_ms=receive_ms,
        drain_ms=drain_ms,
        token=read_token(token_file, os.environ.get(TOKEN_VARIABLE)),
        log_format=log_format,
    )
    try:
        from tactful.server.lifecycle import run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "tactful":
            raise
        raise MissingExtraError("tactful serve", "server") from error
    raise typer.Exit(run(settings))
