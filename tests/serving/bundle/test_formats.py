"""Bundles written by earlier versions stay readable; their files are kept as they were written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tactful import Classifier
from tactful.bundle.manifest_check import FORMAT

DATA = Path(__file__).parent / "data"
FORMATS = sorted(DATA.glob("format-*"))


@pytest.mark.parametrize("folder", FORMATS, ids=lambda folder: folder.name)
def test_a_bundle_of_every_format_is_read(folder: Path) -> None:
    classifier = Classifier.load(folder, threads=1)
    assert folder.name == f"format-{classifier.bundle.manifest['format']}"
    reading = classifier.classify("I am so sorry, friend.", "my parcel is late")
    assert [label.label for label in reading.strategies] == ["apology"]
    assert reading.tone.label == "warm"


def test_the_current_format_has_its_bundle() -> None:
    # Raising FORMAT? Keep the older folders and add one, written by this version.
    assert DATA / f"format-{FORMAT}" in FORMATS
