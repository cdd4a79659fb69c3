from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tactful import BundleError
from tactful.bundle.loading import Bundle
from tactful.bundle.writing import check_target, write_archive, write_bundle

Parts = dict[str, bytes]
Fields = dict[str, Any]


def tree(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def broken(parts: Parts) -> Parts:
    return {**parts, "golden.jsonl": parts["golden.jsonl"].replace(b"0.98", b"0.18", 1)}


def test_a_bundle_is_written_with_its_parents(
    tmp_path: Path, bundle_parts: Parts, manifest_fields: Fields
) -> None:
    folder = tmp_path / "models" / "deep" / "tiny"
    written = write_bundle(folder, manifest_fields=manifest_fields, files=bundle_parts)
    bundle = Bundle.load(folder, threads=1)
    assert bundle.id == written
    assert bundle.manifest["format"] == 1
    assert bundle.manifest["encoder"] == manifest_fields["encoder"]
    assert bundle.manifest["created"].endswith("+00:00")
    assert os.listdir(folder.parent) == ["tiny"]


def test_files_are_readable_by_others(sound_bundle: Path) -> None:
    mask = os.umask(0)
    os.umask(mask)
    assert sound_bundle.stat().st_mode & 0o777 == 0o777 & ~mask
    assert (sound_bundle / "model.onnx").stat().st_mode & 0o777 == 0o666 & ~mask


def test_a_new_bundle_replaces_the_old_one(
    bundle_copy: Path, bundle_parts: Parts, manifest_fields: Fields
) -> None:
    fields = {**manifest_fields, "version": "0.2.0"}
    write_bundle(bundle_copy, manifest_fields=fields, files=bundle_parts)
    assert Bundle.load(bundle_copy, threads=1).manifest["version"] == "0.2.0"
    assert os.listdir(bundle_copy.parent) == [bundle_copy.name]


def test_the_old_bundle_stays_where_the_new_one_does_not_load(
    bundle_copy: Path, bundle_parts: Parts, manifest_fields: Fields
) -> None:
    before = tree(bundle_copy)
    with pytest.raises(BundleError, match=r"golden\.jsonl: line 1") as caught:
        write_bundle(bundle_copy, manifest_fields=manifest_fields, files=broken(bundle_parts))
    assert f"built for {bundle_copy}" in str(caught.value)
    assert tree(bundle_copy) == before
    assert os.listdir(bundle_copy.parent) == [bundle_copy.name]


def test_through_a_link_the_folder_behind_it_is_replaced(
    bundle_copy: Path, bundle_parts: Parts, manifest_fields: Fields
) -> None:
    link = bundle_copy.parent / "current"
    link.symlink_to(bundle_copy)
    written = write_bundle(link, manifest_fields=manifest_fields, files=bundle_parts)
    assert link.is_symlink()
    assert Bundle.load(bundle_copy, threads=1).id == written


@pytest.mark.parametrize("file", ["notes.txt", "manifest.json~", "model.onnx"])
def test_a_folder_that_is_no_bundle_is_left_alone(
    tmp_path: Path, bundle_parts: Parts, manifest_fields: Fields, file: str
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / file).write_bytes(b"precious")
    for refuse in (
        lambda folder: check_target(folder),
        lambda folder: write_bundle(folder, manifest_fields=manifest_fields, files=bundle_parts),
    ):
        with pytest.raises(BundleError, match="is no bundle"):
            refuse(tmp_path / "mine")
    assert tree(tmp_path / "mine") == {file: b"precious"}


@pytest.mark.parametrize("name", [".DS_Store", "Thumbs.db", "manifest.json.sig"])
def test_a_bundle_is_replaced_with_what_was_left_beside_it(
    bundle_copy: Path, bundle_parts: Parts, manifest_fields: Fields, name: str
) -> None:
    (bundle_copy / name).write_bytes(b"x")
    check_target(bundle_copy)
    fields = {**manifest_fields, "version": "0.2.0"}
    write_bundle(bundle_copy, manifest_fields=fields, files=bundle_parts)
    assert Bundle.load(bundle_copy, threads=1).manifest["version"] == "0.2.0"


def test_signatures_alone_are_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / ".DS_Store").write_bytes(b"x")
    check_target(tmp_path / "mine")
    (tmp_path / "mine" / "contract.pdf.sig").write_bytes(b"x")
    with pytest.raises(BundleError, match="is no bundle"):
        check_target(tmp_path / "mine")


def test_a_file_in_the_way(tmp_path: Path, bundle_parts: Parts, manifest_fields: Fields) -> None:
    (tmp_path / "file").write_bytes(b"x")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(BundleError, match="cannot be written"):
            write_bundle(folder, manifest_fields=manifest_fields, files=bundle_parts)


def test_a_place_that_cannot_be_written_is_found_at_once(tmp_path: Path) -> None:
    for folder in (tmp_path / ("x" * 240), tmp_path / "missing" / ("x" * 240)):
        with pytest.raises(BundleError, match="a bundle cannot be written there"):
            check_target(folder)  # no room in the name for a folder beside it
    check_target(tmp_path / "missing" / "fine")
    assert os.listdir(tmp_path) == []


