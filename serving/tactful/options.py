"""Command-line options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

# `str`, not `Path`: a registry URI is no file name.
BundleOption = Annotated[
    str,
    typer.Option(
        "--bundle",
        envvar="TACTFUL_BUNDLE",
        metavar="DIR",
        help="The model bundle: a folder, a .bundle.tar.gz archive or models:/tactful@champion.",
    ),
]
DEFAULT_BUNDLE = "models/tactful"

JsonOption = Annotated[
    bool, typer.Option("--json", help="Machine-readable output on stdout, nothing else.")
]
