"""The files of a bundle, read once and held against ``manifest.json``.

What this module returns are the bytes that were hashed; nothing opens the files a second time.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tactful.bundle.archive import read_archive
from tactful.errors import BundleError
from tactful.strict_json import canonical_json, sha256_hex, strict_json

# Raised when an older tactful would misread a newer bundle: a file or a required field is added,
# dropped or changes its meaning. A further informative field of the manifest does not raise it.
FORMAT = 1
MANIFEST = "manifest.json"
CONTENT_FILES = ("model.onnx", "tokenizer.json", "labels.json", "golden.jsonl", "README.md")
FILES = (MANIFEST, *CONTENT_FILES)
MAX_MANIFEST_BYTES = 2**20
MAX_BUNDLE_BYTES = 2**31  # protobuf allows no larger model in a single file
ARCHIVE_SUFFIXES = (".tar.gz", ".tgz")
HOW_TO_GET_ONE = (
    "train one with `tactful train` (in a clone: `make train`), or name a bundle with --bundle "
    "or $TACTFUL_BUNDLE"
)
_REQUIRED: dict[str, type | tuple[type, ...]] = {
    "format": int,
    "name": str,
    "version": str,
    "created": str,
    "golden_tolerance": (int, float),
    "files": dict,
    "digest": str,
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")  # no folder, no '@'; fits a file name


def read_bundle_files(path: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Read and check every file of the bundle in a folder or an archive.

    Returns:
        The manifest, and name to bytes of all `FILES`.

    Raises:
        BundleError: there is no bundle; or it lists every file that is missing, extra, changed or
            no regular file.
    """
    contents, problems = _read(path)
    present = {*contents, *(problem.partition(":")[0] for problem in problems)}
    problems += [f"{name}: missing" for name in FILES if name not in present]
    manifest: dict[str, Any] = {}
    if MANIFEST in contents:
        try:
            manifest = _parse_manifest(contents[MANIFEST])
        except ValueError as error:
            problems.append(f"{MANIFEST}: {error}")
        else:
            problems += _file_problems(manifest["files"], contents)
    if problems:
        raise BundleError(path, problems)
    return manifest, contents


def describe_files(contents: Mapping[str, bytes]) -> dict[str, dict[str, Any]]:
    """The field ``files`` of a manifest: name to size and SHA-256."""
    return {
        name: {"size": len(content), "sha256": sha256_hex(content)}
        for name, content in contents.items()
    }


def manifest_digest(manifest: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical manifest without its field ``digest``."""
    rest = {key: value for key, value in manifest.items() if key != "digest"}
    return sha256_hex(canonical_json(rest))


def manifest_bytes(manifest: Mapping[str, Any]) -> bytes:
    """The content of ``manifest.json``."""
    return canonical_json(manifest) + b"\n"


def check_fields(manifest: object) -> None:
    """Check a manifest's fields, all but whether digest and files are true.

    Raises:
        ValueError: names the field.
    """
    if not isinstance(manifest, dict):
        raise ValueError(f"must hold an object, not {type(manifest).__name__}")
    if manifest.get("format") != FORMAT or isinstance(manifest["format"], bool):
        raise ValueError(
            f"format is {manifest.get('format')!r}; this tactful reads format {FORMAT}: "
            "use a bundle or a tactful that fits the other"
        )
    for key, kinds in _REQUIRED.items():
        if not isinstance(manifest.get(key), kinds) or isinstance(manifest[key], bool):
            raise ValueError(f"{key} is missing or of a wrong type: {manifest.get(key)!r}")
    for key in ("name", "version"):
        if not _NAME.fullmatch(manifest[key]):
            raise ValueError(
                f"{key} is {manifest[key]!r}; allowed: letters, digits, '.', '_', '+', '-'"
            )
    if not 0 < manifest["golden_tolerance"] <= 1:
        raise ValueError(f"golden_tolerance is {manifest['golden_tolerance']}; allowed: 0 to 1")


def _parse_manifest(content: bytes) -> dict[str, Any]:
    if len(content) > MAX_MANIFEST_BYTES:
        raise ValueError(f"has {len(content)} bytes; at most {MAX_MANIFEST_BYTES} are read")
    manifest = strict_json(content)
    check_fields(manifest)
    if content != manifest_bytes(manifest):
        raise ValueError("changed: it is not in its canonical form (sorted keys, no spaces)")
    if manifest["digest"] != manifest_digest(manifest):
        raise ValueError(
            f"changed: its digest is {manifest['digest']!r}, its content has "
            f"{manifest_digest(manifest)}"
        )
    return manifest  # type: ignore[no-any-return]


def _file_problems(listed: Mapping[str, Any], contents: Mapping[str, bytes]) -> list[str]:
    problems = []
    for name in sorted(set(listed) - set(CONTENT_FILES)):
        reason = "a bundle has no such file"
        if name != os.path.basename(name) or name in ("", ".", ".."):
            reason = "only plain file names are allowed, no folders"
        problems.append(f"{MANIFEST}: lists {name!r}; {reason}")
    actual = describe_files(contents)
    for name in CONTENT_FILES:
        if name not in listed:
            problems.append(f"{name}: not listed in {MANIFEST}")
        # As JSON: in Python, 1 == 1.0 == True.
        elif name in contents and canonical_json(listed[name]) != canonical_json(actual[name]):
            problems.append(
                f"{name}: changed: {MANIFEST} says {listed[name]}, it is {actual[name]}"
            )
    return problems


def _read(path: Path) -> tuple[dict[str, bytes], list[str]]:
    """Name to content of the regular files with a known name, and what else is there."""
    try:
        if path.is_dir():
            return _read_folder(path)
        if not path.exists():
            raise BundleError(path, [f"it does not exist; {HOW_TO_GET_ONE}"])
        if path.name.endswith(ARCHIVE_SUFFIXES):
            return read_archive(path, FILES, MAX_BUNDLE_BYTES)
    except (OSError, ValueError) as error:  # ValueError: a damaged archive, a NUL in the path
        raise BundleError(path, [f"cannot be read: {error}"]) from error
    raise BundleError(path, [f"neither a folder nor an archive ({', '.join(ARCHIVE_SUFFIXES)})"])


def _read_folder(folder: Path) -> tuple[dict[str, bytes], list[str]]:
    contents: dict[str, bytes] = {}
    problems = []
    room = MAX_BUNDLE_BYTES
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name not in FILES:
            problems.append(f"{entry.name}: extra; a bundle has only {', '.join(FILES)}")
        elif entry.is_symlink():
            problems.append(f"{entry.name}: a symbolic link; it must be a regular file")
        elif (content := _read_regular(folder / entry.name, room)) is None:
            problems.append(f"{entry.name}: no regular file of at most {room} bytes")
        else:
            contents[entry.name] = content
            room -= len(content)
    return contents, problems


def _read_regular(path: Path, limit: int) -> bytes | None:
    """The content, or None where it is no regular file or larger than the limit."""
    # O_NOFOLLOW: since it was listed it may have become a link; O_NONBLOCK: a pipe never opens.
    flags = os.O_RDONLY
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):
        flags |= getattr(os, name, 0)
    descriptor = os.open(path, flags)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_size > limit:
        os.close(descriptor)
        return None
    with open(descriptor, "rb") as file:
        content = file.read(limit + 1)  # it may grow while it is read
    return content if len(content) <= limit else None
