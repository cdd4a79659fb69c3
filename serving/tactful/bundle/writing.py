"""Writes bundles: aside, verified by loading, then moved in whole."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tactful.bundle.loading import Bundle
from tactful.bundle.manifest_check import (
    CONTENT_FILES,
    FILES,
    FORMAT,
    LEFT_BY_DESKTOPS,
    MANIFEST,
    check_fields,
    describe_files,
    is_ignored,
    manifest_bytes,
    manifest_digest,
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
        return Bundle.load(new, trusted_keys=())  # made here, and signed later if at all
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
    found -= LEFT_BY_DESKTOPS
    others = [name for name in found.difference(FILES) if not is_ignored(name)]
    if others or (found and MANIFEST not in found):
        raise BundleError(
            folder,
            ["exists and is no bundle; it will not be replaced: name another folder or remove it"],
        )


def write_archive(bundle: Bundle, path: Path) -> str:
    """Write a bundle as a ``.tar.gz``; the same bundle gives the same bytes.

    Returns:
        The SHA-256 of the archive.

    Raises:
        BundleError: the disk refuses.
    """
    manifest = bundle.manifest
    content = _archive_bytes(f"{manifest['name']}-{manifest['version']}", bundle.files)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, content)
    except OSError as error:
        raise BundleError(path, [f"cannot be written: {error}"]) from error
    return sha256_hex(content)


def _archive_bytes(folder: str, contents: Mapping[str, bytes]) -> bytes:
    """A ``.tar.gz`` of some files in one folder; the same files give the same bytes."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(contents):
            member = tarfile.TarInfo(f"{folder}/{name}")  # time, owner and group 0 by default
            member.size = len(contents[name])
            archive.addfile(member, io.BytesIO(contents[name]))
    return gzip.compress(plain.getvalue(), mtime=0)
