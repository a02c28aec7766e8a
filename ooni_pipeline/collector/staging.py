"""What lies on disk of the reports that are open, and the steps by which each gets into the archive.

Of an open report ``ID`` there are its journal ``ID.entries`` and, made after it, its side file ``ID.json``.
Each step leaves a state that says by itself what is next, so that whoever finds it, the next call or the
next process, goes on from there:

    ID.entries                        made, nobody was told: removed where it is empty, else damaged
    ID.entries  ID.json               open
    ID.entries  ID.json  ID.done      YAML, the whole report is written: it only has to be moved
                ID.json  ID.done      the same
                ID.json               it is in the archive, or it had no entry
    *.part                            half a file of ours
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from ooni_pipeline.bucket.files import flush, open_plain, rename_new
from ooni_pipeline.collector import journal
from ooni_pipeline.collector.descriptors import Descriptors
from ooni_pipeline.collector.header import ReportHeader, read_side_file
from ooni_pipeline.collector.layout import CollectorLayout
from ooni_pipeline.collector.refusals import DamagedError
from ooni_pipeline.collector.yaml_header import framed

SIDE, ENTRIES, DONE, PART = ".json", ".entries", ".done", ".part"


class Staging:
    """The files of open reports. Everything blocks; for one report there is one caller at a time.

    Each method that changes something has it on disk, flushed, when it returns.
    """

    def __init__(self, layout: CollectorLayout, clock: Callable[[], float]) -> None:
        self.layout = layout
        self._clock = clock
        self._place = str(layout.staging)
        self._descriptors = Descriptors()

    def path(self, report_id: str, suffix: str) -> Path:
        return self.layout.staging / f"{report_id}{suffix}"

    def create(self, report_id: str, header: ReportHeader) -> None:
        """Open a report. What fails leaves nothing that the next process would take for one with entries."""
        part = self.path(report_id, SIDE + PART)
        try:
            os.close(journal.new_file(self.path(report_id, ENTRIES)))
            _write_new(part, [header.as_side_file(report_id)])
            part.rename(self.path(report_id, SIDE))
            flush(self.layout.staging)
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
                self.forget(report_id)
            raise

    def append(self, report_id: str, length: int, lines: list[bytes]) -> int:
        """Write lines after the first ``length`` bytes; returns the new length. Raises as journal.append."""
        descriptor = self._descriptors.take(report_id)
        if descriptor is None:
            descriptor = journal.open_journal(f"{self._place}/{report_id}{ENTRIES}")
        try:
            return journal.append(descriptor, length, b"".join(lines))
        finally:
            self._descriptors.give(report_id, descriptor)

    def header(self, report_id: str) -> ReportHeader:
        """What the side file says. Raises DamagedError."""
        try:
            with open_plain(self.path(report_id, SIDE)) as file:
                return read_side_file(file.read(), report_id)
        except ValueError:
            raise DamagedError("its side file is damaged") from None
        except FileNotFoundError:
            raise DamagedError("its side file is gone") from None

    def archive(self, report_id: str, length: int | None = None) -> bool:
        """Take the steps that are left. True: it is in the archive; False: it had no entry and is gone.

        ``length`` is that of the journal, to be given at the first attempt: DamagedError where it has
        another one. Raises OSError, and then it can be tried again.
        """
        self._descriptors.close(report_id)
        header = self.header(report_id)
        entries, done = self.path(report_id, ENTRIES), self.path(report_id, DONE)
        found = entries
        if header.format == "yaml" and done.exists():
            found = done
        elif entries.exists():
            size = entries.stat().st_size
            if length is not None and size != length:
                raise DamagedError("its journal has another length than was written")
            if not size:
                self.forget(report_id)
                return False
            if header.format == "yaml":
                self._write_done(report_id, header)
                found = done
        elif length is not None:
            raise DamagedError("its journal is gone")
        if found is done:
            entries.unlink(missing_ok=True)
            flush(self.layout.staging)
        if found.exists():
            self._stamp(found)
            self._into_archive(found, header, report_id)
            flush(self.layout.archive)
            flush(self.layout.staging)
        self.path(report_id, SIDE).unlink()
        return True

    def submit(self, report_id: str, header: ReportHeader, line: bytes) -> None:
        """Archive a report of one entry, without its ever having been open."""
        part = self.path(report_id, PART)
        content = [line] if header.format == "json" else [_begin(header), _document(line)]
        _write_new(part, content)
        try:
            self._stamp(part)
            self._into_archive(part, header, report_id)
        except OSError:
            part.unlink(missing_ok=True)
            raise
        flush(self.layout.archive)

    def close(self) -> None:
        """Keep no file open."""
        self._descriptors.close_all()

    def forget(self, report_id: str) -> None:
        """Remove a report without entries. The journal goes first: a side file alone is a finished one."""
        self.path(report_id, ENTRIES).unlink(missing_ok=True)
        self.path(report_id, SIDE).unlink(missing_ok=True)

    def quarantine(self, report_id: str) -> None:
        """Move all that is there of a damaged report out of the way; nothing is deleted.

        The side file goes first: alone it would be that of a finished report, and be removed.
        """
        self._descriptors.close(report_id)
        for suffix in (SIDE, DONE, ENTRIES):
            with contextlib.suppress(FileNotFoundError):
                self.set_aside(self.path(report_id, suffix))

    def set_aside(self, path: Path) -> None:
        """Move one file into quarantine. Never over another one."""
        place = free_place(self.layout.quarantine, path.name)
        rename_new(path, place)
        flush(self.layout.quarantine)
        flush(self.layout.staging)

    def _write_done(self, report_id: str, header: ReportHeader) -> None:
        part = self.path(report_id, DONE + PART)
        part.unlink(missing_ok=True)  # of an attempt that failed
        with open_plain(self.path(report_id, ENTRIES)) as file:
            _write_new(part, (_begin(header), *map(_document, journal.lines(file))))
        part.rename(self.path(report_id, DONE))
        flush(self.layout.staging)

    def _stamp(self, path: Path) -> None:
        """The time of an archived file is that of its finalisation."""
        now = self._clock()
        os.utime(path, (now, now))
        flush(path)

    def _into_archive(self, source: Path, header: ReportHeader, report_id: str) -> None:
        try:
            rename_new(source, self.layout.archive / header.archive_name(report_id))
        except FileExistsError:  # somebody put staging back from a copy
            rename_new(source, self._other_name(header, report_id))

    def _other_name(self, header: ReportHeader, report_id: str) -> Path:
        number = 1
        while os.path.lexists(path := self.layout.archive / header.archive_name(f"{report_id}_{number}")):
            number += 1
        return path


def free_place(directory: Path, name: str) -> Path:
    """A path of that name in the directory; where there is one already, with a number."""
    path, number = directory / name, 0
    while os.path.lexists(path):
        number += 1
        path = directory / f"{name}.{number}"
    return path


def _begin(header: ReportHeader) -> bytes:
    return (header.content or "").encode("utf-8")


def _document(line: bytes) -> bytes:
    return framed(journal.text_of(line).decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


def _write_new(path: Path, parts: Iterable[bytes]) -> None:
    """Write a new file, flushed. Where that fails there is none."""
    descriptor = journal.new_file(path)
    try:
        with os.fdopen(descriptor, "wb", buffering=1024 * 1024) as file:
            file.writelines(parts)
            file.flush()
            os.fsync(descriptor)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
