"""What the commands of training share: options, warnings, the check for the extra ``train``."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tactful.errors import MissingExtraError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

EXTRA = "train"
_MODULES = (
    "accelerate",
    "datasets",
    "matplotlib",
    "mlflow",
    "onnx",
    "pandas",
    "psutil",
    "pyarrow",
    "pydantic",
    "safetensors",
    "sklearn",
    "torch",
    "transformers",
    "yaml",
)


# What the extra `data` brings beside them.
_DATA_MODULES = ("cleanlab", "jinja2", "markupsafe", "phonenumbers", "stdnum")


def require_train_extra(feature: str, more: Literal["data"] | None = None) -> None:
    """Check that the extra ``train`` is installed, without importing any of it.

    Args:
        feature: what needs it, as the user calls it, for example ``tactful train``.
        more: a further extra that it needs.

    Raises:
        MissingExtraError: a package is missing; the message holds the exact install line.
    """
    modules = _MODULES if more is None else (*_MODULES, *_DATA_MODULES)
    if any(find_spec(module) is None for module in modules):
        raise MissingExtraError(feature, EXTRA if more is None else f"{EXTRA},{more}")


def warn(console: Console, line: str) -> None:
    """Print a warning whole, whatever signs it holds."""
    console.print(f"warning: {line}", style="yellow", highlight=False, markup=False, soft_wrap=True)


def show(
    as_json: bool,
    content: Callable[[], Mapping[str, Any]],
    table: Callable[[], RenderableType | str],
    *,
    soft_wrap: bool = False,
) -> None:
    """Print a result on standard output: as JSON, or as a table or text for people."""
    if as_json:
        typer.echo(json.dumps(content(), ensure_ascii=False, allow_nan=False, indent=2))
        return
    from rich.console import Console

    shown = table()
    if isinstance(shown, str):
        typer.echo(shown)
    else:
        Console().print(shown, soft_wrap=soft_wrap)


DataOption = Annotated[
    str,
    typer.Option(
        metavar="FOLDER_OR_FILE",
        help="A data set (folder with a card), or a .jsonl, .csv or .parquet file of rows.",
    ),
]
SplitOption = Annotated[str, typer.Option(help="Which rows of a data set; a file is read whole.")]
SliceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--slice",
        metavar="COLUMN",
        help="Slice the rows by this column only (may be repeated); without it, by context, "
        "reply_length and every column of few values.",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY.PATH=VALUE",
        help="Change one setting, for example training.epochs=3; may be repeated.",
    ),
]
