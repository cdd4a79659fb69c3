"""What a job is: everything that its result depends on, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tactful
from tactful.batch.formats import Format, Kind
from tactful.output.flat_rows import Scores


@dataclass(frozen=True, slots=True)
class Source:
    """One input file as it was when the job started.

    Attributes:
        path: where it is.
        name: what it is called in messages and fingerprints: relative to the folder given.
        kind: its format and compression.
        size: in bytes.
        modified: nanoseconds since the epoch.
        sha256: of its content.
    """

    path: Path
    name: str
    kind: Kind
    size: int
    modified: int
    sha256: str


DEFAULT_CONTEXT = "context"


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked of a job.

    Attributes:
        reply_column: the column (JSON key) of the reply.
        context_column: that of the context; need not be there.
        scores: which score columns are filled.
        prefix: put before the names of added columns.
        csv_escape: whether CSV cells that a spreadsheet would run get a leading ``'``.
        part_rows: rows of a part.
    """

    reply_column: str = "reply"
    context_column: str = DEFAULT_CONTEXT
    scores: Scores = "all"
    prefix: str = ""
    csv_escape: bool = True
    part_rows: int = 1000


@dataclass(frozen=True, slots=True)
class Target:
    """One file that the job writes.

    Attributes:
        name: of the file inside the output folder; empty where OUTPUT is a file itself.
        kind: its format and compression.
        sources: indices of the input files that make it, in order.
    """

    name: str
    kind: Kind
    sources: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class JobSpec:
    """A job as every worker needs to know it; small enough to be sent anywhere.

    Attributes:
        sources: the input files.
        targets: the files to write; every source belongs to one.
        options: what was asked.
        bundle: where the bundle is.
        digest: the digest of its manifest.
    """

    sources: tuple[Source, ...]
    targets: tuple[Target, ...]
    options: Options
    bundle: str
    digest: str

    def target_of(self, source: int) -> Target:
        """The file that an input file's rows go to."""
        return next(target for target in self.targets if source in target.sources)

    def part_format(self, source: int) -> Format:
        """How parts of an input file are kept: ``parquet`` as Arrow tables, the rest as JSONL."""
        kept = self.sources[source].kind.format == self.target_of(source).kind.format == "parquet"
        return "parquet" if kept else "jsonl"

    def fingerprint(self) -> dict[str, Any]:
        """What must be the same for a job to go on, as JSON; see `differences`."""
        return {
            "tactful": tactful.__version__,
            "bundle": self.digest,
            "input": [[source.name, source.sha256] for source in self.sources],
            "output": [[target.name, target.kind.suffix] for target in self.targets],
            "options": asdict(self.options),
        }


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What changed between two fingerprints, one line each; empty if nothing did."""
    changed = []
    if before["tactful"] != now["tactful"]:
        changed.append(f"tactful was {before['tactful']}, is {now['tactful']}")
    if before["bundle"] != now["bundle"]:
        changed.append(f"the bundle was {before['bundle'][:12]}, is {now['bundle'][:12]}")
    old, new = dict(before["input"]), dict(now["input"])
    changed += [
        f"the input {name} has another content"
        for name in old
        if new.get(name, old[name]) != old[name]
    ]
    changed += [f"the input {name} is gone" for name in old if name not in new]
    changed += [f"the input {name} is new" for name in new if name not in old]
    if not changed and list(old) != list(new):
        changed.append("the input files have another order")
    if before["output"] != now["output"]:
        changed.append("the output is of another format")
    for name, value in now["options"].items():
        if before["options"].get(name) != value:
            changed.append(f"{name} was {before['options'].get(name)!r}, is {value!r}")
    return changed