def test_an_empty_folder_is_a_free_place(
    tmp_path: Path, bundle_parts: Parts, manifest_fields: Fields
) -> None:
    check_target(tmp_path / "free")
    (tmp_path / "free").mkdir()
    check_target(tmp_path / "free")
    write_bundle(tmp_path / "free", manifest_fields=manifest_fields, files=bundle_parts)
    assert os.listdir(tmp_path) == ["free"]


def test_after_a_crash_between_the_renames_the_old_bundle_comes_back(
    bundle_copy: Path, bundle_parts: Parts, manifest_fields: Fields
) -> None:
    before = tree(bundle_copy)
    bundle_copy.rename(bundle_copy.with_name(".copy.old-1234"))
    shutil.copytree(bundle_copy.with_name(".copy.old-1234"), bundle_copy.with_name(".copy.new-1"))
    with pytest.raises(BundleError):
        write_bundle(bundle_copy, manifest_fields=manifest_fields, files=broken(bundle_parts))
    assert tree(bundle_copy) == before
    assert os.listdir(bundle_copy.parent) == ["copy"]


def test_leftovers_of_a_crash_are_removed(
    bundle_copy: Path, bundle_parts: Parts, manifest_fields: Fields
) -> None:
    for name in (".copy.old-1", ".copy.new-2", ".other.new-3"):
        bundle_copy.with_name(name).mkdir()
    write_bundle(bundle_copy, manifest_fields=manifest_fields, files=bundle_parts)
    assert sorted(os.listdir(bundle_copy.parent)) == [".other.new-3", "copy"]


def test_a_writer_killed_at_any_moment_leaves_a_whole_bundle_or_none(
    sound_bundle: Path, tmp_path: Path
) -> None:
    program = """
import json, sys
from pathlib import Path
from tactful.bundle.writing import write_bundle
source, target = map(Path, sys.argv[1:])
fields = {"name": "tiny", "version": "0.1.0", "golden_tolerance": 0.001}
files = {path.name: path.read_bytes() for path in source.iterdir() if path.name[0] != "m"}
files["model.onnx"] = (source / "model.onnx").read_bytes()
print("ready", flush=True)
while True:
    write_bundle(target, manifest_fields=fields, files=files)
    print("written", flush=True)
"""
    target = tmp_path / "models" / "tiny"
    for writes in (0, 1, 3):
        with subprocess.Popen(
            [sys.executable, "-c", program, sound_bundle, target],
            stdout=subprocess.PIPE,
            text=True,
        ) as writer:
            assert writer.stdout is not None
            for _ in range(1 + writes):
                writer.stdout.readline()
            writer.send_signal(signal.SIGKILL)
        if target.exists():
            Bundle.load(target, threads=1)
    # Between two renames the old bundle stands aside, whole.
    assert target.exists() or len(list(target.parent.glob(".tiny.old-*"))) == 1


@pytest.mark.parametrize(
    "change", [{"name": "a/b"}, {"golden_tolerance": 2}, {"metrics": {"f1": float("nan")}}]
)
def test_manifest_fields_that_are_wrong(
    tmp_path: Path, bundle_parts: Parts, manifest_fields: Fields, change: Fields
) -> None:
    fields = {**manifest_fields, **change}
    with pytest.raises(BundleError, match=r"manifest\.json"):
        write_bundle(tmp_path / "b", manifest_fields=fields, files=bundle_parts)
    assert os.listdir(tmp_path) == []


def test_files_that_are_not_those_of_a_bundle(
    tmp_path: Path, bundle_parts: Parts, manifest_fields: Fields
) -> None:
    files = {**bundle_parts, "extra.bin": b""}
    with pytest.raises(BundleError, match="exactly the files"):
        write_bundle(tmp_path / "b", manifest_fields=manifest_fields, files=files)


def test_a_written_archive_is_the_same_every_time(sound_bundle: Path, tmp_path: Path) -> None:
    first = write_archive(Bundle.load(sound_bundle, threads=1), tmp_path / "out" / "a.tar.gz")
    os.utime(sound_bundle / "model.onnx", (1, 1))
    second = write_archive(Bundle.load(sound_bundle, threads=1), tmp_path / "out" / "b.tar.gz")
    assert first == second
    one, other = ((tmp_path / "out" / name).read_bytes() for name in ("a.tar.gz", "b.tar.gz"))
    assert one == other
    assert sorted(os.listdir(tmp_path / "out")) == ["a.tar.gz", "b.tar.gz"]


def test_the_archive_of_a_bundle_is_that_bundle(sound_bundle: Path, tmp_path: Path) -> None:
    write_archive(Bundle.load(sound_bundle, threads=1), tmp_path / "tiny-0.1.0.bundle.tar.gz")
    bundle = Bundle.load(tmp_path / "tiny-0.1.0.bundle.tar.gz", threads=1)
    manifest = json.loads((sound_bundle / "manifest.json").read_bytes())
    assert bundle.manifest == manifest
