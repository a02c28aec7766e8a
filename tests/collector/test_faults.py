"""Disks that are full or broken: nothing is acknowledged that is not kept, nothing is kept in halves."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from ooni_pipeline.collector.descriptors import Descriptors
from ooni_pipeline.collector.layout import CollectorLayout
from ooni_pipeline.collector.refusals import DamagedError, NoRoomError, ReportNotFoundError
from ooni_pipeline.collector.room import Room
from tests.chaos.disk import Mounts, can_mount
from tests.collector.reports import KINDS, Clock, archived, entry, header, names, opened, run

Kind = Literal["json", "yaml"]


@pytest.fixture
def layout(tmp_path: Path) -> CollectorLayout:
    return CollectorLayout(tmp_path / "bouncer")


class Broken:
    """A step on disk that fails while ``error`` is set; of a write that ``share`` is done: all where it is
    the flush that fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
        self.error = 0
        self.share = 0.5
        for name in names:
            monkeypatch.setattr(os, name, self._wrapped(getattr(os, name), name))

    def _wrapped(self, step: Callable[..., Any], name: str) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            if self.error:
                if name == "pwrite":
                    descriptor, data, place = arguments
                    step(descriptor, data[: int(len(data) * self.share)], place)
                raise OSError(self.error, os.strerror(self.error), "a name")
            return step(*arguments, **options)

        return wrapped


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0, 0.5, 1])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_what_the_disk_refuses_is_taken_back(
    layout: CollectorLayout, monkeypatch: pytest.MonkeyPatch, kind: Kind, share: float, number: int
) -> None:
    broken = Broken(monkeypatch, "pwrite")
    broken.share = share

    async def work() -> str:
        reception = await opened(layout)
        report_id = await reception.create(header(kind))
        await reception.append(report_id, entry(kind, 0))
        broken.error = number
        sent = [reception.append(report_id, entry(kind, one)) for one in range(1, 4)]
        for result in await asyncio.gather(*sent, return_exceptions=True):
            assert isinstance(result, OSError if number == errno.EIO else NoRoomError)
        counts = reception.counts
        assert (counts.write_errors, counts.refused_no_room) == ((3, 0) if number == errno.EIO else (0, 3))
        length = reception._reports[report_id].length
        assert (layout.staging / f"{report_id}.entries").stat().st_size == length
        broken.error = 0
        await reception.append(report_id, entry(kind, 4))
        assert (counts.entries, counts.quarantined) == (2, 0)
        await reception.close(report_id)
        await reception.shut()
        return report_id

    report_id = run(work())
    assert archived(layout) == {report_id: [0, 4]}


