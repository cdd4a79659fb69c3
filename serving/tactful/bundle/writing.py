"""Writes bundles: aside, verified by loading, then moved in whole."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tactful.bundle.archive import archive_bytes
from tactful.bundle.loading import Bundle
from tactful.bundle.manifest import (
    CONTENT_FILES,
    FILES,
    FORMAT,
    MANIFEST,
    check_fields,
    describe_files,
    manifest_bytes,
    manifest_digest,
    read_bundle_files,
)
from tactful.errors import BundleError
from tactful.storage import aside, replace_folder, write_file
from tactful.strict_json import sha256_hex


def write_bundle(
    folder: Path, *, manifest_fields: Mapping[str, Any], files: Mapping[str, bytes]
) -> str:
    """Write a bundle, verify it by loading it, and put it in the place of an older one.

    The old bundle stays until the new one has been verified; a crash leaves the old or the new
    bundle, never a part of one. (Between two renames neither may stand in its place; the next
    write puts the old one back.)

    Args:
        folder: where the bundle is to be.
        manifest_fields: ``name``, ``version``, ``golden_tolerance`` and informative fields;
            ``format``, ``created``, ``files`` and ``digest`` are added.
        files: name to content of all files but the manifest.

    Returns:
        The bundle's id.

    Raises:
        BundleError: the new bundle cannot be loaded here, the folder holds something that is no
            bundle, or the disk refuses.
    """
    folder = folder.resolve()
    if set(files) != set(CONTENT_FILES):
        raise BundleError(folder, [f"must have exactly the files {', '.join(CONTENT_FILES)}"])
    manifest: dict[str, Any] = {
        **manifest_fields,
        "format": FORMAT,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "files": describe_files(files),
        "digest": "",
    }
    try:
        manifest["digest"] = manifest_digest(manifest)
        check_fields(manifest)
    except ValueError as error:
        raise BundleError(folder, [f"{MANIFEST}: {error}"]) from error
    try:
        bundle = replace_folder(
            folder,
            {**files, MANIFEST: manifest_bytes(manifest)},
            may_replace=_check_replaceable,
            check=lambda new: _load_new(new, folder),
        )
    except OSError as error:
        raise BundleError(folder, [f"cannot be written: {error}"]) from error
    return bundle.id


def _load_new(new: Path, folder: Path) -> Bundle:
    try:
        return Bundle.load(new)
    except BundleError as error:
        raise BundleError(f"built for {folder} (not put there)", error.problems) from error


def check_target(folder: Path) -> None:
    """Refuse a folder that `write_bundle` could not write, before hours of work for it.

    Raises:
        BundleError: it exists and is neither empty nor a bundle, or nothing can be made beside it.
    """
    _check_replaceable(folder)
    try:
        folder = folder.resolve()
        parent = next(parent for parent in folder.parents if parent.exists())
        probe = aside(parent / folder.name, "probe")
        probe.mkdir()
        probe.rmdir()
    except OSError as error:
        raise BundleError(folder, [f"a bundle cannot be written there: {error}"]) from error


def _check_replaceable(folder: Path) -> None:
    try:
        found = set(os.listdir(folder))
    except FileNotFoundError:
        return
    except OSError as error:
        raise BundleError(folder, [f"a bundle cannot be written there: {error}"]) from error
    if found and (MANIFEST not in found or not found <= set(FILES)):
        raise BundleError(
            folder,
            ["exists and is no bundle; it will not be replaced: name another folder or remove it"],
        )


def write_archive(folder: Path, path: Path) -> str:
    """Write the bundle of a folder as a ``.tar.gz``; the same bundle gives the same bytes.

    Returns:
        The SHA-256 of the archive.

    Raises:
        BundleError: the folder's files are not those of its manifest, or the disk refuses.
    """
    manifest, contents = read_bundle_files(folder)
    content = archive_bytes(f"{manifest['name']}-{manifest['version']}", contents)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, content)
    except OSError as error:
        raise BundleError(path, [f"cannot be written: {error}"]) from error
    return sha256_hex(content)
