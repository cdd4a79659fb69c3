"""What the commands of training share: options, warnings, the check for the extra ``train``."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import typer

from tactful.errors import MissingExtraError

if TYPE_CHECKING:
    from rich.console import Console

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


def require_train_extra(feature: str) -> None:
    """Check that the extra ``train`` is installed, without importing any of it.

    Args:
        feature: what needs it, as the user calls it, for example ``tactful train``.

    Raises:
        MissingExtraError: a package is missing; the message holds the exact install line.
    """
    if any(find_spec(module) is None for module in _MODULES):
        raise MissingExtraError(feature, EXTRA)


def warn(console: Console, line: str) -> None:
    """Print a warning whole, whatever signs it holds."""
    console.print(f"warning: {line}", style="yellow", highlight=False, markup=False, soft_wrap=True)


SplitOption = Annotated[str, typer.Option(help="Which rows of a data set; a file is read whole.")]
