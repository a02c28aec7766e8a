"""Receiving reports: what is open, and how it gets into the archive exactly once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ooni_pipeline.collector.header import ReportHeader
from ooni_pipeline.collector.layout import CollectorLayout


@dataclass
class ReceptionCounts:
    """What became of what came in, since this process started."""

    created: int = 0
    entries: int = 0
    bytes: int = 0
    submitted: int = 0
    archived: int = 0
    archived_stale: int = 0
    dropped_empty: int = 0
    quarantined: int = 0
    repeated: int = 0
    recovered: int = 0
    refused_no_room: int = 0
    write_errors: int = 0


class Reception:
    """All open reports of one collector directory. Methods run in one event loop."""

    counts: ReceptionCounts
    #: How many reports are open now.
    open_reports: int

    @classmethod
    async def open(
        cls,
        layout: CollectorLayout,
        *,
        clock: Callable[[], float],
        stale_seconds: float,
        keep_free_bytes: int,
        steady: Callable[[], float] | None = None,
    ) -> Reception:
        """Take the directory and go on with every report that is open there.

        ``clock`` is Unix time; ``steady`` measures how long a report has been silent and never jumps: the
        service gives time.monotonic (without it ``clock`` serves for both). Raises CollectorBusyError
        where another collector has the directory, ConfigurationError where it cannot be one.
        """
        raise NotImplementedError

    async def create(self, header: ReportHeader) -> str:
        """Open a report. Returns its id; it is on disk by then. Raises HeaderTextError, NoRoomError."""
        raise NotImplementedError

    def format_of(self, report_id: str) -> Literal["json", "yaml"]:
        """The format of an open report. Raises ReportNotFoundError."""
        raise NotImplementedError

    async def append(self, report_id: str, entry: bytes) -> None:
        """Take one entry: it is on disk, flushed, when this returns.

        JSON: the bytes of one object, without a line feed. YAML: the text as sent, in UTF-8. Raises
        ReportNotFoundError, NoRoomError, OSError; then nothing of it was kept. A caller that is cancelled
        meanwhile leaves the entry stored, once, and its repetition is forgiven.
        """
        raise NotImplementedError

    def unanswered(self, report_id: str, entry: bytes) -> None:
        """Say that the client of an entry that was taken went away before it was told: it may come again.

        One repetition of these bytes is then answered with success and not stored. For callers that
        notice it after :meth:`append` returned; nothing happens where the report is not open.
        """
        raise NotImplementedError

    async def close(self, report_id: str) -> bool:
        """Finish a report: True, it is in the archive; False, it had no entry and is gone.

        What was accepted before is waited for. Raises ReportNotFoundError; OSError or NoRoomError where
        the disk refuses: then it is tried again by :meth:`archive_stale`.
        """
        raise NotImplementedError

    async def submit(self, header: ReportHeader, entry: bytes) -> str:
        """A report of one entry, archived at once. Returns its id. Raises as create and append."""
        raise NotImplementedError

    async def archive_stale(self) -> int:
        """Finish the reports whose last update is ``stale_seconds`` ago. Returns how many.

        To be called every minute or so. What cannot be archived is told in one log line, and tried again
        the next time.
        """
        raise NotImplementedError

    async def shut(self) -> None:
        """Finish what is being written and give the directory back; open reports stay open on disk."""
        raise NotImplementedError
