"""What waits in the archive of a collector, also of the genuine oonib, and what each file says of itself."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal

from ooni_pipeline.bucket.files import is_being_written
from ooni_pipeline.collector.outgoing_name import SetAside
from ooni_pipeline.errors import RejectReason
from ooni_pipeline.report.entry import MAX_ENTRY_BYTES, BadReport, RawEntry
from ooni_pipeline.report.names import JSON_SUFFIXES, YAML_SUFFIXES
from ooni_pipeline.report.reader import Report, open_report

#: Directories so deep are looked into: the country's is one, and nobody makes more than two.
DEEPEST = 32
#: Time stamps of a file system are a little ahead of the clock that is asked: seconds.
_CLOCK_GRAIN = 2.0
#: Why a file cannot be read that says nothing of the file: this process may not, or has used up something.
_OURS = {name: getattr(errno, name) for name in ("EACCES", "EPERM", "EMFILE", "ENFILE", "ENOMEM", "ESTALE")}


class Kind(Enum):
    """What a file of the archive is to RenameReports."""

    REPORT = "report"
    BEING_WRITTEN = "being written"
    OTHER = "other"
    UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Archived:
    """One file: ``name`` below the archive, as found; ``status`` of the file, or of the link itself."""

    path: Path
    name: str
    kind: Kind
    status: os.stat_result

    @property
    def ending(self) -> tuple[Literal["json", "yaml"], bool]:
        """The format, and whether it is compressed, by the name."""
        plain = self.path.name.removesuffix(".gz")
        return ("json" if Path(plain).suffix in JSON_SUFFIXES else "yaml"), plain != self.path.name

    def finalised(self, now: float) -> float:
        """When it was finished, in seconds since 1970: its modification time. A time that is yet to come says
        nothing (a clock was wrong): then when it was put here counts, and else it is as old as can be."""
        past = (at for at in (self.status.st_mtime, self.status.st_ctime) if at <= now + _CLOCK_GRAIN)
        return next(past, float("-inf"))

    def is_unchanged(self) -> bool:
        """Whether nobody wrote it since it was listed. Raises FileNotFoundError."""
        return _mark(self.path.lstat()) == _mark(self.status)


#: The status of a file of which a directory shows the name and nothing else.
_NOT_TOLD = os.stat_result((0,) * 10)


def _mark(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_size, status.st_mtime_ns


def walk(archive: Path) -> Iterator[Archived]:
    """Every file below the archive, in no order, a few at a time; files may be taken away meanwhile.

    No link is followed. A directory that cannot be read is one UNREADABLE. Raises OSError when it is the
    archive itself.
    """
    waiting = [(archive, "", os.scandir(archive))]
    try:
        while waiting:
            directory, above, found = waiting[-1]
            entry = next(found, None)
            if entry is None:
                found.close()
                waiting.pop()
                continue
            name, status = above + entry.name, _NOT_TOLD
            try:
                status = entry.stat(follow_symlinks=False)
                kind = _kind(entry)
                if entry.is_dir(follow_symlinks=False):
                    if kind is Kind.BEING_WRITTEN:
                        continue
                    if len(waiting) < DEEPEST:
                        waiting.append((directory / entry.name, f"{name}/", os.scandir(entry.path)))
                        continue
                    kind = Kind.OTHER
            except FileNotFoundError:
                continue  # gone since it was listed
            except OSError:
                kind = Kind.UNREADABLE
            yield Archived(directory / entry.name, name, kind, status)
    finally:
        for _, _, found in waiting:
            found.close()


def _kind(entry: os.DirEntry[str]) -> Kind:
    if is_being_written(entry.name):
        return Kind.BEING_WRITTEN
    suffix = Path(entry.name.removesuffix(".gz")).suffix
    return Kind.REPORT if suffix in JSON_SUFFIXES | YAML_SUFFIXES else Kind.OTHER


def what_it_says(path: Path) -> dict[str, Any]:
    """The header of a YAML report, the first entry of a JSON one, in bounded memory.

    Raises SetAside for a report without entries, or that cannot be read; PermissionError and the like where
    that is no fault of the report.
    """
    try:
        with open_report(path) as report:
            if not report.header.value:
                return _first_entry(report)
            if next(iter(report), None) is None:
                raise SetAside("empty", "header_alone")
            return report.header.value
    except BadReport as bad:
        if bad.reason is RejectReason.EMPTY_REPORT:
            raise SetAside("empty", bad.reason.value) from None
        if bad.reason is RejectReason.UNREADABLE and bad.detail in _OURS:
            number = _OURS[bad.detail]
            raise OSError(number, os.strerror(number), str(path)) from None
        raise SetAside("failed", bad.reason.value) from None


def _first_entry(report: Report) -> dict[str, Any]:
    """Bad lines before it cost themselves alone, as they do later on, but not for ever."""
    why = None
    for entry in report:
        if isinstance(entry, RawEntry):
            return entry.value
        if entry.reason is not RejectReason.BLANK_LINE:
            why = why or entry.reason
        if entry.offset > MAX_ENTRY_BYTES:
            break
    if why is None:
        raise SetAside("empty", "no_entry")
    raise SetAside("failed", why.value)
