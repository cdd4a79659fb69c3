"""``tactful push``, the command."""

from __future__ import annotations

from typing import Annotated

import typer

from tactful.bundle.sign_commands import Bundles


def push(
    bundle: Bundles,
    address: Annotated[
        str,
        typer.Argument(metavar="HF_ADDRESS", help="hf://owner/name, or with @branch."),
    ],
    private: Annotated[
        bool, typer.Option("--private", help="Make the repository a private one, if it is made.")
    ] = False,
) -> None:
    """Put a bundle that loads here on the Hugging Face hub, signature and all (extra hub).

    What it prints is the address of exactly these files.
    """
    from tactful.bundle.hub_store import upload
    from tactful.bundle.loading import Bundle

    loaded = Bundle.load(bundle)
    typer.echo(upload(address, loaded.id, loaded.files, private=private))
