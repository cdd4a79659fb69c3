"""Command-line options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

# `str`, not `Path`: later forms of a bundle's address (a registry URI) are no file names.
BundleOption = Annotated[
    str,
    typer.Option(
        "--bundle",
        envvar="TACTFUL_BUNDLE",
        metavar="DIR",
        help="The model bundle: a folder or a .bundle.tar.gz archive.",
    ),
]
DEFAULT_BUNDLE = "models/tactful"

JsonOption = Annotated[
    bool, typer.Option("--json", help="Machine-readable output on stdout, nothing else.")
]
