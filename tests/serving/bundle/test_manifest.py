"""A bundle whose files are not as its manifest records them is refused, and the files are named."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tactful import BundleError, Classifier
from tactful.bundle.loading import Bundle
from tactful.bundle.manifest_check import CONTENT_FILES, FILES

Rehash = Callable[..., None]
Problems = Callable[[Path], str]
IGNORED = (".DS_Store", "Thumbs.db", "desktop.ini", "manifest.json.sig", ".sig")


def test_a_sound_bundle_loads(sound_bundle: Path) -> None:
    bundle = Bundle.load(sound_bundle, threads=1)
    digest = json.loads((sound_bundle / "manifest.json").read_bytes())["digest"]
    assert bundle.id == f"tiny@{digest[:12]}"
    assert [task.name for task in bundle.heads.tasks] == ["strategies", "tone"]
    assert len(bundle.golden) == 4
    assert bundle.card.startswith("# tiny")
    assert bundle.digest == digest
    assert bundle.files == {name: (sound_bundle / name).read_bytes() for name in FILES}


def test_a_bundle_knows_where_it_was_loaded_from(
    sound_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "current").symlink_to(sound_bundle)
    monkeypatch.chdir(tmp_path)
    assert Bundle.load("current", threads=1).address == str(sound_bundle.resolve())


def test_a_link_to_the_folder_is_followed(sound_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(sound_bundle)
    assert Bundle.load(tmp_path / "current", threads=1).manifest["name"] == "tiny"


# Without a matching manifest


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", [0.0, 0.3, 0.5, 0.999])
def test_a_flipped_byte(problems: Problems, bundle_copy: Path, name: str, place: float) -> None:
    content = bytearray((bundle_copy / name).read_bytes())
    content[int(place * len(content))] ^= 1
    (bundle_copy / name).write_bytes(content)
    assert f"{name}: " in problems(bundle_copy)


def test_any_flipped_byte_of_the_manifest(problems: Problems, bundle_copy: Path) -> None:
    content = (bundle_copy / "manifest.json").read_bytes()
    for index in range(len(content)):
        flipped = bytearray(content)
        flipped[index] ^= 1
        (bundle_copy / "manifest.json").write_bytes(flipped)
        assert "manifest.json: " in problems(bundle_copy)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_truncated_file(problems: Problems, bundle_copy: Path, name: str, share: float) -> None:
    content = (bundle_copy / name).read_bytes()
    (bundle_copy / name).write_bytes(content[: int(share * len(content))])
    assert f"{name}: " in problems(bundle_copy)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file(problems: Problems, bundle_copy: Path, name: str) -> None:
    (bundle_copy / name).unlink()
    assert f"{name}: missing" in problems(bundle_copy)


@pytest.mark.parametrize("name", ["model.onnx.data", ".hidden", "manifest.json~"])
def test_an_extra_file(problems: Problems, bundle_copy: Path, name: str) -> None:
    (bundle_copy / name).write_bytes(b"")
    assert f"{name}: extra" in problems(bundle_copy)


@pytest.mark.parametrize("name", IGNORED)
def test_what_desktops_and_signers_leave_is_not_looked_at(
    bundle_copy: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "outside").write_bytes(b"secret")
    for leave in (
        lambda path: path.write_bytes(b"\0"),
        lambda path: path.symlink_to(tmp_path / "outside"),
        lambda path: path.symlink_to(tmp_path / "nowhere"),
        os.mkfifo,
    ):
        leave(bundle_copy / name)
        assert set(Bundle.load(bundle_copy, threads=1).files) == set(FILES)
        (bundle_copy / name).unlink()


@pytest.mark.parametrize("name", [*IGNORED, "ds_store", "manifest.sig.bak"])
def test_a_folder_is_never_ignored_nor_is_any_other_name(
    problems: Problems, bundle_copy: Path, name: str
) -> None:
    (bundle_copy / name).mkdir()
    assert f"{name}: extra" in problems(bundle_copy)


def test_an_extra_folder(problems: Problems, bundle_copy: Path) -> None:
    (bundle_copy / "more").mkdir()
    assert "more: extra" in problems(bundle_copy)


@pytest.mark.parametrize("name", FILES)
def test_a_symbolic_link_to_the_right_content(
    problems: Problems, bundle_copy: Path, name: str, tmp_path: Path
) -> None:
    (bundle_copy / name).rename(tmp_path / name)
    (bundle_copy / name).symlink_to(tmp_path / name)
    message = problems(bundle_copy)
    assert f"{name}: a symbolic link" in message
    assert "missing" not in message


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_name_that_is_no_regular_file(
    problems: Problems, bundle_copy: Path, make: Callable[[Path], None]
) -> None:
    (bundle_copy / "model.onnx").unlink()
    make(bundle_copy / "model.onnx")
    assert "model.onnx: no regular file" in problems(bundle_copy)


def test_all_problems_are_listed_at_once(problems: Problems, bundle_copy: Path) -> None:
    (bundle_copy / "model.onnx").unlink()
    (bundle_copy / "notes.txt").write_bytes(b"")
    (bundle_copy / "README.md").write_bytes(b"other")
    message = problems(bundle_copy)
    assert all(part in message for part in ("model.onnx: missing", "notes.txt: extra"))
    assert "README.md: changed" in message


# The manifest itself


@pytest.mark.parametrize("value", [0, 2, "1", True, 1.0, None])
def test_a_foreign_format(
    problems: Problems, bundle_copy: Path, rehash: Rehash, value: object
) -> None:
    rehash(bundle_copy, format=value)
    message = problems(bundle_copy)
    assert "manifest.json: format is" in message


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "sub/x", "..", "", "x\\y/z"])
def test_a_name_that_leaves_the_folder(
    problems: Problems, bundle_copy: Path, rehash: Rehash, name: str
) -> None:
    (bundle_copy.parent / "x").write_bytes(b"")
    files = json.loads((bundle_copy / "manifest.json").read_bytes())["files"]
    rehash(bundle_copy, files={**files, name: {"size": 0, "sha256": "e3b0"}})
    assert f"manifest.json: lists {name!r}; only plain file names" in problems(bundle_copy)


def test_a_listed_file_that_no_bundle_has(
    problems: Problems, bundle_copy: Path, rehash: Rehash
) -> None:
    files = json.loads((bundle_copy / "manifest.json").read_bytes())["files"]
    rehash(bundle_copy, files={**files, "extra.bin": {"size": 0, "sha256": "e3b0"}})
    assert "manifest.json: lists 'extra.bin'" in problems(bundle_copy)


def test_a_size_that_is_no_whole_number(
    problems: Problems, bundle_copy: Path, rehash: Rehash
) -> None:
    files = json.loads((bundle_copy / "manifest.json").read_bytes())["files"]
    files["README.md"]["size"] *= 1.0
    rehash(bundle_copy, files=files)
    assert "README.md: changed" in problems(bundle_copy)


def test_no_path_is_not_the_working_directory(
    sound_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(sound_bundle)
    with pytest.raises(BundleError, match="does not exist; train one"):
        Bundle.load("")


@pytest.mark.parametrize("name", CONTENT_FILES)
def test_a_file_that_is_not_listed(
    problems: Problems, bundle_copy: Path, rehash: Rehash, name: str
) -> None:
    files = json.loads((bundle_copy / "manifest.json").read_bytes())["files"]
    del files[name]
    rehash(bundle_copy, files=files)
    assert f"{name}: not listed" in problems(bundle_copy)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"name": "../x"}, "name"),
        ({"name": 3}, "name"),
        ({"version": "1/2"}, "version"),
        ({"created": None}, "created"),
        ({"golden_tolerance": 0}, "golden_tolerance"),
        ({"golden_tolerance": 7.5}, "golden_tolerance"),
        ({"golden_tolerance": True}, "golden_tolerance"),
        ({"files": []}, "files"),
    ],
)
def test_a_field_of_the_manifest(
    problems: Problems, bundle_copy: Path, rehash: Rehash, fields: dict[str, Any], named: str
) -> None:
    rehash(bundle_copy, **fields)
    assert f"manifest.json: {named}" in problems(bundle_copy)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"not json",
        b"[]",
        b"null",
        b'{"format":NaN}',
        b'{"format":1,"format":1}',
        b"[" * 100_000,
        b'{"format":' + b"9" * 5000 + b"}",
        b" " * (2**20 + 1),
    ],
    ids=lambda content: f"{content[:16]!r}",
)
def test_a_manifest_that_is_none(problems: Problems, bundle_copy: Path, content: bytes) -> None:
    (bundle_copy / "manifest.json").write_bytes(content)
    assert "manifest.json: " in problems(bundle_copy)


def test_a_manifest_in_another_spelling(problems: Problems, bundle_copy: Path) -> None:
    path = bundle_copy / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()), indent=1), encoding="utf-8")
    assert "manifest.json: changed: it is not in its canonical form" in problems(bundle_copy)


def test_a_digest_that_is_another_ones(problems: Problems, bundle_copy: Path) -> None:
    path = bundle_copy / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b"tests/tiny", b"tests/tinY"))
    assert "manifest.json: changed: its digest" in problems(bundle_copy)


# No bundle at all


@pytest.mark.parametrize("name", ["nothing", "no/thing", "nul\x00byte", "long" * 100])
def test_a_path_without_a_bundle(tmp_path: Path, name: str) -> None:
    with pytest.raises(BundleError):
        Classifier.load(tmp_path / name)


def test_a_missing_bundle_says_how_to_get_one(problems: Problems, tmp_path: Path) -> None:
    message = problems(tmp_path / "models")
    assert all(part in message for part in ("tactful train", "make train", "--bundle"))
    assert "$TACTFUL_BUNDLE" in message


def test_an_empty_folder_and_a_plain_file(problems: Problems, tmp_path: Path) -> None:
    assert "model.onnx: missing" in problems(tmp_path)
    (tmp_path / "file").write_bytes(b"x")
    assert "neither a folder nor an archive" in problems(tmp_path / "file")
