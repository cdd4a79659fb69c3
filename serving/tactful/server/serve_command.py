"""``tactful serve``, the command."""

from __future__ import annotations

import dataclasses
import os
import signal

import typer

from tactful.errors import MissingExtraError
from tactful.options import takes_options
from tactful.server.serve_settings import TOKEN_VARIABLE, Settings, read_token


@takes_options
def serve(settings: Settings) -> None:
    """Serve readings over HTTP, with a page to try them at /."""
    # SIGHUP asks for a reload; until there is a handler it waits: it would kill.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    token = read_token(settings.token_file, os.environ.get(TOKEN_VARIABLE))
    try:
        from tactful.server.lifecycle import run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "tactful":
            raise
        raise MissingExtraError("tactful serve", "server") from error
    raise typer.Exit(run(dataclasses.replace(settings, token=token)))
