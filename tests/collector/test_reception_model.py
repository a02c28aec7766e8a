"""A reception does what a few lists do, whatever comes in whatever order."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from ooni_pipeline.collector.layout import CollectorLayout
from ooni_pipeline.collector.refusals import NoRoomError, ReportNotFoundError
from tests.collector.reports import HOUR, KINDS, Clock, archived, entry, header, names, opened

Kind = Literal["json", "yaml"]
NUMBERS = st.integers(0, 3)  # few, so that they repeat
TAILS = st.sampled_from([b"", b"torn", b'{"number": 1', b"\0" * 4096, b'"x'])


class Model(RuleBasedStateMachine):
    reports = Bundle("reports")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.root = Path(tempfile.mkdtemp(prefix="ooni-model-"))
        self.layout = CollectorLayout(self.root / "0")
        self.clock, self.lives = Clock(), 0
        self.kinds: dict[str, Kind] = {}
        self.open: dict[str, list[int]] = {}
        self.forgiven: dict[str, Counter[int]] = {}
        self.touched: dict[str, float] = {}
        self.finished: dict[str, list[int]] = {}
        self._begin()

    def do(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def _begin(self) -> None:
        self.reception = self.do(opened(self.layout, clock=self.clock, steady=self.clock))
        # Silent for longer than that counts as this long: ten minutes are left.
        for report_id, touched in self.touched.items():
            self.touched[report_id] = max(touched, self.clock.now - HOUR + 600)
        self.forgiven = {report_id: Counter(stored) for report_id, stored in self.open.items()}

    def teardown(self) -> None:
        for report_id in list(self.open):
            self.close(report_id)
        self.do(self.reception.shut())
        self.loop.close()
        assert archived(self.layout) == self.finished
        assert names(self.layout.staging) == names(self.layout.quarantine) == []
        shutil.rmtree(self.root)

    @rule(target=reports, kind=st.sampled_from(KINDS))
    def create(self, kind: Kind) -> str:
        report_id: str = self.do(self.reception.create(header(kind)))
        self.kinds[report_id], self.open[report_id], self.forgiven[report_id] = kind, [], Counter()
        self.touch(report_id)
        return report_id

    def touch(self, report_id: str) -> None:
        self.touched[report_id] = self.clock.now

    def repeats(self, report_id: str, number: int) -> bool:
        """Whether an entry is one that is forgiven; it counts once."""
        self.touch(report_id)
        if not self.forgiven[report_id][number]:
            return False
        self.forgiven[report_id][number] -= 1
        return True

    @rule(report_id=reports, number=NUMBERS)
    def append(self, report_id: str, number: int) -> None:
        sent = self.reception.append(report_id, entry(self.kinds.get(report_id, "json"), number))
        if report_id not in self.open:
            with pytest.raises(ReportNotFoundError):
                self.do(sent)
        else:
            self.do(sent)
            if not self.repeats(report_id, number):
                self.open[report_id].append(number)

    @rule(report_id=reports, number=NUMBERS)
    def append_and_go_away(self, report_id: str, number: int) -> None:
        if report_id not in self.open:
            return

        async def work() -> None:
            sent = asyncio.ensure_future(
                self.reception.append(report_id, entry(self.kinds[report_id], number))
            )
            await asyncio.sleep(0)
            sent.cancel()
            await asyncio.wait([sent])
            await self.reception._reports[report_id].until_idle()

        self.do(work())
        if not self.repeats(report_id, number):
            self.open[report_id].append(number)
            self.forgiven[report_id][number] += 1

    @rule(report_id=reports, number=NUMBERS)
    def append_to_a_full_disk(self, report_id: str, number: int) -> None:
        if report_id not in self.open:
            return

        def full(descriptor: int, data: bytes, place: int) -> int:
            write(descriptor, data[: len(data) // 2], place)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        write = os.pwrite
        with mock.patch("os.pwrite", full):
            if self.repeats(report_id, number):
                self.do(self.reception.append(report_id, entry(self.kinds[report_id], number)))
            else:
                with pytest.raises(NoRoomError):
                    self.do(self.reception.append(report_id, entry(self.kinds[report_id], number)))

    @rule(report_id=consumes(reports))
    def close(self, report_id: str) -> None:
        if report_id not in self.open:
            with pytest.raises(ReportNotFoundError):
                self.do(self.reception.close(report_id))
        else:
            assert self.do(self.reception.close(report_id)) is bool(self.open[report_id])
            self._finished(report_id)

    def _finished(self, report_id: str) -> None:
        if self.open[report_id]:
            self.finished[report_id] = self.open[report_id]
        for kept in (self.open, self.touched, self.forgiven):
            kept.pop(report_id)

    @rule(seconds=st.sampled_from([0, 300, 1800, HOUR]))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds
        due = [one for one, touched in self.touched.items() if self.clock.now - touched >= HOUR]
        assert self.do(self.reception.archive_stale()) == len(due)
        for report_id in due:
            self._finished(report_id)

    @rule(tail=TAILS)
    def die_and_start_again(self, tail: bytes) -> None:
        """What is on disk at this moment goes on elsewhere, with half an entry of which nobody was told."""
        self.lives += 1
        layout = CollectorLayout(self.root / str(self.lives))
        shutil.copytree(self.layout.directory, layout.directory)
        for journal in layout.staging.glob("*.entries"):
            with journal.open("ab") as file:
                file.write(tail)
            report_id = journal.name.split(".")[0]
            os.utime(journal, (self.touched[report_id], self.touched[report_id]))
        self.do(self.reception.shut())
        self.layout = layout
        self._begin()

    @invariant()
    def it_knows_what_is_open(self) -> None:
        assert self.reception.open_reports == len(self.open)


TestModel = Model.TestCase
TestModel.settings = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
