"""How entries get to disk.

Those of one report that come while others of it are being written wait, and are then written and flushed
together; those of different reports go to disk side by side.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from ooni_pipeline.collector.counts import ReceptionCounts
from ooni_pipeline.collector.crew import Crew
from ooni_pipeline.collector.finishing import Finishing
from ooni_pipeline.collector.journal import as_line
from ooni_pipeline.collector.open_report import OpenReport, Waiting
from ooni_pipeline.collector.refusals import DamagedError
from ooni_pipeline.collector.room import Room
from ooni_pipeline.collector.staging import Staging


class Appending:
    """Appends to journals, one batch a report at a time."""

    def __init__(
        self,
        staging: Staging,
        room: Room,
        crew: Crew,
        finishing: Finishing,
        counts: ReceptionCounts,
        steady: Callable[[], float],
    ) -> None:
        self._staging = staging
        self._room = room
        self._crew = crew
        self._finishing = finishing
        self._counts = counts
        self._steady = steady

    async def append(self, report_id: str, report: OpenReport, entry: bytes) -> None:
        """Take one entry of an open report; it is on disk when this returns. Raises as Reception.append."""
        line = as_line(entry, report.format)
        report.touched = self._steady()
        if report.forgive(line):
            self._counts.repeated += 1
            return
        waiting = report.take_back(line)
        again = waiting is not None
        if waiting is None:
            waiting = Waiting(line, len(entry), asyncio.get_running_loop().create_future())
            report.waiting.append(waiting)
            if not report.batch:
                self._write_next(report_id, report)
        try:
            await waiting.future
        except asyncio.CancelledError:
            report.leave(waiting)
            raise
        self._counts.repeated += again

    def _write_next(self, report_id: str, report: OpenReport) -> None:
        """Write and flush what waits, as one batch; then what came meanwhile, until nothing waits."""
        lines = report.next_batch()
        self._crew.start(
            partial(self._written, report_id, report), self._append_on_disk, report_id, report.length, lines
        )

    def _append_on_disk(self, report_id: str, length: int, lines: list[bytes]) -> int:
        self._room.take(sum(map(len, lines)))
        return self._staging.append(report_id, length, lines)

    def _written(self, report_id: str, report: OpenReport, length: int, error: BaseException | None) -> None:
        batch, report.batch = report.batch, []
        if error is None:
            report.length = length
            self._counts.entries += len(batch)
            self._counts.bytes += sum(one.size for one in batch)
        else:
            error = self._crew.judged(error, len(batch))
            if isinstance(error, DamagedError):
                batch, report.waiting = batch + report.waiting, []
                self._finishing.damaged(report_id, report, error)
        report.settle(batch, error)
        if report.waiting:
            self._write_next(report_id, report)
        else:
            report.now_idle()
