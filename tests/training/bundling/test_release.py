from __future__ import annotations

import hashlib
import shutil

import pytest

import tactful
from tactful import Classifier
from tactful.bundle.loading import Bundle
from tactful_training.bundling.release import main, release_bundle


def test_the_archive_loads_and_its_checksum_is_right(sound_bundle, tmp_path):
    archive = release_bundle(Bundle.load(sound_bundle), tmp_path / "dist")
    assert archive.name == f"tactful-{tactful.__version__}.bundle.tar.gz"
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    checksum = archive.with_name(f"{archive.name}.sha256").read_text("utf-8")
    assert checksum == f"{digest}  {archive.name}\n"
    assert Classifier.load(archive, threads=1).classify("sorry").tone.label


def test_a_damaged_bundle_is_not_released(sound_bundle, tmp_path):
    damaged = shutil.copytree(sound_bundle, tmp_path / "bundle")
    (damaged / "README.md").write_bytes(b"another card")
    with pytest.raises(SystemExit, match=r"README\.md"):
        main(str(damaged), str(tmp_path / "dist"))
    assert not (tmp_path / "dist").exists()
