"""Many probes at once against the real service, and kill -9 of it under their load."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.collector.load import Acknowledged, assert_complete, send_load
from tests.parts.collector import Collector

ENTRIES, CONNECTIONS = 1200, 20


def test_two_hundred_reports_at_a_time(collector: Collector) -> None:
    load = send_load(collector.url, connections=200, entries=1000, size=5000)
    told = asyncio.run(asyncio.wait_for(load, 120))
    assert (len(told.entries), told.count, told.again) == (200, 1000, 0)
    assert_complete(told, collector.layout.archive)
    assert not list(collector.layout.staging.iterdir())


def test_many_connections_send_into_one_report(collector: Collector) -> None:
    load = send_load(collector.url, connections=40, entries=2000, size=2000, sharing=20)
    told = asyncio.run(asyncio.wait_for(load, 120))
    assert (len(told.entries), told.count) == (2, 2000)
    assert_complete(told, collector.layout.archive)


async def _under_load(collector: Collector, form: str, kills: int, randomness: random.Random) -> Acknowledged:
    """Send a load, and kill and start the service each time that a drawn part more of it was acknowledged."""
    told, entries = Acknowledged(), ENTRIES * kills
    load = asyncio.ensure_future(
        send_load(
            collector.url,
            connections=CONNECTIONS,
            entries=entries,
            size=3000,
            reports=4 * kills,
            sharing=2,
            form=form,
            told=told,
        )
    )
    for number in range(kills):
        due = entries * (number + randomness.uniform(0.1, 0.9)) / kills
        while told.count < due and not load.done():
            await asyncio.sleep(0.001)
        await asyncio.to_thread(collector.kill)
        await asyncio.to_thread(collector.start)
    return await asyncio.wait_for(load, 60 + 10 * kills)


@pytest.mark.parametrize("kills", [2, pytest.param(50, marks=pytest.mark.full_chaos)])
@pytest.mark.parametrize("form", ["json", "yaml"])
def test_kill_9_under_load_loses_and_doubles_nothing(collector: Collector, form: str, kills: int) -> None:
    randomness = random.Random(kills)  # noqa: S311
    told = asyncio.run(_under_load(collector, form, kills, randomness))
    assert told.again > 0, "no kill met a request"
    assert_complete(told, collector.layout.archive)
    collector.stop()
    assert not list(collector.layout.quarantine.iterdir())
