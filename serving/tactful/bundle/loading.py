"""A bundle: a verified model with everything that is needed to use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tactful.bundle.addresses import absolute, read_files
from tactful.bundle.goldens import Golden, check_goldens, goldens_from_jsonl
from tactful.bundle.manifest import checked_manifest
from tactful.bundle.onnx_check import external_data
from tactful.errors import BundleError
from tactful.reading.decisions import Heads
from tactful.reading.engine import Engine
from tactful.strict_json import strict_json


@dataclass(frozen=True, eq=False)
class Bundle:
    """A bundle that was loaded and found sound.

    Attributes:
        address: where it was loaded from, in a form that other processes understand: an absolute
            path or an address in MLflow.
        files: name to content of all its files, as they were verified.
        manifest: the content of ``manifest.json``.
        golden: the replies that it reproduced here.
        card: the model card, Markdown.
        engine: the running model.
    """

    address: str
    files: Mapping[str, bytes]
    manifest: Mapping[str, Any]
    golden: tuple[Golden, ...]
    card: str
    engine: Engine

    @property
    def id(self) -> str:
        """Name and the first 12 hex digits of the digest, for example ``tactful@4f1c0a9b2d7e``."""
        return self.engine.bundle

    @property
    def digest(self) -> str:
        """The digest of its manifest, and thereby of all its files."""
        return str(self.manifest["digest"])

    @property
    def heads(self) -> Heads:
        """The content of ``labels.json``: tasks, calibration, thresholds and limits."""
        return self.engine.heads

    @classmethod
    def load(cls, path: str | Path, *, threads: int | None = None) -> Bundle:
        """Verify and open a bundle.

        Args:
            path: a folder, a ``.tar.gz`` archive or a model in MLflow (see `read_files`).
            threads: threads of one run; by default the processors this process may use.

        Raises:
            BundleError: lists what is missing, extra, changed, malformed or not reproduced here.
            ValueError: ``threads`` is below 1.
        """
        files, strange = read_files(path)
        return cls.verified(files, path, strange=strange, threads=threads)

    @classmethod
    def verified(
        cls,
        files: Mapping[str, bytes],
        address: str | Path,
        *,
        strange: Sequence[str] = (),
        threads: int | None = None,
    ) -> Bundle:
        """Verify and open a bundle whose files were read already, here or on another machine.

        Args:
            files: name to content of its files.
            address: where they came from.
            strange: one line for everything else that was found there.
            threads: as of `load`.

        Raises:
            BundleError: as of `load`.
            ValueError: as of `load`.
        """
        if threads is not None and threads < 1:
            raise ValueError(f"threads is {threads}; allowed: 1 or more, or None")
        manifest, problems = checked_manifest(files, strange)
        if problems:
            raise BundleError(address, problems)
        heads, golden, problems = _parse(files)
        if heads is None or problems:
            raise BundleError(address, problems)
        try:
            engine = Engine(
                heads,
                files["tokenizer.json"],
                files["model.onnx"],
                bundle=f"{manifest['name']}@{manifest['digest'][:12]}",
                threads=threads,
            )
            differences = check_goldens(engine, golden, manifest["golden_tolerance"])
        except ValueError as error:
            raise BundleError(address, [str(error)]) from error
        if differences:
            raise BundleError(address, differences + _int8_advice(manifest))
        return cls(absolute(address), files, manifest, golden, files["README.md"].decode(), engine)


def _int8_advice(manifest: Mapping[str, Any]) -> list[str]:
    """What to do where the goldens of an int8 model are not reproduced."""
    if manifest.get("precision") != "int8":
        return []
    made = manifest.get("quantisation")
    where = made.get("processor", "unknown") if isinstance(made, Mapping) else "unknown"
    return [
        f"model.onnx: it is int8 and was measured on {where}; other processors may round "
        "otherwise. Train on a processor like this one (tactful train measures what is fit for "
        "it), or without int8: tactful train --set quantisation.candidates=[]"
    ]


def _parse(
    contents: Mapping[str, bytes],
) -> tuple[Heads | None, tuple[Golden, ...], list[str]]:
    """Everything that can be checked without running the model."""
    problems = []
    heads: Heads | None = None
    golden: tuple[Golden, ...] = ()
    try:
        heads = Heads.from_json(strict_json(contents["labels.json"]))
    except ValueError as error:
        problems.append(f"labels.json: {error}")
    else:
        try:
            golden = goldens_from_jsonl(contents["golden.jsonl"], heads.tasks)
        except ValueError as error:
            problems.append(f"golden.jsonl: {error}")
    try:
        problems += [f"model.onnx: {line}" for line in external_data(contents["model.onnx"])]
    except ValueError as error:
        problems.append(f"model.onnx: {error}")
    try:
        contents["README.md"].decode()
    except UnicodeDecodeError as error:
        problems.append(f"README.md: not UTF-8 (byte {error.start})")
    return heads, golden, problems
