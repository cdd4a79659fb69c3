"""Signatures of bundles: who made these very files (extra ``sign``).

A signature is that of OpenSSF Model Signing, in its own format, in the file ``model.sig`` beside
the files of a bundle; `model_signing` from the command line makes and verifies the same. The
manifest finds damage, which anybody could hide by writing another manifest; the signature finds
forgery, as long as the private key is its owner's alone.

Format: https://github.com/sigstore/model-transparency (in-toto statement, DSSE, Sigstore bundle).
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from tactful.bundle.manifest_check import FILES, SIGNATURE
from tactful.errors import MissingExtraError, SignatureError, TactfulError
from tactful.strict_json import sha256_hex

VARIABLE = "TACTFUL_TRUSTED_KEYS"
Keys = str | Path | Sequence[str | Path]


def check_trusted(
    address: object, files: Mapping[str, bytes], given: Keys | None = None
) -> Path | None:
    """The trusted key that has signed the files of a bundle; None where none is asked for.

    Args:
        address: where they came from.
        files: name to content, ``model.sig`` among them.
        given: as of `trusted_keys`.

    Raises:
        SignatureError: as of `check_signature`, and the others that it names.
    """
    keys = trusted_keys(given)
    return check_signature(address, files, keys) if keys else None


def trusted_keys(given: Keys | None) -> tuple[Path, ...]:
    """The files of the keys that a bundle must be signed by one of; empty where none is asked for.

    Args:
        given: a file or several; None for those that the environment variable
            ``TACTFUL_TRUSTED_KEYS`` names, parted as in PATH.

    Raises:
        TactfulError: the variable is set and names no file.
    """
    if given is None:
        text = os.environ.get(VARIABLE)
        if text is None:
            return ()
        given = [name for name in text.split(os.pathsep) if name.strip()]
        # Often a secret that was not filled in: it must not let every bundle in.
        if not given:
            raise TactfulError(
                f"${VARIABLE} is set and empty; it must name the files of the keys that bundles "
                "are signed by, or be unset where signatures are not asked for"
            )
    return (Path(given),) if isinstance(given, str | Path) else tuple(map(Path, given))


def check_signature(address: object, files: Mapping[str, bytes], keys: Sequence[Path]) -> Path:
    """The key that has signed the files of a bundle.

    Args:
        address: where they came from.
        files: name to content, ``model.sig`` among them.
        keys: PEM files of elliptic public keys or of certificates (a root, with what stands
            between it and the signer).

    Raises:
        SignatureError: there is no signature, or it is by none of the keys, or of other files.
        TactfulError: a file of ``keys`` holds no such key.
        MissingExtraError: the library is not installed.
    """
    names = ", ".join(map(str, keys))
    verifiers = {key: _verifier(key) for key in keys}
    if SIGNATURE not in files:
        raise SignatureError(
            address,
            [f"{SIGNATURE}: missing; only bundles signed by one of these are taken here: {names}"],
        )
    problems = []
    with _written(address, files) as (folder, signature):
        for key, verifier in verifiers.items():
            try:
                with contextlib.redirect_stdout(sys.stderr):  # where the library prints warnings
                    verifier.verify(folder, signature)
            except Exception as error:  # whatever a hostile file makes it raise is a refusal
                reason = _reason(error)
                if reason.startswith("Signature mismatch"):  # raised once it is known to be theirs
                    changed = ", ".join(_changed(files)) or "other files"
                    reason = f"it signs other content than this of: {changed}"
                problems.append(f"{SIGNATURE}: not verified by {key}: {reason}")
                continue
            left_out = sorted({*FILES}.difference(_covered(files[SIGNATURE])))
            if not left_out:
                return key
            problems.append(f"{SIGNATURE}: does not cover {', '.join(left_out)}; sign it anew")
    raise SignatureError(address, problems)


def signature_of(
    address: object,
    files: Mapping[str, bytes],
    key: Path,
    *,
    certificate: Path | None = None,
    chain: Sequence[Path] = (),
) -> bytes:
    """A signature of the files of a bundle: the content of its ``model.sig``.

    Args:
        address: of the bundle; the last part of it stands in the signature.
        files: name to content.
        key: PEM file of an elliptic private key (P-256, P-384 or P-521), not encrypted.
        certificate: PEM file of the certificate of that key, where there is one.
        chain: PEM files of the certificates between that one and a root.

    Raises:
        TactfulError: the key cannot sign, or the certificate is not that of the key.
        MissingExtraError: the library is not installed.
    """
    config = _library("signing").Config()
    try:
        if certificate is None:
            config.use_elliptic_key_signer(private_key=key)
        else:
            # Without a chain the library would read an empty file as one that is no PEM.
            config.use_certificate_signer(
                private_key=key,
                signing_certificate=certificate,
                certificate_chain=chain or [certificate],
            )
        with _written(address, files) as (folder, signature):
            config.sign(folder, signature)
            return signature.read_bytes()
    except (OSError, ValueError, TypeError, AttributeError) as error:  # of a key of another kind
        given = key if certificate is None else f"{key} with {certificate}"
        raise TactfulError(
            f"the key {given} cannot sign: {_reason(error)}; it must be an elliptic private key "
            f"(P-256, P-384 or P-521) in a PEM file without a password, for example: openssl "
            "ecparam -name prime256v1 -genkey -noout -out key.pem"
        ) from error


def _verifier(key: Path) -> Any:
    try:
        content = key.read_bytes()
    except OSError as error:
        raise TactfulError(f"the trusted key {key} cannot be read: {error}") from error
    config = _library("verifying").Config()
    try:
        if b"-----BEGIN CERTIFICATE-----" in content:
            return config.use_certificate_verifier(certificate_chain=[key])
        return config.use_elliptic_key_verifier(public_key=key)
    except (ValueError, TypeError, AttributeError) as error:  # of a key of another kind
        raise TactfulError(
            f"the trusted key {key} holds neither a certificate nor an elliptic public key in PEM; "
            "of a private key the public one is made by: openssl ec -in key.pem -pubout"
        ) from error


def _library(module: str) -> Any:
    try:
        return import_module(f"model_signing.{module}")
    except ModuleNotFoundError as error:
        raise MissingExtraError("a signature", "sign") from error


@contextlib.contextmanager
def _written(address: object, files: Mapping[str, bytes]) -> Iterator[tuple[Path, Path]]:
    """A folder of the files as they were read, and the place of their signature.

    The library reads folders; what it reads must be the bytes that will be loaded, not what lies
    at the address by then.
    """
    with tempfile.TemporaryDirectory(prefix="tactful-signature-") as place:
        folder = Path(place, Path(str(address)).name or "bundle")
        folder.mkdir()
        for name, content in files.items():
            (Path(place) if name == SIGNATURE else folder).joinpath(name).write_bytes(content)
        yield folder, Path(place, SIGNATURE)


def _covered(signature: bytes) -> dict[str, str]:
    """The files that a signature, verified before, speaks of: name to digest."""
    payload = json.loads(signature)["dsseEnvelope"]["payload"]
    resources = json.loads(base64.b64decode(payload))["predicate"]["resources"]
    return {resource["name"]: resource["digest"] for resource in resources}


def _changed(files: Mapping[str, bytes]) -> list[str]:
    """The files that are not as their signature, verified before, says."""
    signed = _covered(files[SIGNATURE])
    names = {*signed, *files} - {SIGNATURE}
    return sorted(name for name in names if signed.get(name) != sha256_hex(files.get(name, b"")))


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
