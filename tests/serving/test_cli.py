from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

TACTFUL = f"exec '{sys.executable}' -m tactful.cli"


def shell(line: str, bundle: Path, stdin: bytes = b"") -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a shell line in which ``tactful`` is the command."""
    done = subprocess.run(
        ["sh", "-c", line.replace("tactful", TACTFUL, 1)],
        input=stdin,
        capture_output=True,
        check=False,
        env={"TACTFUL_BUNDLE": str(bundle), "OMP_NUM_THREADS": "1"},
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_a_reply_from_standard_input_without_its_byte_order_mark(sound_bundle: Path) -> None:
    code, out, err = shell("tactful label --json", sound_bundle, b"\xef\xbb\xbfsorry\n")
    assert (code, err) == (0, "")
    [strategy] = json.loads(out)["labels"]["strategies"]
    assert strategy["evidence"] == [{"start": 0, "end": 5, "text": "sorry"}]


def test_closed_standard_input_is_no_reply(sound_bundle: Path) -> None:
    code, out, err = shell("tactful label --json <&-", sound_bundle)
    assert (code, out) == (2, "")
    assert err.startswith("error: no reply was given")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("option", ["", "--json"])
def test_a_full_disk_is_one_line(sound_bundle: Path, option: str) -> None:
    code, _, err = shell(f"tactful label sorry {option} >/dev/full", sound_bundle)
    assert code == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("option", ["", "--json"])
def test_a_closed_pipe_is_quiet(sound_bundle: Path, option: str) -> None:
    line = f"(sleep 0.2; tactful label sorry {option}) | true"
    assert shell(line, sound_bundle) == (0, "", "")


def test_an_empty_bundle_name(sound_bundle: Path) -> None:
    code, _, err = shell("tactful label sorry --bundle ''", sound_bundle)
    assert code == 2
    assert "train one with `tactful train`" in err


def test_the_format_of_a_reply(sound_bundle: Path) -> None:
    mail = "so sorry\n> thank you"
    code, out, _ = shell(f"tactful label --json '{mail}'", sound_bundle)
    assert code == 0
    assert json.loads(out)["skipped"] == [{"start": 9, "end": 20, "why": "quoted"}]
    code, out, _ = shell(f"tactful label --json --format text '{mail}'", sound_bundle)
    assert json.loads(out)["skipped"] == []
    code, out, err = shell(f"tactful label --format pdf '{mail}'", sound_bundle)
    assert (code, out) == (2, "")
    assert "format is 'pdf', allowed: 'auto', 'text', 'email', 'html'" in err
