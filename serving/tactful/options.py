"""Options declared once, and those that several commands share.

The fields of a dataclass say what its options are; flags and environment variables of a command,
the check of what was given, and the table in the documentation are made from them.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import typer

from tactful.csv_dialect import parse_delimiter
from tactful.errors import InputError, TactfulError

Result = TypeVar("Result")
_KEY = "option"  # in the metadata of a field


@dataclasses.dataclass(frozen=True)
class Option:
    """What a field says of itself as an option.

    Attributes:
        help: what it is for and why it is as it is.
        least: the smallest number allowed, if any.
        most: the largest number allowed, if any.
        panel: the heading under which ``--help`` shows it.
        metavar: what ``--help`` calls its value.
        name: of the field; from here on filled in by `declared`.
        default: of the field.
        variable: the environment variable, where the dataclass has an ``environment``.
        choices: the texts allowed, where the field's type is a Literal.
        hint: the field's type.
    """

    help: str
    least: int | None = None
    most: int | None = None
    panel: str | None = None
    metavar: str | None = None
    name: str = ""
    default: Any = None
    variable: str | None = None
    choices: tuple[str, ...] = ()
    hint: Any = str

    @property
    def flag(self) -> str:
        """Its name on the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def allowed(self) -> str:
        """What it may be, in words; empty where its type says everything."""
        if self.choices:
            return ", ".join(self.choices)
        if self.most is None:
            return "" if self.least is None else f"at least {self.least}"
        return f"{self.least} to {self.most}"

    def check(self, value: object) -> str | None:
        """What is wrong with a value; None where nothing is."""
        wrong = self.choices and value not in (self.default, *self.choices)
        if isinstance(value, int):
            wrong = (self.least is not None and value < self.least) or (
                self.most is not None and value > self.most
            )
        shown = repr(value) if isinstance(value, str) else value
        return f"{self.flag} is {shown}, allowed: {self.allowed}" if wrong else None

    def parameter(self) -> inspect.Parameter:
        """The parameter of a command that takes it."""
        hint = self.hint
        if self.choices:  # refused by `check`, so that all ways in say the same
            hint = str | None if self.default is None else str
        # A switch that is on can only be wanted off; one that is off needs no opposite.
        flag = f"{self.flag}/--no-{self.flag[2:]}" if self.default is True else self.flag
        info = typer.Option(
            flag,
            envvar=self.variable,
            help=self.help,
            rich_help_panel=self.panel,
            metavar=self.metavar,
        )
        return inspect.Parameter(
            self.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=self.default,
            annotation=Annotated[hint, info],
        )


def option(
    default: Any,
    help: str,
    *,
    least: int | None = None,
    most: int | None = None,
    panel: str | None = None,
    metavar: str | None = None,
) -> Any:
    """A field of a dataclass that is an option; see `Option`.

    A ``most`` needs a ``least``. The dataclass calls `check_options` in its ``__post_init__``, and
    may name a prefix of environment variables in a class variable ``environment``.
    """
    said = Option(help, least, most, panel, metavar)
    return dataclasses.field(default=default, metadata={_KEY: said})


def declared(options: type) -> Iterator[Option]:
    """The options that a dataclass declares, in order; its other fields are none."""
    hints = get_type_hints(options)
    prefix: str | None = getattr(options, "environment", None)
    for field in dataclasses.fields(options):
        if _KEY in field.metadata:
            hint = hints[field.name]
            yield dataclasses.replace(
                field.metadata[_KEY],
                name=field.name,
                default=field.default,
                variable=None if prefix is None else prefix + field.name.upper(),
                choices=_choices(hint),
                hint=hint,
            )


def _choices(hint: Any) -> tuple[str, ...]:
    if get_origin(hint) is Literal:
        return get_args(hint)
    return next((found for part in get_args(hint) if (found := _choices(part))), ())


