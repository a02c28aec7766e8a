"""What a reception promises to those who call it, within one process."""

from __future__ import annotations

import asyncio
import fcntl
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from ooni_pipeline.collector.header import is_report_id
from ooni_pipeline.collector.layout import CollectorLayout
from ooni_pipeline.collector.refusals import (
    CollectorBusyError,
    CollectorShutError,
    HeaderTextError,
    ReportNotFoundError,
)
from ooni_pipeline.errors import ConfigurationError
from ooni_pipeline.report.names import parse_report_name
from tests.collector.reports import HOUR, KINDS, Clock, archived, entry, header, names, opened, run

Kind = Literal["json", "yaml"]


@pytest.fixture
def layout(tmp_path: Path) -> CollectorLayout:
    return CollectorLayout(tmp_path / "bouncer")


class Gate:
    """Holds every write of entries, which is flushed when it returns, until the test opens it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened = threading.Event()
        self.flushes = 0
        self._write = os.pwrite
        monkeypatch.setattr(os, "pwrite", self._wait)

    def _wait(self, descriptor: int, data: bytes, place: int) -> int:
        assert self.opened.wait(30)
        assert fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DSYNC
        self.flushes += 1
        return self._write(descriptor, data, place)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch)


@pytest.mark.parametrize("kind", KINDS)
def test_a_report_is_archived_when_it_is_closed(layout: CollectorLayout, kind: Kind) -> None:
    clock = Clock()

    async def work() -> str:
        reception = await opened(layout, clock=clock)
        report_id = await reception.create(header(kind))
        assert reception.format_of(report_id) == kind
        for number in range(3):
            await reception.append(report_id, entry(kind, number))
        assert reception.open_reports == 1
        assert names(layout.archive) == []
        clock.now += 60
        assert await reception.close(report_id) is True
        assert reception.open_reports == 0
        assert (reception.counts.created, reception.counts.entries, reception.counts.archived) == (1, 3, 1)
        assert reception.counts.bytes == sum(len(entry(kind, number)) for number in range(3))
        for gone in (reception.close(report_id), reception.append(report_id, entry(kind, 0))):
            with pytest.raises(ReportNotFoundError):
                await gone
        with pytest.raises(ReportNotFoundError):
            reception.format_of(report_id)
        await reception.shut()
        return report_id

    report_id = run(work())
    assert is_report_id(report_id)
    assert report_id.startswith("20160731T212000Z_AS64496_")
    assert archived(layout) == {report_id: [0, 1, 2]}
    (path,) = layout.archive.iterdir()
    version = {"json": "0.2.0", "yaml": "0.1.0"}[kind]
    assert path.name == f"20160801T120000-web_connectivity-{report_id}-AS64496-FR-probe-{version}.{kind}"
    assert path.stat().st_mtime == clock.now
    assert path.stat().st_mode & 0o777 == 0o640
    assert names(layout.staging) == names(layout.quarantine) == []


def test_a_json_entry_is_archived_as_the_bytes_that_were_sent(layout: CollectorLayout) -> None:
    sent = [
        b'{"number": 1.10, "a": 1e400, "b": null, "b": 12345678901234567890123}',
        '{"number": 3, "c": "\\ud800 \\u0000é\u2028"}'.encode(),
        b'{ "number":\t2,\r "x": {"y": [ ]} }',
    ]

    async def work() -> None:
        reception = await opened(layout)
        report_id = await reception.create(header("json"))
        for one in sent:
            await reception.append(report_id, one)
        await reception.close(report_id)
        await reception.submit(header("json"), sent[0])
        await reception.shut()

    run(work())
    contents = sorted(path.read_bytes() for path in layout.archive.iterdir())
    assert contents == sorted([b"".join(one + b"\n" for one in sent), sent[0] + b"\n"])


@pytest.mark.parametrize("wrong", [b'{"a":\n1}', b"[]", b'{"a":"\0"}', b"", b'{"a":1} '])
def test_what_would_spoil_a_journal_is_not_taken(layout: CollectorLayout, wrong: bytes) -> None:
    async def work() -> None:
        reception = await opened(layout)
        report_id = await reception.create(header("json"))
        with pytest.raises(ValueError, match="one object on one line"):
            await reception.append(report_id, wrong)
        with pytest.raises(ValueError, match="one object on one line"):
            await reception.submit(header("json"), wrong)
        assert await reception.close(report_id) is False
        await reception.shut()

    run(work())


def test_a_yaml_text_cannot_run_into_its_neighbours(layout: CollectorLayout) -> None:
    texts = [
        b"number: 0",
        b"---\nnumber: 1",
        b"\n# comment\n--- \r\nnumber: 2\n...\n",
        b"---number: 3\nnumber: 3\n",
        b"number: 4\n...\n",
        "number: 5\ntext: \"é\\uD83D\\uDE00\"\n".encode(),
    ]  # fmt: skip

    async def work() -> str:
        reception = await opened(layout)
        report_id = await reception.create(header("yaml"))
        for text in texts:
            await reception.append(report_id, text)
        await reception.close(report_id)
        await reception.shut()
        return report_id

    report_id = run(work())
    assert archived(layout) == {report_id: [0, 1, 2, 3, 4, 5]}


@pytest.mark.parametrize("kind", KINDS)
def test_a_report_without_entries_is_dropped(layout: CollectorLayout, kind: Kind) -> None:
    async def work() -> None:
        reception = await opened(layout)
        assert await reception.close(await reception.create(header(kind))) is False
        assert (reception.counts.dropped_empty, reception.counts.archived) == (1, 0)
        await reception.shut()

    run(work())
    assert names(layout.archive) == names(layout.staging) == names(layout.quarantine) == []


@pytest.mark.parametrize("kind", KINDS)
def test_one_call_archives_a_report_of_one_entry(layout: CollectorLayout, kind: Kind) -> None:
    async def work() -> str:
        reception = await opened(layout)
        report_id = await reception.submit(header(kind), entry(kind, 7))
        assert (reception.counts.submitted, reception.counts.archived, reception.counts.entries) == (1, 1, 1)
        await reception.shut()
        return report_id

    report_id = run(work())
    assert archived(layout) == {report_id: [7]}
    assert names(layout.staging) == []


def test_entries_that_come_together_are_flushed_together_in_their_order(
    layout: CollectorLayout, gate: Gate
) -> None:
    async def work() -> str:
        reception = await opened(layout)
        report_id = await reception.create(header("json"))
        sent = [asyncio.ensure_future(reception.append(report_id, entry("json", n))) for n in range(129)]
        await asyncio.sleep(0.05)
        assert not any(one.done() for one in sent)
        gate.opened.set()
        await asyncio.gather(*sent)
        await reception.close(report_id)
        await reception.shut()
        return report_id

    report_id = run(work())
    assert gate.flushes == 3  # one, then 64 at most
    assert archived(layout) == {report_id: list(range(129))}


def test_reports_are_flushed_side_by_side(layout: CollectorLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    meet = threading.Barrier(5)
    write = os.pwrite

    def wait_for_the_others(descriptor: int, data: bytes, place: int) -> int:
        meet.wait(30)
        return write(descriptor, data, place)

    monkeypatch.setattr(os, "pwrite", wait_for_the_others)

    async def work() -> None:
        reception = await opened(layout)
        ids = [await reception.create(header("json")) for _ in range(5)]
        await asyncio.gather(*(reception.append(report_id, entry("json", 1)) for report_id in ids))
        await reception.shut()

    run(work())


def test_a_close_waits_for_what_was_accepted_before_and_takes_nothing_after(
    layout: CollectorLayout, gate: Gate
) -> None:
    async def work() -> str:
        reception = await opened(layout)
        report_id = await reception.create(header("json"))
        sent = [asyncio.ensure_future(reception.append(report_id, entry("json", n))) for n in range(3)]
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(reception.close(report_id))
        await asyncio.sleep(0.05)
        with pytest.raises(ReportNotFoundError):
            await reception.append(report_id, entry("json", 9))
        with pytest.raises(ReportNotFoundError):
            await reception.close(report_id)
        assert await reception.archive_stale() == 0
        assert not closing.done()
        gate.opened.set()
        assert await closing is True
        await asyncio.gather(*sent)
        await reception.shut()
        return report_id

    report_id = run(work())
    assert archived(layout) == {report_id: [0, 1, 2]}


@pytest.mark.parametrize("again", ["never", "while it is written", "when it is stored"])
def test_a_client_that_went_away_leaves_its_entry_once(
    layout: CollectorLayout, gate: Gate, again: str
) -> None:
    async def work() -> str:
        reception = await opened(layout)
        report_id = await reception.create(header("json"))
        first = asyncio.ensure_future(reception.append(report_id, entry("json", 1)))
        second = asyncio.ensure_future(reception.append(report_id, entry("json", 2)))
        await asyncio.sleep(0.05)
        for one in (first, second):
            one.cancel()
        await asyncio.sleep(0)
        assert first.cancelled() and second.cancelled()
        retry: asyncio.Future[None] | None = None
        if again == "while it is written":
            retry = asyncio.ensure_future(reception.append(report_id, entry("json", 2)))
            await asyncio.sleep(0.01)
            retry.cancel()  # and goes away again
            await asyncio.sleep(0)
            retry = asyncio.ensure_future(reception.append(report_id, entry("json", 2)))
            await asyncio.sleep(0)
        gate.opened.set()
        await reception.append(report_id, entry("json", 3))
        if retry is not None:
            await retry
        if again == "when it is stored":
            await reception.append(report_id, entry("json", 1))
            await reception.append(report_id, entry("json", 2))
            assert reception.counts.repeated == 2
        if again == "while it is written":
            assert reception.counts.repeated == 1
        assert reception.counts.entries == 3
        await reception.close(report_id)
        await reception.shut()
        return report_id

    report_id = run(work())
    assert archived(layout) == {report_id: [1, 2, 3]}


def test_each_repetition_is_forgiven_once_and_others_are_stored(layout: CollectorLayout) -> None:
    async def work() -> str:
        reception = await opened(layout)
        report_id = await reception.create(header("json"))
        for _ in range(2):
            await reception.append(report_id, entry("json", 1))
        reception.unanswered(report_id, entry("json", 1))
        reception.unanswered("no such report", entry("json", 1))
        for _ in range(2):
            await reception.append(report_id, entry("json", 1))
        assert reception.counts.repeated == 1
        await reception.close(report_id)
        await reception.shut()
        return report_id

    report_id = run(work())
    assert archived(layout) == {report_id: [1, 1, 1]}


def test_no_more_than_64_are_remembered_of_a_report(layout: CollectorLayout) -> None:
    async def work() -> None:
        reception = await opened(layout)
        report_id = await reception.create(header("json"))
        for number in range(65):
            reception.unanswered(report_id, entry("json", number))
        for number in range(65):
            await reception.append(report_id, entry("json", number))
        assert (reception.counts.entries, reception.counts.repeated) == (1, 64)
        await reception.shut()

    run(work())


def test_entries_that_are_large_are_not_all_written_together(layout: CollectorLayout, gate: Gate) -> None:
    async def work() -> str:
        reception = await opened(layout)
        report_id = await reception.create(header("json"))
        large = [entry("json", number, 3_000_000) for number in range(5)] + [entry("json", 5, 9_000_000)]
        sent = [asyncio.ensure_future(reception.append(report_id, one)) for one in large]
        await asyncio.sleep(0.05)
        gate.opened.set()
        await asyncio.gather(*sent)
        await reception.close(report_id)
        await reception.shut()
        return report_id

    report_id = run(work())
    assert gate.flushes == 4  # one that came alone, two, two, and one that is larger than a batch
    assert archived(layout) == {report_id: list(range(6))}


def test_a_caller_cancelled_when_its_entry_is_just_stored_is_remembered_too(
    layout: CollectorLayout, gate: Gate
) -> None:
    async def work() -> str:
        reception = await opened(layout)
        report_id = await reception.create(header("json"))
        sent = asyncio.ensure_future(reception.append(report_id, entry("json", 1)))
        await asyncio.sleep(0)
        gate.opened.set()
        while not reception.counts.entries:  # settled in this round of the loop, told in the next
            await asyncio.sleep(0)
            if reception.counts.entries:
                sent.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sent
        await reception.append(report_id, entry("json", 1))
        assert (reception.counts.entries, reception.counts.repeated) == (1, 1)
        await reception.close(report_id)
        await reception.shut()
        return report_id

    report_id = run(work())
    assert archived(layout) == {report_id: [1]}


@pytest.mark.parametrize("what", ["create", "close", "submit"])
def test_a_cancelled_caller_wedges_nothing(
    layout: CollectorLayout, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    hold, flush = threading.Event(), os.fsync

    def wait(descriptor: int) -> None:
        assert hold.wait(30)
        flush(descriptor)

    async def work() -> None:
        reception = await opened(layout)
        report_id = await reception.create(header("json"))
        await reception.append(report_id, entry("json", 1))
        monkeypatch.setattr(os, "fsync", wait)
        calls: dict[str, Callable[[], Any]] = {
            "create": lambda: reception.create(header("json")),
            "close": lambda: reception.close(report_id),
            "submit": lambda: reception.submit(header("json"), entry("json", 2)),
        }
        call = asyncio.ensure_future(calls[what]())
        await asyncio.sleep(0.05)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        hold.set()
        await reception.shut()
        counts = reception.counts
        assert reception.open_reports == {"create": 2, "close": 0, "submit": 1}[what]
        assert (counts.created, counts.archived, counts.submitted) == {
            "create": (2, 0, 0), "close": (1, 1, 0), "submit": (1, 1, 1)
        }[what]  # fmt: skip

    run(work())
    left = {"create": (2, 0), "close": (0, 1), "submit": (1, 1)}[what]
    assert (len(names(layout.staging)) // 2, len(names(layout.archive))) == left


def test_silent_reports_are_archived_and_others_are_not(layout: CollectorLayout) -> None:
    clock = Clock()

    async def work() -> None:
        reception = await opened(layout, clock=clock, steady=clock)
        silent, busy, empty = [await reception.create(header("json")) for _ in range(3)]
        for report_id in (silent, busy):
            await reception.append(report_id, entry("json", 1))
        clock.now += HOUR - 1
        assert await reception.archive_stale() == 0
        await reception.append(busy, entry("json", 2))
        clock.now += 1
        assert await reception.archive_stale() == 2
        counts = reception.counts
        assert (counts.archived, counts.archived_stale, counts.dropped_empty) == (1, 1, 1)
        assert reception.open_reports == 1
        for gone in (silent, empty):
            with pytest.raises(ReportNotFoundError):
                await reception.close(gone)
        await reception.close(busy)
        await reception.shut()

    run(work())
    assert sorted(archived(layout).values()) == [[1], [1, 2]]


def test_many_silent_reports_are_all_counted(layout: CollectorLayout) -> None:
    clock = Clock()

    async def work() -> None:
        reception = await opened(layout, clock=clock, steady=clock)
        for number in range(40):
            report_id = await reception.create(header("json"))
            if number % 4:
                await reception.append(report_id, entry("json", 1))
        clock.now += HOUR
        assert await reception.archive_stale() == 40
        counts = reception.counts
        assert (counts.archived, counts.archived_stale, counts.dropped_empty) == (30, 30, 10)
        await reception.shut()

    run(work())
    assert len(archived(layout)) == 30


def test_a_clock_that_jumps_ends_no_report_and_keeps_none_for_ever(layout: CollectorLayout) -> None:
    clock, steady = Clock(), Clock(0)

    async def work() -> None:
        reception = await opened(layout, clock=clock, steady=steady)
        report_id = await reception.create(header("json"))
        await reception.append(report_id, entry("json", 1))
        clock.now += 100 * HOUR
        assert await reception.archive_stale() == 0
        clock.now -= 200 * HOUR
        steady.now += HOUR
        assert await reception.archive_stale() == 1
        # With one clock for both, one that is set back counts from then on.
        await reception.shut()
        reception = await opened(layout, clock=clock, steady=clock)
        report_id = await reception.create(header("json"))
        clock.now -= 100 * HOUR
        assert await reception.archive_stale() == 0
        clock.now += HOUR
        assert await reception.archive_stale() == 1
        await reception.shut()

    run(work())


def test_one_collector_works_in_a_directory(layout: CollectorLayout) -> None:
    async def work() -> None:
        reception = await opened(layout)
        with pytest.raises(CollectorBusyError, match=f"held by process {os.getpid()}"):
            await opened(layout)
        await reception.shut()
        await (await opened(layout)).shut()

    run(work())


def test_one_collector_works_in_a_directory_whose_lock_was_removed(layout: CollectorLayout) -> None:
    async def work() -> None:
        reception = await opened(layout)
        layout.lock.unlink()
        with pytest.raises(CollectorBusyError, match="another process"):
            await opened(layout)
        await reception.shut()
        await (await opened(layout)).shut()

    run(work())


def test_nothing_is_taken_after_the_end(layout: CollectorLayout, gate: Gate) -> None:
    async def work() -> str:
        reception = await opened(layout)
        report_id = await reception.create(header("json"))
        sent = [asyncio.ensure_future(reception.append(report_id, entry("json", n))) for n in range(3)]
        await asyncio.sleep(0.05)
        ending = asyncio.ensure_future(reception.shut())
        await asyncio.sleep(0.05)
        assert not ending.done()
        for refused in (
            reception.append(report_id, entry("json", 9)),
            reception.create(header("json")),
            reception.submit(header("json"), entry("json", 9)),
            reception.close(report_id),
            reception.archive_stale(),
        ):
            with pytest.raises(CollectorShutError):
                await refused
        gate.opened.set()
        await ending
        await asyncio.gather(*sent)  # what was accepted is acknowledged
        again = await opened(layout)
        assert (again.open_reports, again.counts.recovered) == (1, 1)
        await again.close(report_id)
        await again.shut()
        return report_id

    report_id = run(work())
    assert archived(layout) == {report_id: [0, 1, 2]}


def test_the_end_does_not_wait_for_all_that_is_silent(
    layout: CollectorLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, hold, utime = Clock(), threading.Event(), os.utime

    def wait(path: Path, times: tuple[float, float]) -> None:
        assert hold.wait(30)
        utime(path, times)

    async def work() -> int:
        reception = await opened(layout, clock=clock, steady=clock)
        for report_id in [await reception.create(header("json")) for _ in range(40)]:
            await reception.append(report_id, entry("json", 1))
        clock.now += HOUR
        monkeypatch.setattr(os, "utime", wait)
        stale = asyncio.ensure_future(reception.archive_stale())
        await asyncio.sleep(0.05)
        ending = asyncio.ensure_future(reception.shut())
        await asyncio.sleep(0.05)
        hold.set()
        await ending
        return await stale

    done = run(work())
    assert done == len(archived(layout)) == 16
    assert len(names(layout.staging)) == 2 * 24


def test_fields_of_a_client_never_become_a_path(layout: CollectorLayout) -> None:
    async def work() -> None:
        reception = await opened(layout)
        evil = header("json", test_name="../../a b/\0", probe_asn="AS1/../..", probe_cc="..",
                      test_start_time="../x", data_format_version="../../0")  # fmt: skip
        report_id = await reception.create(evil)
        assert is_report_id(report_id)
        await reception.append(report_id, entry("json", 1))
        await reception.close(report_id)
        for unknown in ("../lock", report_id, "", "x\0"):
            with pytest.raises(ReportNotFoundError):
                await reception.append(unknown, entry("json", 1))
        await reception.shut()

    run(work())
    (name,) = names(layout.archive)
    told = parse_report_name(name)
    assert (told.probe_asn, told.probe_cc, told.data_format_version) == ("AS0", "ZZ", "0.1.0")
    assert told.start_time is not None  # the server's


def test_nothing_is_written_over_in_the_archive(layout: CollectorLayout) -> None:
    async def work() -> None:
        reception = await opened(layout)
        for _ in range(2):
            report_id = await reception.create(header("json"))
            await reception.append(report_id, entry("json", 1))
            name = header("json").archive_name(report_id)
            (layout.archive / name).write_text("theirs")
            (layout.archive / header("json").archive_name(f"{report_id}_1")).write_text("theirs")
            await reception.close(report_id)
        await reception.shut()

    run(work())
    contents = [path.read_text() for path in layout.archive.iterdir()]
    assert (len(contents), contents.count("theirs")) == (6, 4)


def test_directories_are_for_the_collector_alone(layout: CollectorLayout) -> None:
    layout.archive.mkdir(parents=True, mode=0o755)
    run(_open_and_shut(layout))
    for place in (layout.staging, layout.archive, layout.quarantine):
        assert place.stat().st_mode & 0o777 == 0o700


async def _open_and_shut(layout: CollectorLayout) -> None:
    await (await opened(layout)).shut()


def test_a_directory_that_cannot_be_one_is_told(layout: CollectorLayout, tmp_path: Path) -> None:
    (tmp_path / "bouncer").write_text("a file")
    with pytest.raises(ConfigurationError, match=r"\[collector\] directory"):
        run(_open_and_shut(layout))


def test_another_disk_is_told(layout: CollectorLayout) -> None:
    layout.prepare()
    layout.renamed.symlink_to("/proc")
    with pytest.raises(ConfigurationError, match="renamed is on another file system"):
        run(_open_and_shut(layout))


def test_a_header_text_that_is_none_opens_nothing(layout: CollectorLayout) -> None:
    async def work() -> None:
        reception = await opened(layout)
        with pytest.raises(HeaderTextError):
            await reception.create(header("yaml", content="- a list"))
        with pytest.raises(HeaderTextError):
            await reception.submit(header("yaml", content="a: [1"), entry("yaml", 1))
        assert reception.open_reports == reception.counts.write_errors == 0
        await reception.shut()

    run(work())
    assert names(layout.staging) == names(layout.archive) == []


def test_thousands_of_reports_are_open_without_a_file_each(layout: CollectorLayout) -> None:
    def files() -> int:
        return len(names(Path("/proc/self/fd")))

    async def work() -> None:
        reception = await opened(layout)
        before = files()
        ids = await asyncio.gather(*(reception.create(header("json")) for _ in range(300)))
        assert files() == before
        for number in range(2):  # each journal is opened again
            await asyncio.gather(*(reception.append(report_id, entry("json", number)) for report_id in ids))
        assert files() == before + 128  # those that were used last
        for report_id in ids[200:]:
            await reception.close(report_id)
        assert files() < before + 128
        await reception.shut()

    before = files()
    run(work())
    assert files() == before
    assert list(archived(layout).values()) == [[0, 1]] * 100