def test_what_cannot_be_taken_back_goes_into_quarantine(
    layout: CollectorLayout, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = Broken(monkeypatch, "pwrite", "ftruncate")

    async def work() -> None:
        reception = await opened(layout)
        report_id = await reception.create(header("json"))
        await reception.append(report_id, entry("json", 0))
        broken.error = errno.EIO
        sent = [reception.append(report_id, entry("json", one)) for one in range(1, 70)]
        for result in await asyncio.gather(*sent, return_exceptions=True):
            assert isinstance(result, DamagedError)
        broken.error = 0
        with pytest.raises(ReportNotFoundError):
            await reception.append(report_id, entry("json", 9))
        with pytest.raises(ReportNotFoundError):
            await reception.close(report_id)
        await reception.shut()
        assert (reception.open_reports, reception.counts.quarantined) == (0, 1)
        assert names(layout.quarantine) == [f"{report_id}.entries", f"{report_id}.json"]
        assert (layout.quarantine / f"{report_id}.entries").read_bytes().startswith(entry("json", 0))
        assert report_id in caplog.text

    run(work())
    assert names(layout.staging) == names(layout.archive) == []


@pytest.mark.parametrize("damage", ["gone", "longer", "shorter"])
@pytest.mark.parametrize("by", ["append", "close"])
def test_a_journal_that_somebody_changed_goes_into_quarantine(
    layout: CollectorLayout, damage: str, by: str
) -> None:
    async def work() -> None:
        reception = await opened(layout)
        report_id = await reception.create(header("json"))
        await reception.append(report_id, entry("json", 0))
        path = layout.staging / f"{report_id}.entries"
        if damage == "gone":
            path.unlink()
        else:
            os.truncate(path, path.stat().st_size + {"longer": 1, "shorter": -1}[damage])
        with pytest.raises(DamagedError):
            await (reception.close(report_id) if by == "close" else reception.append(report_id, b"{}"))
        await reception.shut()
        assert (reception.open_reports, reception.counts.quarantined) == (0, 1)
        assert f"{report_id}.json" in names(layout.quarantine)

    run(work())
    assert names(layout.archive) == names(layout.staging) == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", ["utime", "fsync", "rename"])
def test_a_report_that_could_not_be_archived_is_tried_again(
    layout: CollectorLayout, monkeypatch: pytest.MonkeyPatch, kind: Kind, step: str,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    if (kind, step) == ("json", "rename"):
        pytest.skip("a JSON report is moved by renameat2")
    broken = Broken(monkeypatch, step)

    async def work() -> tuple[str, str]:
        reception = await opened(layout)
        ids = [await reception.create(header(kind)) for _ in range(2)]
        for report_id in ids:
            await reception.append(report_id, entry(kind, 0))
        broken.error = errno.ENOSPC
        for report_id in ids:
            with pytest.raises(NoRoomError):
                await reception.close(report_id)
            with pytest.raises(ReportNotFoundError):  # it may be on its way already
                await reception.append(report_id, entry(kind, 1))
        assert await reception.archive_stale() == 0
        assert caplog.text.count("2 silent reports could not be archived") == 1
        assert "a name" not in caplog.text
        broken.error = 0
        assert await reception.close(ids[0]) is True
        assert await reception.archive_stale() == 1
        assert reception.open_reports == reception.counts.quarantined == 0
        await reception.shut()
        return ids[0], ids[1]

    first, second = run(work())
    assert archived(layout) == {first: [0], second: [0]}
    assert names(layout.staging) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_report_that_is_moved_and_perhaps_not_flushed_is_not_damaged(
    layout: CollectorLayout, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    fails = True

    def flush(path: Path) -> None:
        if fails and path == layout.archive:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    async def work() -> str:
        nonlocal fails
        reception = await opened(layout)
        monkeypatch.setattr("ooni_pipeline.collector.staging.flush", flush)
        report_id = await reception.create(header(kind))
        await reception.append(report_id, entry(kind, 0))
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            await reception.close(report_id)
        fails = False
        assert await reception.close(report_id) is True
        assert reception.counts.quarantined == 0
        await reception.shut()
        return report_id

    report_id = run(work())
    assert archived(layout) == {report_id: [0]}
    assert names(layout.staging) == []


@pytest.mark.parametrize("step", ["open", "fchmod", "fsync", "rename"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EMFILE])
def test_a_report_that_could_not_be_made_is_none(
    layout: CollectorLayout, monkeypatch: pytest.MonkeyPatch, step: str, number: int
) -> None:
    broken = Broken(monkeypatch, step)

    async def work() -> None:
        reception = await opened(layout)
        broken.error = number
        with pytest.raises(NoRoomError if number == errno.ENOSPC else OSError):
            await reception.create(header("json"))
        if step != "rename":
            with pytest.raises(NoRoomError if number == errno.ENOSPC else OSError):
                await reception.submit(header("json"), entry("json", 1))
        broken.error = 0
        assert reception.open_reports == 0
        assert names(layout.staging) == []
        await reception.shut()
        again = await opened(layout)
        assert again.open_reports == again.counts.quarantined == 0
        await again.shut()

    run(work())
    assert names(layout.staging) == names(layout.quarantine) == []


def test_some_room_is_kept_and_the_disk_is_not_asked_each_time(
    layout: CollectorLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout.prepare()
    free, asked = 1000, 0

    class Status:
        f_frsize = 10

        @property
        def f_bavail(self) -> int:
            return free // 10

    def statvfs(_: Path) -> Status:
        nonlocal asked
        asked += 1
        return Status()

    monkeypatch.setattr(os, "statvfs", statvfs)
    steady = Clock(5)
    room = Room(layout.staging, 400, steady)
    for _ in range(3):
        room.take(200)
    assert asked == 1
    free = 400
    with pytest.raises(NoRoomError, match="keep_free"):  # what was written is counted: it asks again
        room.take(1)
    free = 10_000
    room.take(5000)
    asked = 0
    free = 400
    steady.now += 0.9
    room.take(1000)
    assert asked == 0
    steady.now += 0.2
    with pytest.raises(NoRoomError):
        room.take(1000)


def test_nothing_is_taken_below_the_watermark_and_what_is_open_can_be_closed(layout: CollectorLayout) -> None:
    async def work() -> None:
        reception = await opened(layout)
        report_id = await reception.create(header("yaml"))
        await reception.append(report_id, entry("yaml", 1))
        reception._room._keep_free = 1 << 62
        reception._room._looked = None
        with pytest.raises(NoRoomError):
            await reception.append(report_id, entry("yaml", 2))
        with pytest.raises(NoRoomError):
            await reception.create(header("json"))
        with pytest.raises(NoRoomError):
            await reception.submit(header("json"), entry("json", 2))
        assert reception.counts.refused_no_room == 3
        assert await reception.close(report_id)
        await reception.shut()

    run(work())
    assert list(archived(layout).values()) == [[1]]


@pytest.mark.skipif(not can_mount(), reason="this machine lets nobody mount")
def test_a_disk_that_is_really_full(layout: CollectorLayout) -> None:
    layout.directory.mkdir()
    mounts = Mounts()
    try:
        mounts.run("mount", "-t", "tmpfs", "-o", "size=900k", "tmpfs", str(layout.directory))
        told = subprocess.run(
            (*mounts.enter, sys.executable, "-m", "tests.collector.small_disk", str(layout.directory)),
            capture_output=True,
            check=True,
        )
        saw = json.loads(told.stdout)
        found = archived(CollectorLayout(mounts.seen(layout.directory)))
        assert names(mounts.seen(layout.staging)) == []
    finally:
        mounts.end()
    entries, others, close = saw["refused"]
    assert 0 < entries < others  # some entries, and at least one of a report made and one submitted
    assert close == -1
    assert saw["closed"] == [True, True]
    assert saw["quarantined"] == 0
    assert found == saw["stored"]
    assert all(saw["stored"].values())


def test_no_descriptor_is_closed_while_somebody_writes_to_it() -> None:
    descriptors = Descriptors()
    used = os.open("/dev/null", os.O_WRONLY)
    descriptors.give("used", used)
    assert descriptors.take("used") == used
    for number in range(200):
        descriptors.give(str(number), os.open("/dev/null", os.O_WRONLY))
    descriptors.close("used")
    descriptors.close_all()
    assert os.write(used, b"x") == 1
    assert descriptors.take("used") is descriptors.take("199") is None
    os.close(used)
