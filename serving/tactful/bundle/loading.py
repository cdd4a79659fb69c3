"""A bundle: a verified model with everything that is needed to use it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from tactful.bundle.addresses import absolute, read_files
from tactful.bundle.goldens import Golden, check_goldens, goldens_from_jsonl
from tactful.bundle.manifest_check import checked_manifest
from tactful.bundle.onnx_check import external_data
from tactful.bundle.signatures import Keys, check_trusted
from tactful.errors import BundleError
from tactful.reading.decisions import Heads
from tactful.reading.engine import Engine
from tactful.strict_json import strict_json, utf8_text

_T = TypeVar("_T")


@dataclass(frozen=True, eq=False)
class Bundle:
    """A bundle that was loaded and found sound.

    Attributes:
        address: where it was loaded from, in a form that other processes understand: an absolute
            path or an address in MLflow.
        files: name to content of all its files, as they were verified; its signature too.
        manifest: the content of ``manifest.json``.
        golden: the replies that it reproduced here.
        card: the model card, Markdown.
        engine: the running model.
        signed_by: the trusted key that has signed it; None where none was asked for.
    """

    address: str
    files: Mapping[str, bytes]
    manifest: Mapping[str, Any]
    golden: Sequence[Golden]
    card: str
    engine: Engine
    signed_by: Path | None = None

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
    def load(
        cls, path: str | Path, *, threads: int | None = None, trusted_keys: Keys | None = None
    ) -> Bundle:
        """Verify and open a bundle.

        Args:
            path: a folder, a ``.tar.gz`` archive or a model in MLflow (see `read_files`).
            threads: threads of one run; by default the processors this process may use.
            trusted_keys: files of keys and certificates (PEM), one of which must have signed it;
                by default those of ``TACTFUL_TRUSTED_KEYS``, and () for none.

        Raises:
            SignatureError: it is signed by none of the trusted keys, or not as it is.
            BundleError: lists what is missing, extra, changed, malformed or not reproduced here.
            ValueError: ``threads`` is below 1.
        """
        files, strange = read_files(path)
        return cls.verified(
            files, path, strange=strange, threads=threads, trusted_keys=trusted_keys
        )

    @classmethod
    def verified(
        cls,
        files: Mapping[str, bytes],
        address: str | Path,
        *,
        strange: Sequence[str] = (),
        threads: int | None = None,
        trusted_keys: Keys | None = None,
    ) -> Bundle:
        """Verify and open a bundle whose files were read already, here or on another machine.

        Args:
            files: name to content of its files.
            address: where they came from.
            strange: one line for everything else that was found there.
            threads: as of `load`.
            trusted_keys: as of `load`.

        Raises:
            SignatureError: as of `load`.
            BundleError: as of `load`.
            ValueError: as of `load`.
        """
        if threads is not None and threads < 1:
            raise ValueError(f"threads is {threads}; allowed: 1 or more, or None")
        signed_by = check_trusted(address, files, trusted_keys)
        manifest = checked_manifest(address, files, strange)
        heads, golden, card = _parse(address, files)
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
        return cls(absolute(address), files, manifest, golden, card, engine, signed_by)


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


def _parse(address: str | Path, files: Mapping[str, bytes]) -> tuple[Heads, Sequence[Golden], str]:
    """Labels, goldens and card: everything that can be checked without running the model."""
    problems: list[str] = []

    def parsed(name: str, parse: Callable[[bytes], _T]) -> _T | None:
        try:
            return parse(files[name])
        except ValueError as error:
            problems.append(f"{name}: {error}")
            return None

    heads = parsed("labels.json", lambda content: Heads.from_json(strict_json(content)))
    golden: Sequence[Golden] | None = None
    if heads is not None:
        golden = parsed("golden.jsonl", partial(goldens_from_jsonl, tasks=heads.tasks))
    problems += [f"model.onnx: {line}" for line in parsed("model.onnx", external_data) or ()]
    card = parsed("README.md", utf8_text)
    if problems or heads is None or golden is None or card is None:
        raise BundleError(address, problems)
    return heads, golden, card
