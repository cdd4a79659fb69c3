"""The folder beside OUTPUT where a job keeps what it has done: it survives being killed.

``.OUTPUT.tactful/`` holds ``lock``, ``job.json`` (the fingerprint), ``parts/`` and
``journal.jsonl``, whose every line says that a part is whole and on the disk. When the job is
over only ``lock`` and ``done.json`` are left, by which the same command knows its work.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from tactful.batch.durable import (
    Sink,
    json_bytes,
    parsed,
    read_json,
    write_synced,
    writing,
)
from tactful.batch.errors import JobError
from tactful.batch.parts import Part
from tactful.batch.report import PartReport
from tactful.batch.spec import differences
from tactful.disk import sync_folder


@dataclass(frozen=True, slots=True)
class Entry:
    """A committed part, as the journal has it."""

    part: Part
    report: PartReport
    size: int
    sha256: str


class Workspace:
    """The work folder of one OUTPUT, locked while it is open; a context manager.

    Args:
        output: what the job will write.

    Attributes:
        folder: the work folder.
        made: where OUTPUT is put together.
        stdin: where standard input is kept.
        last: the last committed part, or None.
        report: what became of all committed rows.

    Raises:
        JobError: another job holds it, or it cannot be made.
    """

    def __init__(self, output: Path) -> None:
        self._output = output
        self.folder = output.parent / f".{output.name}.tactful"
        self._parts = self.folder / "parts"
        self._journal = self.folder / "journal.jsonl"
        self._job = self.folder / "job.json"
        self._done = self.folder / "done.json"
        self.made = self.folder / "made"
        self.stdin = self.folder / "stdin"
        self._replaced = self.folder / "replaced"
        self.last: Part | None = None
        self.report = PartReport()
        self._lock = self._locked()

    def _locked(self) -> int:
        path = self.folder / "lock"
        with writing(self.folder):
            while True:
                self.folder.mkdir(parents=True, exist_ok=True)
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError as error:
                    os.close(descriptor)
                    raise JobError(
                        f"another job is writing {self._output}; wait for it, or name another "
                        "OUTPUT"
                    ) from error
                # Whoever held it may have removed the folder; then this lock is nobody's.
                with contextlib.suppress(FileNotFoundError):
                    if os.fstat(descriptor).st_ino == path.stat().st_ino:
                        return descriptor
                os.close(descriptor)

    def __enter__(self) -> Workspace:
        return self

    def __exit__(self, *_: object) -> None:
        committed = self._journal.exists() and self._journal.stat().st_size
        if not committed and not self._done.exists():
            shutil.rmtree(self.folder, ignore_errors=True)  # nothing was done: leave nothing
        os.close(self._lock)

    def finished(self, fingerprint: Mapping[str, Any]) -> PartReport | None:
        """The report of the job if OUTPUT is what it made; None otherwise."""
        done = read_json(self._done)
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
        job = read_json(self._job)
        if job is None or not differences(job, fingerprint):
            self._clear()  # killed after the last rename
        return PartReport.from_json(done["report"])

    @property
    def has_record(self) -> bool:
        """Whether an earlier job made OUTPUT."""
        return self._done.exists()

    def made_files(self) -> set[str]:
        """The files of an output folder that an earlier job made."""
        done = read_json(self._done)
        return set() if done is None else set(done["files"])

    def begin(self, fingerprint: Mapping[str, Any], *, overwrite: bool) -> None:
        """Go on where the same job was left, or start.

        Args:
            fingerprint: of the job.
            overwrite: whether the work of another job may be thrown away.

        Raises:
            JobError: another job's parts lie here; it says what differs.
        """
        before = read_json(self._job)
        if before is not None:
            self._load_journal()
            changed = differences(before, fingerprint)
            if changed and self.last is not None and not overwrite:
                listed = "".join(f"\n  - {line}" for line in changed)
                raise JobError(
                    f"{self._output} was begun by another job, of which {self.report.rows} rows "
                    f"are done:{listed}\nGive its command again to finish it, or start anew with "
                    "--overwrite"
                )
            if not changed:
                return
        self.last, self.report = None, PartReport()
        with writing(self.folder):
            self._clear(self._job, self._journal, self._parts, self.made)
            self._parts.mkdir()
            self._journal.touch()
            write_synced(self._job, json_bytes(fingerprint))

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
        aside = path.with_suffix(".new")
        sink = Sink(aside)
        try:
            report = write(cast(BinaryIO, sink))
            sink.close()
        except BaseException:
            sink.discard()
            raise
        entry = {
            "part": asdict(part),
            "report": report.to_json(),
            "size": sink.size,
            "sha256": sink.digest.hexdigest(),
        }
        with writing(path):
            os.replace(aside, path)
            sync_folder(self._parts)
        with writing(self._journal), self._journal.open("ab") as journal:
            journal.write(json_bytes(entry))
            journal.flush()
            os.fsync(journal.fileno())
        self.last = part
        self.report.add(report)
        return report

    def entries(self) -> Iterator[Entry]:
        """The committed parts, in order."""
        return (entry for entry, _ in self._journal_lines())

    def part_path(self, entry: Entry) -> Path:
        """The file of a committed part."""
        return self._part(entry.part.index)

    def finish(self, fingerprint: Mapping[str, Any], files: Mapping[str, Sink]) -> None:
        """Put `made` in the place of OUTPUT and drop the parts.

        Args:
            fingerprint: of the job.
            files: name to written file, as in a target.
        """
        done = {
            "fingerprint": fingerprint,
            "files": {name: [sink.size, sink.digest.hexdigest()] for name, sink in files.items()},
            "report": self.report.to_json(),
        }
        with writing(self._output):
            write_synced(self._done, json_bytes(done))
            if self._output.is_dir():
                os.rename(self._output, self._replaced)
            os.replace(self.made, self._output)
            sync_folder(self._output.parent)
        self._clear()

    def _part(self, index: int) -> Path:
        return self._parts / f"{index:08}.part"

    def _clear(self, *paths: Path) -> None:
        """Remove these, or all that a finished job does not need; the job's name goes first."""
        everything = (self._job, self._journal, self._parts, self.made, self.stdin, self._replaced)
        for path in paths or everything:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

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
                content = parsed(line) if line.endswith(b"\n") else None
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
