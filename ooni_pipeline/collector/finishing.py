"""The end of a report: into the archive when its client says so, or is silent for too long."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from ooni_pipeline.collector.counts import ReceptionCounts
from ooni_pipeline.collector.crew import THREADS, Crew
from ooni_pipeline.collector.open_report import OpenReport
from ooni_pipeline.collector.refusals import DamagedError
from ooni_pipeline.collector.staging import Staging
from ooni_pipeline.errors import PipelineError, told

_log = logging.getLogger("ooni_pipeline.collector")


class Finishing:
    """Takes reports out of ``reports``, by id, one after the other and in the end all."""

    def __init__(
        self,
        reports: dict[str, OpenReport],
        staging: Staging,
        crew: Crew,
        counts: ReceptionCounts,
        steady: Callable[[], float],
        stale_seconds: float,
    ) -> None:
        self._reports = reports
        self._staging = staging
        self._crew = crew
        self._counts = counts
        self._steady = steady
        self._stale_seconds = stale_seconds
        self._is_ending = False

    def finish(self, report_id: str, report: OpenReport) -> Awaitable[bool]:
        """Close an open report, or one that could not be archived, from now on. Whether it had entries.

        Raises DamagedError, NoRoomError, OSError.
        """
        first = not report.closing
        report.closing, report.failed = True, False
        return self._crew.keep(self._archive(report_id, report, first))

    async def _archive(self, report_id: str, report: OpenReport, first: bool) -> bool:
        await report.until_idle()
        try:
            archived = await self._crew.on_disk(
                self._staging.archive, report_id, report.length if first else None
            )
        except DamagedError as error:
            await self._quarantine(report_id, error)
            raise
        except BaseException:
            report.failed = True
            raise
        del self._reports[report_id]
        if archived:
            self._counts.archived += 1
        else:
            self._counts.dropped_empty += 1
        return archived

    def damaged(self, report_id: str, report: OpenReport, error: DamagedError) -> None:
        """Take a report away whose journal is not what was written."""
        if not report.closing:  # whoever closes it finds the damage too
            report.closing = True
            self._crew.keep(self._quarantine(report_id, error))

    async def _quarantine(self, report_id: str, error: DamagedError) -> None:
        self._reports.pop(report_id, None)
        self._counts.quarantined += 1
        _log.error("report %s goes into quarantine: %s", report_id, error)
        try:
            await self._crew.in_thread(self._staging.quarantine, report_id)
        except OSError as failure:
            _log.error("report %s stays in staging until the next start: %s", report_id, failure.strerror)

    async def archive_stale(self) -> int:
        """Finish the reports whose last update is too long ago. Returns how many."""
        due = [report_id for report_id, report in self._reports.items() if self._is_due(report)]
        due.reverse()
        failures: list[str] = []
        done = 0

        async def work() -> None:
            nonlocal done
            while due and not self._is_ending:
                report_id = due.pop()
                report = self._reports.get(report_id)
                if report is None or not self._is_due(report):
                    continue
                try:
                    archived = await self.finish(report_id, report)
                    self._counts.archived_stale += archived  # others count too while this one waits
                    done += 1
                except OSError as error:
                    failures.append(error.strerror or type(error).__name__)
                except PipelineError as error:
                    failures.append(told(error))

        await asyncio.gather(*(work() for _ in range(min(len(due), THREADS))))
        if failures:
            _log.error(
                "%d silent reports could not be archived, it is tried again: %s", len(failures), failures[0]
            )
        return done

    def _is_due(self, report: OpenReport) -> bool:
        """Whether a report is to be finished without its client."""
        now = self._steady()
        report.touched = min(report.touched, now)  # a clock that was set back: silent from now on
        if report.closing:
            return report.failed
        return now - report.touched >= self._stale_seconds

    def end(self) -> None:
        """Begin with no other silent report."""
        self._is_ending = True
