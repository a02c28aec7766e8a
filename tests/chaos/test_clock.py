"""A clock that is a day back or ahead, midnight in the middle of a night, and nights that nobody ran.

Every process of the pipeline has a false clock; PostgreSQL has the right one. Whatever it says: no report is
lost, none is in two buckets, the ledger adds up, and the next right night heals.
"""

from __future__ import annotations

import datetime as dt
import os
import signal
import sys
import time
from collections import Counter

import pytest

from ooni_pipeline.bucket.layout import Stage
from ooni_pipeline.bucket.lock import one_writer
from ooni_pipeline.bucket.manifest import Manifest
from tests.chaos.clock import Clock, cron, deployed, until_exists
from tests.tasks.conftest import Pipeline

pytestmark = pytest.mark.one_server

DAY = [dt.date(2016, 8, 10) + dt.timedelta(days=number) for number in range(6)]
FIRST, SECOND, THIRD = "-GR-", "-IR-", "-TR-"
#: What is said of PostgreSQL's clock, which is right.
CLOCKS = "PROBLEM    the clock here says "


@pytest.fixture
def clock(pipeline: Pipeline) -> Clock:
    """A pipeline as it is deployed, before its first night: that of DAY[0]."""
    deployed(pipeline)
    made = Clock(pipeline)
    made.at(DAY[0], 3)
    pipeline.verb("adopt", "--empty", DAY[0] - dt.timedelta(days=7), DAY[0] - dt.timedelta(days=1))
    return made


def night(clock: Clock, day: dt.date, hour: int, *names: str) -> tuple[int, list[str]]:
    """Receive reports and run what cron runs at this hour; exit status and what it mails, clocks aside."""
    for name in names:
        clock.pipeline.receive(name)
    clock.at(day, hour, 0, 1)
    status, output = cron(clock.pipeline, hour)
    assert "Traceback" not in output
    return status, [line for line in output.splitlines() if line.strip() and not line.startswith(CLOCKS)]


def in_buckets(pipeline: Pipeline) -> Counter[str]:
    """How many buckets have each report, as it was called on its collector."""
    layout = pipeline.layout
    manifests = [Manifest.read(layout.manifest(Stage.RAW, day)) for day in layout.manifest_dates(Stage.RAW)]
    return Counter(record.path for manifest in manifests for record in manifest.reports)


def all_is_sound(clock: Clock, last: dt.date, *names: str) -> None:
    """Each report that came is in one bucket, in the database and on the mirror; collectors are empty."""
    pipeline = clock.pipeline
    came = in_buckets(pipeline)
    assert set(came.values()) == {1}
    assert all(any(name in path for path in came) for name in names)
    assert list(pipeline.archive.iterdir()) == []
    (counts,) = pipeline.query(
        "SELECT count(*), count(DISTINCT id), count(DISTINCT report_filename) FROM metrics"
    )
    assert counts[0] == counts[1] > 0
    assert counts[2] == len(came)
    assert len(list(pipeline.layout.public.rglob("*.json.gz"))) == len(came)
    for hour in (6, 7):
        assert night(clock, last, hour)[1] == [], "nobody is bothered any more"
    pipeline.verb("ledger", DAY[0], last)


@pytest.mark.parametrize("heeded", [False, pytest.param(True, marks=pytest.mark.full_chaos)])
def test_a_clock_a_day_ahead(clock: Clock, heeded: bool) -> None:
    clock.pipeline.receive(FIRST)
    clock.at(DAY[1], 4, 30)  # (ahead by half an hour more: cron's second may be the very same)
    assert cron(clock.pipeline, 4)[0] == 0, "it is DAY[0], and nobody can know"
    _, told = night(clock, DAY[0], 7)  # the clock is right again
    command = f"python -m tasks.forget fetch {DAY[1]} {DAY[1]}"
    assert any(f"bucket {DAY[1]} is of a day to come" in line and command in line for line in told)
    if heeded:
        clock.pipeline.verb("forget", "fetch", DAY[1], DAY[1])
    status, told = night(clock, DAY[1], 4, SECOND)
    assert status == 0
    assert [f"bucket {DAY[1]} was made by another clock" in line for line in told] == [True] * (not heeded)
    assert night(clock, DAY[1], 6)[0] == 30, "DAY[0] had no night"
    clock.pipeline.verb("adopt", "--empty", DAY[0], DAY[0])
    all_is_sound(clock, DAY[1], FIRST, SECOND)


