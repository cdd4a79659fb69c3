"""The folder beside OUTPUT where a job keeps what it has done: it survives being killed.

``.OUTPUT.tactful/`` holds ``lock``, ``job.json`` (the fingerprint), ``parts/`` and
``journal.jsonl``, whose every line says that a part is whole and on the disk. When the job is
over only ``done.json`` is left, by which the same command knows its work.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from tactful.batch.job_progress_and_summary import PartReport
from tactful.batch.job_spec import Part, differences
from tactful.errors import JobError
from tactful.storage import (
    SyncedFile,
    append_synced,
    locked,
    sync_folder,
    write_file,
    written_aside,
)
from tactful.strict_json import strict_json

_COPY = 1 << 20
_DONE = "done.json"


def was_made(output: Path) -> bool:
    """Whether an earlier job made OUTPUT, if it is there."""
    return (_folder_of(output) / _DONE).exists()


def _folder_of(output: Path) -> Path:
    return output.parent / f".{output.name}.tactful"


@dataclass(frozen=True, slots=True)
class Entry:
    """A committed part, as the journal has it."""

    part: Part
    report: PartReport
    size: int
    sha256: str


class DamagedError(JobError):
    """The work of a job is not what was written; only ``--overwrite`` helps."""


_UNREADABLE = (
    DamagedError, FileNotFoundError, AttributeError, KeyError, TypeError, ValueError
)  # fmt: skip


class Workspace:
    """The work folder of one OUTPUT, locked while it is open; a context manager.

    Args:
        output: what the job will write.

    Attributes:
        folder: the work folder.
        made: where OUTPUT is put together.
        stream: where an input that can be read but once is kept.
        last: the last committed part, or None.
        report: what became of all committed rows.

    Raises:
        JobError: another job holds it, or it cannot be made.
    """

    def __init__(self, output: Path) -> None:
        self._output = output
        self.folder = _folder_of(output)
        self._parts = self.folder / "parts"
        self._journal = self.folder / "journal.jsonl"
        self._job = self.folder / "job.json"
        self._done = self.folder / _DONE
        self.made = self.folder / "made"
        self.stream = self.folder / "stdin"
        self._replaced = self.folder / "replaced"
        self._lock = self.folder / "lock"
        self._lasting = (self._done, self.stream, self._replaced)
        self.last: Part | None = None
        self.report = PartReport()
        self._held = contextlib.ExitStack()

    def __enter__(self) -> Workspace:
        refusal = JobError(
            f"another job is writing {self._output}; wait for it, or name another OUTPUT"
        )
        with writing(self.folder):
            self._held.enter_context(locked(self._lock, refusal=refusal))
        return self

    def __exit__(self, *_: object) -> None:
        committed = self._journal.exists() and self._journal.stat().st_size
        if not committed and not self._done.exists():
            with contextlib.suppress(OSError):
                self._clear(keep=())  # nothing was done: leave nothing
        self._held.close()
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def finished(self, fingerprint: Mapping[str, Any]) -> PartReport | None:
        """The report of the job if OUTPUT is what it made; None otherwise."""
        done = self._record()
        if done is None or differences(done["fingerprint"], fingerprint):
            return None
        for name, (size, sha256) in done["files"].items():
            path = self._output / name if name else self._output
            with contextlib.suppress(OSError):
                if path.stat().st_size == size:
                    with path.open("rb") as file:
                        if hashlib.file_digest(file, "sha256").hexdigest() == sha256:
                            continue
            return None
        job = _read_json(self._job)
        if job is None or not differences(job, fingerprint):
            self._clear()  # killed after the last rename
        return PartReport.from_json(done["report"])

    def made_files(self) -> set[str]:
        """The files of an output folder that an earlier job made."""
        done = self._record()
        return set() if done is None else set(done["files"])

    def _record(self) -> dict[str, Any] | None:
        done = _read_json(self._done)
        whole = isinstance(done, dict) and {"fingerprint", "files", "report"} <= done.keys()
        return done if whole else None

    def begin(self, fingerprint: Mapping[str, Any], *, overwrite: bool) -> None:
        """Go on where the same job was left, or start.

        Args:
            fingerprint: of the job.
            overwrite: whether the work of another job, or damaged work, may be thrown away.

        Raises:
            JobError: another job's parts lie here; it says what differs.
            DamagedError: what lies here cannot be read.
        """
        before = _read_json(self._job)
        if before is not None:
            try:
                self._load_journal()
                changed = differences(before, fingerprint)
                if overwrite and not changed:
                    self._check_parts()
            except _UNREADABLE as error:
                if not overwrite:
                    raise DamagedError(
                        f"what an earlier job left in {self.folder} cannot be read; start anew: "
                        "--overwrite"
                    ) from error
                changed = ["it was damaged"]
            if changed and self.last is not None and not overwrite:
                listed = "".join(f"\n  - {line}" for line in changed)
                raise JobError(
                    f"{self._output} was begun by another job, of which {self.report.rows} rows "
                    f"are done:{listed}\nGive its command again to finish it, or start anew with "
                    "--overwrite"
                )
            if not changed:
                self._clear(keep=(self._job, self._journal, self._parts, *self._lasting))
                return
        self.last, self.report = None, PartReport()
        with writing(self.folder):
            self._clear(keep=self._lasting)
            self._parts.mkdir()
            self._journal.touch()
            write_file(self._job, _json_line(fingerprint))

    def _check_parts(self) -> None:
        for entry in self.entries():
            deque(self.content(entry), maxlen=0)

    def forget(self) -> None:
        """Throw the work away: no command can go on with it."""
        self.last = None
        self._clear()

    def commit(self, part: Part, write: Callable[[BinaryIO], PartReport]) -> PartReport:
        """Write a part, and have it on the disk before the journal says so.

        Args:
            part: the part.
            write: writes its content and says what became of its rows.
        """
        path = self._part(part.index)
        with writing(path), written_aside(path) as file:
            report = write(cast(BinaryIO, file))
        entry = {
            "part": asdict(part),
            "report": report.to_json(),
            "size": file.size,
            "sha256": file.sha256,
        }
        with writing(self._journal):
            append_synced(self._journal, _json_line(entry))
        self.last = part
        self.report.add(report)
        return report

    def entries(self) -> Iterator[Entry]:
        """The committed parts, in order."""
        return (entry for entry, _ in self._journal_lines())

    def content(self, entry: Entry) -> Iterator[bytes]:
        """What was written for a committed part, in pieces.

        Raises:
            DamagedError: it is not what was written.
        """
        path, digest = self._part(entry.part.index), hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(_COPY):
                digest.update(chunk)
                yield chunk
        if digest.hexdigest() != entry.sha256:
            raise DamagedError(f"{path} was changed after it was written; start anew: --overwrite")

    def finish(self, fingerprint: Mapping[str, Any], files: Mapping[str, SyncedFile]) -> None:
        """Put `made` in the place of OUTPUT and drop the parts.

        Args:
            fingerprint: of the job.
            files: name to written file, as in a target.
        """
        done = {
            "fingerprint": fingerprint,
            "files": {name: [file.size, file.sha256] for name, file in files.items()},
            "report": self.report.to_json(),
        }
        with writing(self._output):
            write_file(self._done, _json_line(done))
            if self._output.is_dir():
                _remove(self._replaced)
                os.rename(self._output, self._replaced)
            os.replace(self.made, self._output)
            sync_folder(self._output.parent)
        self._clear()

    def _part(self, index: int) -> Path:
        return self._parts / f"{index:08}.part"

    def _clear(self, keep: Sequence[Path] | None = None) -> None:
        """Remove all but these (or what a finished job needs); the job's name goes first."""
        keep = (self._done,) if keep is None else keep
        for path in sorted(self.folder.iterdir(), key=lambda path: path != self._job):
            if path not in (self._lock, *keep):
                _remove(path)

    def _load_journal(self) -> None:
        """Take up what is committed; a torn last line and files without a line are dropped."""
        whole = count = 0
        for entry, end in self._journal_lines():
            self.last = entry.part
            self.report.add(entry.report)
            whole, count = end, count + 1
        with writing(self._journal):
            os.truncate(self._journal, whole)
        known = {self._part(index).name for index in range(count)}
        for path in self._parts.iterdir():
            if path.name not in known:
                path.unlink()

    def _journal_lines(self) -> Iterator[tuple[Entry, int]]:
        """Entries that are whole, with their part there, and where each line ends."""
        end = 0
        with self._journal.open("rb") as journal:
            for number, line in enumerate(journal):
                end += len(line)
                content = _parsed(line) if line.endswith(b"\n") else None
                if content is None:
                    return
                entry = Entry(
                    Part(**content["part"]),
                    PartReport.from_json(content["report"]),
                    content["size"],
                    content["sha256"],
                )
                path = self._part(number)
                if not path.exists() or path.stat().st_size != entry.size:
                    return
                yield entry, end


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what a full disk or a closed folder raises into a message with the path."""
    try:
        yield
    except OSError as error:
        raise JobError(f"{path} cannot be written: {error.strerror or error}") from error


def _json_line(value: object) -> bytes:
    """A line of JSON in ASCII, as names may hold what UTF-8 cannot."""
    return json.dumps(value).encode() + b"\n"


def _read_json(path: Path) -> Any:
    """The content of a small file; None where it is missing or torn."""
    try:
        return _parsed(path.read_bytes())
    except FileNotFoundError:
        return None


def _parsed(content: bytes) -> Any:
    """JSON; None where it is torn."""
    try:
        return strict_json(content)
    except ValueError:
        return None