def check_options(options: Any, error: Callable[[str], TactfulError] = TactfulError) -> None:
    """Raise ``error`` where the value of an option is out of its bounds; the message names them."""
    for one in declared(type(options)):
        if wrong := one.check(getattr(options, one.name)):
            raise error(wrong)


def takes_options(command: Callable[..., Result]) -> Callable[..., Result]:
    """A command for typer in which each parameter that is a dataclass of options became flags.

    ::

        @takes_options
        def serve(settings: Settings) -> None: ...
    """
    hints = get_type_hints(command, include_extras=True)
    parameters: list[inspect.Parameter] = []
    groups: dict[str, type] = {}
    for name, parameter in inspect.signature(command).parameters.items():
        if dataclasses.is_dataclass(hints[name]):
            groups[name] = hints[name]
            parameters += [one.parameter() for one in declared(hints[name])]
        else:
            kind = inspect.Parameter.KEYWORD_ONLY
            parameters.append(parameter.replace(kind=kind, annotation=hints[name]))

    @functools.wraps(command)
    def run(**given: Any) -> Result:
        for name, options in groups.items():
            given[name] = options(**{one.name: given.pop(one.name) for one in declared(options)})
        return command(**given)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


def options_table(options: type) -> str:
    """The options as a Markdown table: flag, variable, default, what is allowed and what for."""
    rows = []
    for one in declared(options):
        default = "" if one.default in (None, "") else f"`{one.default}`"
        variable = [] if one.variable is None else [f"`{one.variable}`"]
        rows.append([f"`{one.flag}`", *variable, default, one.allowed, one.help])
    head = ["flag", *(["variable"] if "environment" in vars(options) else []), "default"]
    lines = [[*head, "allowed", "what it is for"], ["---"] * (len(head) + 2), *rows]

    def cells(line: list[str]) -> str:
        return " | ".join(cell.replace("|", "\\|") for cell in line)

    return "".join(f"| {cells(line)} |\n" for line in lines)


ReplyArgument = Annotated[
    str | None, typer.Argument(metavar="REPLY", help="The reply; without it, stdin.")
]
ContextOption = Annotated[str | None, typer.Option(help="What the customer said before the reply.")]


def given_reply(reply: str | None, command: str) -> str:
    """The reply of `ReplyArgument`, or standard input.

    Raises:
        InputError: nothing comes in there.
    """
    if reply is not None:
        return reply
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError(
            "reply_missing",
            "no reply was given; pass it as an argument or on standard input: "
            f'tactful {command} "I\'m so sorry, Ana."',
        )
    # A byte order mark at the beginning is no part of the reply.
    return sys.stdin.buffer.read().decode("utf-8-sig", errors="replace").removesuffix("\n")


# `str`, not `Path`: a registry URI is no file name.
BUNDLE_HELP = (
    "The model bundle: a folder, a .bundle.tar.gz archive, models:/tactful@champion or "
    "hf://owner/name."
)
BundleOption = Annotated[
    str,
    typer.Option("--bundle", envvar="TACTFUL_BUNDLE", metavar="DIR", help=BUNDLE_HELP),
]


FORMAT_HELP = (
    "What a reply is: auto finds the marks of mail and HTML and leaves out what is not the agent's "
    "words; text is read as it stands; email and html are looked through whatever they look like."
)
FormatOption = Annotated[
    str, typer.Option("--format", metavar="auto|text|email|html", help=FORMAT_HELP)
]


def _delimiter(text: str | None) -> str | None:
    try:
        return None if text is None else parse_delimiter(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


DELIMITER_HELP = (
    "What parts the cells of a CSV file: a character such as ';', or tab. By default it is found "
    "from the names of the columns."
)
DelimiterOption = Annotated[
    str | None,
    typer.Option("--delimiter", metavar="CHARACTER", help=DELIMITER_HELP, callback=_delimiter),
]

JsonOption = Annotated[
    bool, typer.Option("--json", help="Machine-readable output on stdout, nothing else.")
]
