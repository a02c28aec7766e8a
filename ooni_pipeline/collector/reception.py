"""Receiving reports: what is open, and how it gets into the archive exactly once."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Literal

from ooni_pipeline.bucket.lock import hold, hold_directory
from ooni_pipeline.collector.appending import Appending
from ooni_pipeline.collector.counts import ReceptionCounts
from ooni_pipeline.collector.crew import Crew
from ooni_pipeline.collector.finishing import Finishing
from ooni_pipeline.collector.header import ReportHeader, new_report_id
from ooni_pipeline.collector.journal import as_line
from ooni_pipeline.collector.layout import CollectorLayout
from ooni_pipeline.collector.open_report import OpenReport
from ooni_pipeline.collector.recovery import Recovered, recover
from ooni_pipeline.collector.refusals import (
    CollectorBusyError,
    CollectorShutError,
    ReportNotFoundError,
)
from ooni_pipeline.collector.room import Room
from ooni_pipeline.collector.staging import Staging
from ooni_pipeline.collector.yaml_header import as_archived
from ooni_pipeline.errors import ConfigurationError

#: Seconds that the clients of reports which were found at the start get at least to come back.
_GRACE = 600.0
#: Bytes that a report takes on disk beside what was sent.
_OVERHEAD = 8192
_NOT_OPEN = "no such report is open"


class Reception:
    """All open reports of one collector directory. Methods run in one event loop."""

    def __init__(
        self,
        layout: CollectorLayout,
        locks: contextlib.ExitStack,
        clock: Callable[[], float],
        steady: Callable[[], float],
        stale_seconds: float,
        keep_free_bytes: int,
    ) -> None:
        """Use :meth:`open`. ``locks`` are those of the directory, to be closed in the end."""
        self.counts = ReceptionCounts()
        self._locks = locks
        self._clock = clock
        self._steady = steady
        self._stale_seconds = stale_seconds
        self._staging = Staging(layout, clock)
        self._room = Room(layout.staging, keep_free_bytes, steady)
        self._crew = Crew(self.counts)
        self._reports: dict[str, OpenReport] = {}
        self._finishing = Finishing(
            self._reports, self._staging, self._crew, self.counts, steady, stale_seconds
        )
        self._appending = Appending(
            self._staging, self._room, self._crew, self._finishing, self.counts, steady
        )
        self._is_shut = False

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
        service gives time.monotonic (without it ``clock`` serves for both). How long those were silent
        that are found here is asked of their files; they stay open for ten minutes at least, or
        ``stale_seconds`` where that is less, so that their clients find them again after an outage, and a
        clock that is wrong when the machine starts ends none of them in the middle. Raises
        CollectorBusyError where another collector has the directory, ConfigurationError where it cannot
        be one.
        """
        layout.prepare()
        try:
            with contextlib.ExitStack() as taken:
                taken.enter_context(hold(layout.lock))
                taken.callback(os.close, hold_directory(layout.staging))
                locks = taken.pop_all()
        except BlockingIOError as error:
            raise CollectorBusyError(f"{error}: one collector works in a directory; stop that one") from None
        except OSError as error:
            raise ConfigurationError(
                f"[collector] directory: cannot write {layout.lock} ({error.strerror}); give the directory "
                "to the account that runs ooni-collector"
            ) from None
        reception = cls(layout, locks, clock, steady or clock, stale_seconds, keep_free_bytes)
        try:
            reception._go_on(await reception._crew.in_thread(recover, reception._staging, clock()))
        except BaseException:
            await reception.shut()
            raise
        return reception

    @property
    def open_reports(self) -> int:
        """How many reports are open now."""
        return len(self._reports)

    def _go_on(self, recovered: Recovered) -> None:
        longest = max(0.0, self._stale_seconds - _GRACE)
        now = self._steady()
        for report_id, left in recovered.reports.items():
            report = OpenReport(left.format, now - min(left.silent, longest), left.length)
            report.forgiven = left.last if len(left.last) else None
            self._reports[report_id] = report
        self.counts.recovered += len(recovered.reports)
        self.counts.quarantined += recovered.quarantined
        self.counts.archived += recovered.archived

    # --- reports

    async def create(self, header: ReportHeader) -> str:
        """Open a report. Returns its id; it is on disk by then. Raises HeaderTextError, NoRoomError."""
        self._check_not_shut()
        return await self._crew.keep(self._create(header))

    async def _create(self, header: ReportHeader) -> str:
        report_id = new_report_id(header, self._clock())
        await self._crew.on_disk(self._create_on_disk, report_id, header)
        self._reports[report_id] = OpenReport(header.format, self._steady())
        self.counts.created += 1
        return report_id

    def _create_on_disk(self, report_id: str, header: ReportHeader) -> None:
        header = as_archived(header, report_id)
        self._room.take(len(header.content or "") + _OVERHEAD)
        self._staging.create(report_id, header)

    def format_of(self, report_id: str) -> Literal["json", "yaml"]:
        """The format of an open report. Raises ReportNotFoundError."""
        return self._open_report(report_id).format

    def _open_report(self, report_id: str) -> OpenReport:
        self._check_not_shut()
        report = self._reports.get(report_id)
        if report is None or report.closing:
            raise ReportNotFoundError(_NOT_OPEN)
        return report

    async def submit(self, header: ReportHeader, entry: bytes) -> str:
        """A report of one entry, archived at once. Returns its id. Raises as create and append."""
        self._check_not_shut()
        return await self._crew.keep(self._submit(header, entry))

    async def _submit(self, header: ReportHeader, entry: bytes) -> str:
        report_id = new_report_id(header, self._clock())
        line = as_line(entry, header.format)
        await self._crew.on_disk(self._submit_on_disk, report_id, header, line)
        self.counts.submitted += 1
        self.counts.archived += 1
        self.counts.entries += 1
        self.counts.bytes += len(entry)
        return report_id

    def _submit_on_disk(self, report_id: str, header: ReportHeader, line: bytes) -> None:
        header = as_archived(header, report_id)
        self._room.take(len(header.content or "") + len(line) + _OVERHEAD)
        self._staging.submit(report_id, header, line)

    # --- entries

    async def append(self, report_id: str, entry: bytes) -> None:
        """Take one entry: it is on disk, flushed, when this returns.

        JSON: the bytes of one object, without a line feed. YAML: the text as sent, in UTF-8. Raises
        ReportNotFoundError, NoRoomError, OSError, DamagedError; then nothing of it was acknowledged. A
        caller that is cancelled meanwhile leaves the entry stored, once, and its repetition is forgiven.
        """
        await self._appending.append(report_id, self._open_report(report_id), entry)

    def unanswered(self, report_id: str, entry: bytes) -> None:
        """Say that the client of an entry that was taken went away before it was told: it may come again.

        One repetition of these bytes is then answered with success and not stored. For callers that
        notice it after :meth:`append` returned; nothing happens where the report is not open.
        """
        report = self._reports.get(report_id)
        if report is not None:
            report.remember(as_line(entry, report.format))

    # --- the end of a report

    async def close(self, report_id: str) -> bool:
        """Finish a report: True, it is in the archive; False, it had no entry and is gone.

        What was accepted before is waited for. Raises ReportNotFoundError; DamagedError; OSError or
        NoRoomError where the disk refuses: then it takes no more entries, and is tried again at the next
        close and by :meth:`archive_stale`.
        """
        self._check_not_shut()
        report = self._reports.get(report_id)
        if report is None or (report.closing and not report.failed):
            raise ReportNotFoundError(_NOT_OPEN)
        return await self._finishing.finish(report_id, report)

    async def archive_stale(self) -> int:
        """Finish the reports whose last update is ``stale_seconds`` ago. Returns how many.

        To be called every minute or so. What cannot be archived is told in one log line, and tried again
        the next time.
        """
        self._check_not_shut()
        return await self._finishing.archive_stale()

    async def shut(self) -> None:
        """Finish what is being written and give the directory back; open reports stay open on disk."""
        self._is_shut = True
        self._finishing.end()
        for report in list(self._reports.values()):
            await report.until_idle()
        await self._crew.end()
        self._staging.close()
        self._locks.close()

    def _check_not_shut(self) -> None:
        if self._is_shut:
            raise CollectorShutError("this collector is going down")
