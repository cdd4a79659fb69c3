"""What runs on systems without ``fcntl``: imports, a label, a batch job, a bundle, locks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

PROGRAM = """
import importlib, pkgutil, sys
from pathlib import Path
import tactful
from tactful import Classifier, batch

bundle, folder = Path(sys.argv[1]), Path(sys.argv[2])
for module in pkgutil.walk_packages(tactful.__path__, "tactful."):
    importlib.import_module(module.name)
classifier = Classifier.load(bundle)
assert classifier.classify("I am so sorry").strategies[0].label == "apology"
(folder / "in.jsonl").write_text('{"reply": "sorry"}\\n' * 5)
assert batch.score(folder / "in.jsonl", folder / "out.jsonl", bundle, part_rows=2).rows == 5

from tactful.bundle.manifest_check import MANIFEST
from tactful.bundle.writing import write_bundle
from tactful.storage import locked
files = {path.name: path.read_bytes() for path in bundle.iterdir() if path.name != MANIFEST}
fields = {"name": "tiny", "version": "0.1.0", "golden_tolerance": 0.001}
write_bundle(folder / "models" / "copy", manifest_fields=fields, files=files)
with locked(folder / "lock"):
    try:
        with locked(folder / "lock", refusal=ValueError("held")):
            pass
    except ValueError:
        print("refused")
from filelock import FileLock
print(FileLock.__name__, *sorted(path.name for path in folder.rglob("*") if path.is_file()))
"""


def test_all_runs_without_fcntl(
    tmp_path: Path, sound_bundle: Path, without_fcntl: Callable[..., list[str]]
) -> None:
    refused, found = without_fcntl(PROGRAM, sound_bundle, tmp_path)
    assert refused == "refused"
    assert found.split()[0] == "SoftFileLock"
    assert set(found.split()[1:]) == {
        "README.md", "done.json", "golden.jsonl", "in.jsonl", "labels.json", "manifest.json",
        "model.onnx", "out.jsonl", "tokenizer.json",
    }  # fmt: skip
