"""Bundles on the Hugging Face hub: how they come from it and go to it (extra ``hub``).

An address is ``hf://owner/name`` or ``hf://owner/name@revision`` (a branch, a tag or a commit).
Cache, tokens, proxies and offline mode are those of huggingface_hub and its variables (``HF_HOME``,
``HF_TOKEN``, ``HF_HUB_OFFLINE``, ``HF_ENDPOINT``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from tactful.bundle.manifest_check import FILES, MANIFEST, MAX_BUNDLE_BYTES, SIGNATURE
from tactful.errors import BundleError, MissingExtraError

SCHEME = "hf://"
_ADDRESS = re.compile(r"hf://(?P<name>[\w.-]+/[\w.-]+)(@(?P<revision>[^\s@]+))?", re.ASCII)


def download(address: str) -> dict[str, bytes]:
    """The files of a bundle on the hub, name to content; nothing of them is checked yet.

    Raises:
        BundleError: the address is none, the hub does not answer or does not know it, or there is
            no bundle.
        MissingExtraError: huggingface_hub is not installed.
    """
    name, revision = _parts(address)
    hub = _library()
    try:
        folder = Path(
            hub.snapshot_download(
                name,
                revision=revision,
                allow_patterns=[*FILES, SIGNATURE],
                library_name="tactful",
            )
        )
        if not (folder / MANIFEST).is_file():
            raise BundleError(address, [f"no bundle of tactful: the repository has no {MANIFEST}"])
        # Files of the cache are links to others in it.
        found = {each: folder / each for each in (*FILES, SIGNATURE)}
        present = {each: path for each, path in found.items() if path.is_file()}
        if sum(path.stat().st_size for path in present.values()) > MAX_BUNDLE_BYTES:
            raise BundleError(address, [f"has more than {MAX_BUNDLE_BYTES} bytes"])
        return {each: path.read_bytes() for each, path in present.items()}
    except BundleError:
        raise
    except Exception as error:  # the library's own, those of its HTTP client, OSErrors
        raise BundleError(address, [_reason(hub, error)]) from error


def upload(address: str, bundle_id: str, files: Mapping[str, bytes], *, private: bool) -> str:
    """Put the files of a bundle on the hub in one commit; the repository is made where missing.

    A signature that lies there and is not among them goes: it would be one of other files.

    Args:
        address: ``hf://owner/name``, or with ``@branch``.
        bundle_id: what the commit is called by.
        files: name to content of all that the bundle has.
        private: whether a repository that is made here is to be a private one.

    Returns:
        The address with the commit as its revision, which names these very files for good.

    Raises:
        BundleError: the address is none, or the hub refuses.
        MissingExtraError: huggingface_hub is not installed.
    """
    name, branch = _parts(address)
    hub = _library()
    api = hub.HfApi(library_name="tactful")
    try:
        # Not asked to exist already: a token that may write here need not be one that may make.
        if not api.repo_exists(name):
            api.create_repo(name, private=private)
        operations = [hub.CommitOperationAdd(path, content) for path, content in files.items()]
        if SIGNATURE not in files and api.file_exists(name, SIGNATURE, revision=branch):
            operations.append(hub.CommitOperationDelete(SIGNATURE))
        commit = api.create_commit(
            name, operations, commit_message=f"Bundle {bundle_id}", revision=branch
        )
        return f"{SCHEME}{name}@{commit.oid}"
    except Exception as error:  # the library's own, those of its HTTP client, OSErrors
        raise BundleError(address, [_reason(hub, error)]) from error


def _parts(address: str) -> tuple[str, str | None]:
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise BundleError(address, ["no address of the hub; allowed: hf://owner/name[@revision]"])
    return match["name"], match["revision"]


def _library() -> Any:
    try:
        return import_module("huggingface_hub")
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"a bundle at {SCHEME}", "hub") from error


def _reason(hub: Any, error: Exception) -> str:
    """What the hub would not do, and what to do about it; the library's own words beside it."""
    kinds = hub.errors
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, kinds.RevisionNotFoundError):
        told = "there is no such revision; name a branch, a tag or a commit"
    elif isinstance(error, kinds.RepositoryNotFoundError):
        told = "there is no such repository, or the token (HF_TOKEN) may not see it"
    elif status in (401, 403):
        told = (
            "the hub refused the token, or asks for one: set HF_TOKEN to a token that may do this "
            "(hf auth login)"
        )
    elif isinstance(error, kinds.OfflineModeIsEnabled | kinds.LocalEntryNotFoundError):
        told = (
            "the hub cannot be reached (no network, or HF_HUB_OFFLINE is set) and the cache does "
            "not have it"
        )
    elif any(kind.__name__ == "TransportError" for kind in type(error).__mro__):
        # Of the HTTP client, which is not the same one in all versions of the library.
        told = (
            "the hub cannot be reached; check the network, the proxies' variables and HF_ENDPOINT"
        )
    else:
        told = f"the hub failed ({type(error).__name__})"
    text = str(error).strip().splitlines()
    return f"{told}: {text[0]}" if text else told
