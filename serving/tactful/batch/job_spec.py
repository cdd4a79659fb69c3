"""What a job is: what can be asked of it, what its result depends on, its parts and rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import tactful
from tactful.batch.table_formats import Format, Kind
from tactful.csv_dialect import parse_delimiter
from tactful.errors import InputError, JobError
from tactful.options import DELIMITER_HELP, FORMAT_HELP, check_options, option
from tactful.output.flat_rows import Scores
from tactful.own_words.formats import Format as ReplyFormat

STANDARD = "-"
DEFAULT_CONTEXT = "context"


@dataclass(frozen=True)
class ResultOptions:
    """What the rows of OUTPUT depend on: a job goes on with the same ones only.

    Raises:
        JobError: names the value that is not allowed.
    """

    reply_column: str = option("reply", "The column (JSON key) of the reply.")
    context_column: str = option(
        DEFAULT_CONTEXT,
        "The column of what the customer said; it may be missing unless another one is named.",
    )
    format: ReplyFormat = option("auto", FORMAT_HELP)
    notes: bool = option(
        False,
        "Add the columns skipped (what was left out of a reply and why) and language_doubtful.",
    )
    scores: Scores = option(
        "all", "Which score columns are filled: none, those of decided labels, or all."
    )
    prefix: str = option("", "Put before the names of the added columns.")
    csv_escape: bool = option(
        True, "Put ' before CSV cells that a spreadsheet would run as a formula."
    )
    part_rows: int = option(1000, "Rows of a part: what is committed at once.", least=1)
    delimiter: str | None = option(None, DELIMITER_HELP, metavar="CHARACTER")

    def __post_init__(self) -> None:
        check_options(self, JobError)
        if self.delimiter is not None:
            try:
                object.__setattr__(self, "delimiter", parse_delimiter(self.delimiter))
            except ValueError as error:
                raise JobError(str(error)) from error


@dataclass(frozen=True)
class RunOptions:
    """How a job is run; its rows are the same with all of them.

    Raises:
        JobError: names the value that is not allowed.
    """

    input_format: Format | None = option(
        None,
        "jsonl, csv or parquet, where INPUT's name does not say it; of a pipe its beginning does.",
    )
    output_format: Format | None = option(
        None, "The same for OUTPUT; stdout is JSONL otherwise, a folder has the formats of INPUT."
    )
    max_errors: int | None = option(None, "Stop when more rows than this have failed.", least=0)
    overwrite: bool = option(
        False, "Replace OUTPUT, and drop what another job began there or what was damaged."
    )
    engine: Literal["local", "ray"] = option("local", "local, or ray for Ray Data (extra ray).")
    ray_address: str | None = option(
        None, "The Ray cluster to join; by default one is started on this machine."
    )
    ray_actors: int | None = option(
        None, "Classifiers that Ray keeps; by default as many as it sees fit.", least=1
    )

    def __post_init__(self) -> None:
        check_options(self, JobError)


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
        digest: that of the bundle's manifest.
    """

    sources: tuple[Source, ...]
    targets: tuple[Target, ...]
    options: ResultOptions
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


@dataclass(frozen=True, slots=True)
class Part:
    """Where some rows of one input file stand; small enough to be sent anywhere.

    Attributes:
        index: its place in the job, from 0.
        source: which input file, from 0.
        start: where it starts in its file: uncompressed bytes, or rows of a Parquet file.
        stop: where the next part starts.
        first: number of its first line, from 1 (Parquet: row).
        next_first: number of the first line after it.
        rows: how many rows it holds, blank lines not counted.
        read: bytes of the (compressed) file up to its end, roughly; for progress.
    """

    index: int
    source: int
    start: int
    stop: int
    first: int
    next_first: int
    rows: int
    read: int


@dataclass(frozen=True, slots=True)
class Row:
    """One input row.

    Attributes:
        reply: the value in the reply column, of whatever type; None where there is none.
        context: likewise.
        columns: all input columns; None where the row could not be taken apart.
        raw: the row as JSON text where it came as such, to be passed on to the letter.
        line: the text of a row that could not be taken apart.
        error: why the row cannot be read, where that is known already.
    """

    reply: object = None
    context: object = None
    columns: Mapping[str, Any] | None = None
    raw: bytes | None = None
    line: str | None = None
    error: InputError | None = None
