"""kill -9 at every step that a reception takes on disk: what was acknowledged is archived exactly once."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from ooni_pipeline.collector.layout import CollectorLayout
from ooni_pipeline.collector.reception import Reception
from ooni_pipeline.collector.refusals import ReportNotFoundError
from tests.collector.killed import below, in_a_child
from tests.collector.reports import KINDS, archived, entry, header, names, opened, run

Event = list[Any]


def client(layout: CollectorLayout, pipe: int, together: bool) -> None:
    """Everything that a reception does, told step by step on a pipe."""

    def say(*event: object) -> None:
        os.write(pipe, json.dumps(event).encode() + b"\n")

    async def report(reception: Reception, kind: Literal["json", "yaml"], number: int, closes: bool) -> None:
        report_id = await reception.create(header(kind))
        say("created", report_id, kind)

        async def send(one: int) -> None:
            say("sent", report_id, one)
            await reception.append(report_id, entry(kind, one))
            say("stored", report_id, one)

        await send(number)
        await asyncio.gather(*map(send, range(number + 1, number + 4)))
        if closes:
            say("closing", report_id)
            assert await reception.close(report_id)
            say("closed", report_id)

    async def submit(reception: Reception, kind: Literal["json", "yaml"], number: int) -> None:
        say("sent", "", number)
        report_id = await reception.submit(header(kind), entry(kind, number))
        say("stored", report_id, number)

    async def work() -> None:
        reception = await opened(layout)
        steps = [report(reception, kind, 10 * n, True) for n, kind in enumerate(KINDS)]
        steps += [report(reception, kind, 100 + 10 * n, False) for n, kind in enumerate(KINDS)]
        steps += [submit(reception, kind, 200 + n) for n, kind in enumerate(KINDS)]
        if together:
            await asyncio.gather(*steps)
        else:
            for step in steps:
                await step
        assert not await reception.close(await reception.create(header("json")))
        await reception.shut()

    run(work())


def events(said: bytes) -> list[Event]:
    return [json.loads(line) for line in said.splitlines()]


async def all_over(layout: CollectorLayout, told: list[Event]) -> None:
    """Clients send again what was never answered, then every report goes silent."""
    reception = await opened(layout, stale_seconds=0)
    kinds = {report_id: kind for what, report_id, *rest in told if what == "created" for kind in rest}
    stored = {tuple(event[1:]) for event in told if event[0] == "stored"}
    for what, report_id, *rest in told:
        if what == "sent" and report_id and (report_id, *rest) not in stored:
            try:
                await reception.append(report_id, entry(kinds[report_id], rest[0]))
            except ReportNotFoundError:
                assert ["closing", report_id] in told
    await reception.archive_stale()
    assert reception.open_reports == 0
    assert reception.counts.quarantined == 0
    await reception.shut()


def check(layout: CollectorLayout, told: list[Event]) -> None:
    """Whole lines (the reader sees to that), each entry that was sent to an open report exactly once."""
    run(all_over(layout, told))
    found = archived(layout)
    counts = Counter(number for numbers in found.values() for number in numbers)
    sent = {number for what, _, *rest in told if what == "sent" for number in rest}
    assert set(counts) <= sent
    assert set(counts.values()) <= {1}
    for what, report_id, *rest in told:
        if what == "stored" or (what == "sent" and report_id):
            assert counts[rest[0]] == 1, (what, rest)
        if what == "stored":
            assert rest[0] in found[report_id]
    assert names(layout.staging) == names(layout.quarantine) == []


def every(steps: int, share: int) -> Iterator[int]:
    """Each step, or one of ``share`` of them."""
    return iter(range(1, steps + 1, share))


def killed_at_each_step(tmp_path: Path, share: int, torn: bool) -> None:
    def work(place: Path) -> tuple[bool, int, bytes]:
        return in_a_child(lambda pipe: client(CollectorLayout(place), pipe, False), last, torn)

    last = 0
    ended, steps, said = work(below(tmp_path, 0))
    assert ended
    assert steps > 80
    check(CollectorLayout(tmp_path / "0"), events(said))
    for last in every(steps, share):
        place = below(tmp_path, last)
        ended, _, said = work(place)
        assert not ended
        check(CollectorLayout(place), events(said))
        shutil.rmtree(place)


def test_killed_at_some_steps(tmp_path: Path) -> None:
    killed_at_each_step(tmp_path, 3, True)


@pytest.mark.full_chaos
@pytest.mark.parametrize("torn", [False, True])
def test_killed_at_each_step(tmp_path: Path, torn: bool) -> None:
    killed_at_each_step(tmp_path, 1, torn)


def killed_while_it_recovers(tmp_path: Path, share: int) -> None:
    """The process that goes on with what another left dies too, at each of its steps."""

    def first(pipe: int) -> None:
        client(CollectorLayout(place), pipe, False)

    def second(_: int) -> None:
        run(opened(CollectorLayout(again)))

    _, steps, _ = in_a_child(lambda pipe: client(CollectorLayout(tmp_path / "0"), pipe, False))
    for last in every(steps, share):
        place = below(tmp_path, last)
        _, _, said = in_a_child(first, last, True)
        number = 0
        ended = False
        while not ended:
            number += 1
            again = tmp_path / f"{last}-{number}"
            shutil.copytree(place, again)
            ended, _, _ = in_a_child(second, number, True)
            check(CollectorLayout(again), events(said))
            shutil.rmtree(again)
        shutil.rmtree(place)


def test_killed_while_it_recovers_from_some_steps(tmp_path: Path) -> None:
    killed_while_it_recovers(tmp_path, 17)


@pytest.mark.full_chaos
def test_killed_while_it_recovers_from_each_step(tmp_path: Path) -> None:
    killed_while_it_recovers(tmp_path, 1)


def killed_under_load(tmp_path: Path, share: int) -> None:
    """Many reports at once: the steps come in another order each time."""

    def work(pipe: int) -> None:
        client(CollectorLayout(place), pipe, True)

    for last in range(2, 160, share):
        place = below(tmp_path, last)
        _, _, said = in_a_child(work, last)
        check(CollectorLayout(place), events(said))
        shutil.rmtree(place)


def test_killed_with_many_reports_at_once(tmp_path: Path) -> None:
    killed_under_load(tmp_path, 10)


@pytest.mark.full_chaos
def test_killed_with_many_reports_at_once_often(tmp_path: Path) -> None:
    for number in range(5):
        killed_under_load(below(tmp_path, number), 1)
