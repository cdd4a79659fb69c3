from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tactful import BundleError, Classifier
from tactful.bundle import addresses
from tactful.bundle.manifest_check import FILES

Problems = Callable[[Path], str]
Member = tuple[str, bytes | str, bytes]


def pack(path: Path, members: list[Member]) -> Path:
    """Each member is (name, content or link target, tar type)."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content, kind in members:
            member = tarfile.TarInfo(name)
            member.type = kind
            if isinstance(content, str):
                member.linkname = content
                archive.addfile(member)
            else:
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture
def members(sound_bundle: Path) -> list[Member]:
    return [(name, (sound_bundle / name).read_bytes(), tarfile.REGTYPE) for name in FILES]


@pytest.mark.parametrize("prefix", ["", "./", "tiny-0.1.0/", "./tiny/"])
def test_files_at_the_root_or_in_one_folder(
    tmp_path: Path, members: list[Member], prefix: str
) -> None:
    folder: list[Member] = [(prefix.rstrip("/"), b"", tarfile.DIRTYPE)] if prefix else []
    packed = folder + [(prefix + name, content, kind) for name, content, kind in members]
    classifier = Classifier.load(pack(tmp_path / "b.tar.gz", packed), threads=1)
    assert classifier.classify("I am sorry").strategies[0].label == "apology"


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        (("../x", b"", tarfile.REGTYPE), "../x: absolute names"),
        (("/tmp/x", b"", tarfile.REGTYPE), "/tmp/x: absolute names"),
        (("a/../../x", b"", tarfile.REGTYPE), "a/../../x: absolute names"),
        (("/model.onnx", b"", tarfile.REGTYPE), "/model.onnx: absolute names"),
        (("notes.txt", b"", tarfile.REGTYPE), "notes.txt: extra"),
        (("more", b"", tarfile.DIRTYPE), "more: extra"),
        (("more/deep", b"", tarfile.DIRTYPE), "more/deep: extra"),
        (("a/b/model.onnx", b"", tarfile.REGTYPE), "a/b/model.onnx: extra"),
        (("link", "model.onnx", tarfile.SYMTYPE), "link: extra"),
        (("model.onnx", b"", tarfile.REGTYPE), "model.onnx: twice"),
    ],
)
def test_a_member_too_many(
    problems: Problems, tmp_path: Path, members: list[Member], extra: Member, named: str
) -> None:
    assert named in problems(pack(tmp_path / "b.tar.gz", [*members, extra]))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_a_link_in_a_files_place(
    problems: Problems, tmp_path: Path, members: list[Member], kind: bytes
) -> None:
    changed = [m if m[0] != "model.onnx" else (m[0], "/etc/passwd", kind) for m in members]
    message = problems(pack(tmp_path / "b.tar.gz", changed))
    assert "model.onnx: a link or no regular file" in message


def test_files_in_several_folders(
    problems: Problems, tmp_path: Path, members: list[Member]
) -> None:
    moved = [
        (f"{index}/{name}", content, kind) for index, (name, content, kind) in enumerate(members)
    ]
    assert "several folders" in problems(pack(tmp_path / "b.tar.gz", moved))


def test_a_missing_and_a_changed_file(
    problems: Problems, tmp_path: Path, members: list[Member]
) -> None:
    members = [(n, b"x" if n == "README.md" else c, k) for n, c, k in members if n != "model.onnx"]
    message = problems(pack(tmp_path / "b.tar.gz", members))
    assert "model.onnx: missing" in message
    assert "README.md: changed" in message


@pytest.mark.parametrize("content", [b"", b"no gzip", gzip.compress(b"no tar" * 200, mtime=0)])
def test_a_file_that_is_no_archive(problems: Problems, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "b.tar.gz").write_bytes(content)
    problems(tmp_path / "b.tar.gz")


@pytest.mark.parametrize("place", [0.3, 0.6, 0.99])
def test_a_damaged_archive(
    problems: Problems, tmp_path: Path, members: list[Member], place: float
) -> None:
    content = bytearray(pack(tmp_path / "b.tar.gz", members).read_bytes())
    truncated = content[: int(place * len(content))]
    (tmp_path / "b.tar.gz").write_bytes(truncated)
    assert "the archive is damaged" in problems(tmp_path / "b.tar.gz")
    content[int(place * len(content))] ^= 0xFF
    (tmp_path / "b.tar.gz").write_bytes(content)
    problems(tmp_path / "b.tar.gz")


def test_an_archive_that_unpacks_to_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = pack(tmp_path / "b.tar.gz", [("model.onnx", bytes(2**22), tarfile.REGTYPE)])
    assert bomb.stat().st_size < 2**13
    monkeypatch.setattr(addresses, "MAX_BUNDLE_BYTES", 2**20)
    with pytest.raises(BundleError, match="unpacks to more"):
        addresses.read_files(bomb)
    monkeypatch.setattr(addresses, "MAX_BUNDLE_BYTES", 2**23)
    contents, _ = addresses.read_files(bomb)
    assert len(contents["model.onnx"]) == 2**22


@pytest.mark.parametrize("place", ["", "tiny/"])
def test_what_desktops_and_signers_leave_is_not_unpacked(
    tmp_path: Path, members: list[Member], place: str
) -> None:
    files = [(f"tiny/{name}", content, kind) for name, content, kind in members]
    left: list[Member] = [
        (f"{place}.DS_Store", b"x", tarfile.REGTYPE),
        (f"{place}Thumbs.db", "/etc/passwd", tarfile.SYMTYPE),
        (f"{place}manifest.json.sig", b"x", tarfile.REGTYPE),
    ]
    contents, strange = addresses.read_files(pack(tmp_path / "b.tar.gz", [*left, *files]))
    assert set(contents) == set(FILES)
    assert strange == []
