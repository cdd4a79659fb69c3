"""What ``manifest.json`` says of a bundle's files, and whether it is true of some bytes."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tactful.errors import BundleError
from tactful.strict_json import canonical_json, sha256_hex, strict_json

# Raised when an older tactful would misread a newer bundle: a file or a required field is added,
# dropped or changes its meaning. A further informative field of the manifest does not raise it.
FORMAT = 1
MANIFEST = "manifest.json"
CONTENT_FILES = ("model.onnx", "tokenizer.json", "labels.json", "golden.jsonl", "README.md")
FILES = (MANIFEST, *CONTENT_FILES)
SIGNATURE = "model.sig"  # beside them, where there is one
LEFT_BY_DESKTOPS = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
MAX_MANIFEST_BYTES = 2**20
MAX_SIGNATURE_BYTES = 2**20
MAX_BUNDLE_BYTES = 2**31  # protobuf allows no larger model in a single file
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


def is_ignored(name: str) -> bool:
    """Whether a file beside those of a bundle is none of its business: left by a desktop, or a
    signature of the bundle, which cannot be part of what it signs.
    """
    return name in LEFT_BY_DESKTOPS or name.endswith(".sig")


def checked_manifest(
    address: object, files: Mapping[str, bytes], strange: Sequence[str]
) -> dict[str, Any]:
    """The manifest among the files of a bundle, all of which are as it says.

    Args:
        address: where they came from.
        files: name to content.
        strange: one line, which begins with its name, for whatever else is there.

    Raises:
        BundleError: has those lines, and one for every file that is missing, changed or not listed.
    """
    present = {*files, *(line.partition(":")[0] for line in strange)}
    problems = [*strange, *(f"{name}: missing" for name in FILES if name not in present)]
    manifest: dict[str, Any] = {}
    if MANIFEST in files:
        try:
            manifest = _parse_manifest(files[MANIFEST])
        except ValueError as error:
            problems.append(f"{MANIFEST}: {error}")
        else:
            problems += _file_problems(manifest["files"], files)
    if problems:
        raise BundleError(address, problems)
    return manifest


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
