"""``tactful sign`` and ``tactful verify``, the commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tactful.bundle.manifest_check import SIGNATURE
from tactful.errors import BundleError, SignatureError, TactfulError
from tactful.storage import write_file

Bundles = Annotated[str, typer.Argument(metavar="BUNDLE", help="The model bundle.")]


def sign(
    bundle: Bundles,
    key: Annotated[
        Path, typer.Option(help="An elliptic private key, PEM, without a password.", metavar="FILE")
    ],
    certificate: Annotated[
        Path | None, typer.Option(help="The certificate of the key, PEM.", metavar="FILE")
    ] = None,
    chain: Annotated[
        list[Path] | None,
        typer.Option(
            help="A certificate between that one and the root, PEM; may be given again.",
            metavar="FILE",
        ),
    ] = None,
) -> None:
    """Sign a bundle that loads here: writes model.sig into its folder (extra sign)."""
    from tactful.bundle.loading import Bundle
    from tactful.bundle.signatures import signature_of

    folder = Path(bundle)
    if not folder.is_dir():
        raise BundleError(bundle, ["only a folder can be signed; an archive is made of it later"])
    loaded = Bundle.load(folder, trusted_keys=())
    files = {name: content for name, content in loaded.files.items() if name != SIGNATURE}
    signature = signature_of(loaded.address, files, key, certificate=certificate, chain=chain or ())
    write_file(folder / SIGNATURE, signature)
    typer.echo(f"signed {loaded.id}: {folder / SIGNATURE}")


def verify(
    bundle: Bundles,
    key: Annotated[
        list[Path] | None,
        typer.Option(
            help="A public key or a certificate, PEM, that the bundle may be signed by; may be "
            "given again. By default those of $TACTFUL_TRUSTED_KEYS.",
            metavar="FILE",
        ),
    ] = None,
) -> None:
    """Say whether a bundle loads here and is signed by a trusted key (extra sign)."""
    from tactful.bundle.loading import Bundle
    from tactful.bundle.signatures import VARIABLE, trusted_keys

    keys = trusted_keys(key or None)
    if not keys:
        raise TactfulError(f"no key was given; name one with --key or in ${VARIABLE}")
    try:
        loaded = Bundle.load(bundle, trusted_keys=keys)
    except SignatureError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    typer.echo(f"{loaded.id} is signed by {loaded.signed_by}")