@pytest.mark.full_chaos
def test_a_clock_a_day_behind(clock: Clock) -> None:
    assert night(clock, DAY[0], 4, FIRST) == (0, [])
    clock.at(DAY[0], 3, 30)  # it is DAY[1]
    clock.pipeline.receive(SECOND)
    status, output = cron(clock.pipeline, 4)
    assert status == 0 and f"bucket {DAY[0]} was made by another clock" in output
    assert night(clock, DAY[2], 4, THIRD) == (0, [])
    _, told = night(clock, DAY[2], 7)
    command = f"python -m tasks.adopt --empty {DAY[1]} {DAY[1]}"
    assert any(command in line for line in told)
    clock.pipeline.verb("adopt", "--empty", DAY[1], DAY[1])
    all_is_sound(clock, DAY[2], FIRST, SECOND, THIRD)


@pytest.mark.full_chaos
def test_a_bucket_that_needs_nothing_is_not_opened_again(clock: Clock) -> None:
    assert night(clock, DAY[0], 4, FIRST) == (0, [])
    made = clock.pipeline.manifest(Stage.RAW, DAY[0]).made
    clock.at(DAY[0], 4, 20)
    assert cron(clock.pipeline, 4) == (0, ""), "nothing is said and nothing done on a second run"
    assert clock.pipeline.manifest(Stage.RAW, DAY[0]).made == made


@pytest.mark.full_chaos
def test_the_night_of_tomorrow(clock: Clock) -> None:
    clock.pipeline.receive(FIRST)
    clock.at(DAY[0], 4)
    output = clock.pipeline.nightly(DAY[1], "--log-level", "WARNING", expect=30)
    assert f"bucket {DAY[1]} is in the future: it is {DAY[0]} (UTC)" in output
    assert night(clock, DAY[0], 4) == (0, [])
    all_is_sound(clock, DAY[0], FIRST)


@pytest.mark.full_chaos
def test_a_night_whose_date_is_from_before_midnight(clock: Clock) -> None:
    clock.pipeline.receive(FIRST)
    clock.at(DAY[1], 0, 0, 1)
    output = clock.pipeline.nightly(DAY[0], "--log-level", "WARNING", expect=30)
    assert f"python -m tasks.adopt --empty {DAY[0]} {DAY[0]}" in output
    assert night(clock, DAY[1], 4) == (0, [])
    clock.pipeline.verb("adopt", "--empty", DAY[0], DAY[0])
    all_is_sound(clock, DAY[1], FIRST)


def past_midnight(clock: Clock) -> None:
    """A short step: luigi's scheduler takes a worker for dead that it has not heard of for a minute."""
    clock.at(DAY[1], 0, 0, 10)
    time.sleep(1.5)  # it is seen after a second


@pytest.mark.full_chaos
@pytest.mark.parametrize("workers", ["1", "2"])
def test_midnight_in_the_middle_of_fetch(clock: Clock, workers: str) -> None:
    pipeline = clock.pipeline
    pipeline.receive()
    clock.at(DAY[0], 23, 59, 30)
    running = pipeline.start_night("--log-level", "WARNING", "--workers", workers, bucket_date=DAY[0])
    until_exists(pipeline.layout.plan(DAY[0]))
    os.killpg(running.pid, signal.SIGSTOP)
    assert not pipeline.layout.manifest(Stage.RAW, DAY[0]).exists()
    past_midnight(clock)
    os.killpg(running.pid, signal.SIGCONT)
    output, _ = running.communicate(timeout=120)
    assert running.returncode == 0, output
    assert night(clock, DAY[1], 4, THIRD)[0] == 0
    came = in_buckets(pipeline)
    again = {path for path in came if THIRD in path}
    assert {came[path] for path in again} == {2}, "it came twice: the second one is a duplicate"
    assert {came[path] for path in set(came) - again} == {1}
    assert list(pipeline.archive.iterdir()) == []
    (counts,) = pipeline.query("SELECT count(*), count(DISTINCT id) FROM metrics")
    assert counts == (448, 448)
    pipeline.verb("ledger", DAY[0], DAY[1])


