"""The ``tactful`` command: a thin shell over plain functions.

Commands of other packages join through entry points of the group ``tactful.commands``: one that
loads a `typer.Typer` becomes a group of commands, a function becomes a command.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Annotated, Any, NoReturn, TextIO, cast

import typer
from rich.console import Console
from rich.markup import escape

import tactful
from tactful.batch.score_command import score
from tactful.bundle.addresses import DEFAULT_BUNDLE
from tactful.bundle.push_command import push
from tactful.bundle.sign_commands import sign, verify
from tactful.errors import TactfulError
from tactful.explain_command import explain
from tactful.mcp_server import mcp
from tactful.options import (
    BundleOption,
    ContextOption,
    FormatOption,
    JsonOption,
    ReplyArgument,
    given_reply,
)
from tactful.own_words.formats import Format
from tactful.report.report_command import report
from tactful.server.serve_command import serve

INTERRUPTED = 130  # 128 + SIGINT, as shells report it


def main() -> None:
    """Run the command line; every deliberate error is one message on stderr and an exit code."""
    for stream in (sys.stdout, sys.stderr):
        _never_fail_on_text(stream)
    try:
        try:
            build_app()()
        finally:
            if sys.stdout is not None:  # not left to the interpreter's exit, which would complain
                sys.stdout.flush()
    except TactfulError as error:
        _fail(str(error), error.exit_code)
    except BrokenPipeError:  # whoever read the output has seen enough
        _discard_output()
        sys.exit(1)
    except OSError as error:
        _discard_output()
        _fail(str(error), TactfulError.exit_code)
    except MemoryError:
        _fail("there is not enough memory for this", TactfulError.exit_code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _fail(message: str, exit_code: int) -> NoReturn:
    Console(stderr=True).print(
        f"[bold red]error:[/] {escape(message)}", highlight=False, soft_wrap=True
    )
    sys.exit(exit_code)


def _discard_output() -> None:
    # What could not be written stays in the buffer, and flushing it at exit would fail again.
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def build_app() -> typer.Typer:
    """The command line with its own commands and those of installed entry points."""
    app = typer.Typer(
        name="tactful",
        help="Read which empathy strategies and which tone a support reply uses.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    app.command()(label)
    app.command()(explain)
    app.command()(score)
    app.command()(report)
    app.command()(serve)
    app.command()(mcp)
    app.command()(push)
    app.command()(sign)
    app.command()(verify)
    for point in sorted(entry_points(group="tactful.commands"), key=lambda point: point.name):
        command: typer.Typer | Callable[..., Any] = point.load()
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=point.name)
        else:
            app.command(point.name)(command)
    groups = [group.typer_instance for group in app.registered_groups]
    for each in [app, *filter(None, groups)]:
        for info in each.registered_commands:
            info.help = info.help or _flowing(info.callback)
    return app


def _flowing(command: Callable[..., Any] | None) -> str:
    """A docstring whose lines end where the terminal's do: typer keeps breaks but in the first."""
    paragraphs = (inspect.getdoc(command) or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tactful {tactful.__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version."
        ),
    ] = False,
) -> None:
    """Hold the options that stand before a command."""


def label(
    reply: ReplyArgument = None,
    context: ContextOption = None,
    format_: FormatOption = "auto",
    bundle: BundleOption = DEFAULT_BUNDLE,
    json_output: JsonOption = False,
) -> None:
    """Label one reply: strategies with the words that carry them, and tone."""
    text = given_reply(reply, "label")
    reading = tactful.Classifier.load(bundle).classify(text, context, format=cast(Format, format_))
    if json_output:
        typer.echo(json.dumps(reading.to_dict(), ensure_ascii=False))
        return
    from tactful.output.terminal import render_reading

    Console().print(render_reading(reading, text))


def _never_fail_on_text(stream: TextIO | None) -> None:
    # A reply may hold a lone surrogate, a terminal may know no emoji: `\\ud800` is right JSON, and
    # an escape on the screen is better than a traceback.
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    main()
