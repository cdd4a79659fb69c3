"""Command-line options that several commands of training share."""

from __future__ import annotations

from typing import Annotated

import typer

SplitOption = Annotated[str, typer.Option(help="Which rows of a data set; a file is read whole.")]