@pytest.mark.full_chaos
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(
    ("stage", "before"),
    [
        ("FetchReports", None),
        ("NormaliseReports", Stage.REMOVED),
        ("SanitiseReports", Stage.NORMALISED),
        ("LoadMeasurements", Stage.PUBLISHED),
        ("RefreshViews", Stage.PUBLISHED),
    ],
)
def test_midnight_while_a_stage_waits(clock: Clock, stage: str, before: Stage | None, workers: str) -> None:
    pipeline = clock.pipeline
    pipeline.receive(FIRST)
    clock.at(DAY[0], 23, 59, 30)
    lock = pipeline.layout.lock(stage, None if stage == "RefreshViews" else DAY[0])
    with one_writer(lock):
        running = pipeline.start_night("--log-level", "WARNING", "--workers", workers, bucket_date=DAY[0])
        if before:
            until_exists(pipeline.layout.manifest(before, DAY[0]))
        time.sleep(3)  # until it waits
        past_midnight(clock)
    output, _ = running.communicate(timeout=120)
    if stage == "FetchReports":  # nothing of the day was taken down yet: what came is the next day's
        assert running.returncode == 30
        assert f"bucket {DAY[0]} was never fetched" in output
        pipeline.verb("adopt", "--empty", DAY[0], DAY[0])
    else:
        assert running.returncode == 0, output
    assert night(clock, DAY[1], 4, SECOND)[0] == 0
    all_is_sound(clock, DAY[1], FIRST, SECOND)


@pytest.mark.parametrize("missed", [pytest.param(1, marks=pytest.mark.full_chaos), 3])
def test_nights_that_were_missed(clock: Clock, missed: int) -> None:
    """The machine is off; reports pile up on the collector. One line says what to type, then all is quiet."""
    assert night(clock, DAY[0], 4, FIRST) == (0, [])
    back = DAY[missed + 1]
    assert night(clock, back, 4, SECOND, THIRD) == (0, []), "the night itself goes well"
    status, told = night(clock, back, 6)
    command = f"python -m tasks.adopt --empty {DAY[1]} {DAY[missed]}"
    assert status == 30
    assert len(told) == missed + 1, "a line for each bucket that it was asked for"
    assert all(line.startswith("ERROR: failed") and line.endswith(command) for line in told[:-1])
    assert told[-1] == "exit status 30: README, Runbook"
    status, told = night(clock, back, 7)
    assert status != 0
    assert len(told) == 1 + 2 * missed
    assert told[0].startswith("PROBLEM ") and told[0].endswith(command)
    clock.pipeline.run("/bin/sh", "-c", command.replace("python", sys.executable, 1))
    all_is_sound(clock, back, FIRST, SECOND, THIRD)
    assert night(clock, DAY[missed + 2], 4) == (0, [])
    all_is_sound(clock, DAY[missed + 2], FIRST, SECOND, THIRD)


@pytest.mark.full_chaos
def test_a_bucket_that_was_lost_is_not_called_empty(clock: Clock) -> None:
    """``adopt --empty``, typed too quickly, must not hide what the backup still has."""
    pipeline = clock.pipeline
    assert night(clock, DAY[0], 4, FIRST) == (0, [])
    for path in (
        pipeline.layout.manifest(Stage.RAW, DAY[0]),
        pipeline.layout.plan(DAY[0]),
        *pipeline.layout.bucket(Stage.RAW, DAY[0]).iterdir(),
    ):
        path.unlink()
    pipeline.layout.bucket(Stage.RAW, DAY[0]).rmdir()
    clock.at(DAY[1], 4)
    output = pipeline.verb("adopt", "--empty", DAY[0], DAY[0])
    assert f"bucket {DAY[0]} is not empty, it is in the backup" in output and "adopted 0 buckets" in output
    pipeline.luigi("--module", "tasks.fetch", "FetchReports", "--bucket-date", str(DAY[0]))
    assert in_buckets(pipeline).total() == 1
