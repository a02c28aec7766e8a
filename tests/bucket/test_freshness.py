"""Late, little, impossible: by proofs alone, with the clock as an argument."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from ooni_pipeline.bucket.decisions import decide, note_held
from ooni_pipeline.bucket.freshness import (
    FEWEST,
    LOOK_BACK,
    USUAL,
    Known,
    due,
    impossible_buckets,
    late_buckets,
    little,
    made_by_another_clock,
    missed_around,
    next_night,
    waiting_long,
)
from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.manifest import Manifest, ReportRecord, timestamp
from ooni_pipeline.bucket.process import SINCE_BOOT
from ooni_pipeline.bucket.stage import DECISIONS
from ooni_pipeline.report.tally import Tally

DAY = dt.date(2016, 8, 10)
LATE = dt.timedelta(hours=3)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "private", tmp_path / "public")


def prove(
    layout: Layout, stage: Stage, day: dt.date, came: dict[str, int] | None = None, **facts: object
) -> None:
    records = [
        ReportRecord(f"r{collector[1:]}{number}", f"r{collector[1:]}{number}.json", collector=collector)
        for collector, count in (came or {}).items()
        for number in range(count)
    ]
    Manifest(stage.value, day, "2016-08-10T04:00:00Z", facts=facts, reports=records).write(
        layout.manifest(stage, day)
    )


def done(layout: Layout, day: dt.date) -> None:
    for stage in Stage:
        prove(layout, stage, day)


@pytest.mark.parametrize(
    ("hour", "minute", "last"), [(6, 59, 9), (7, 0, 10), (23, 59, 10), (0, 0, 9), (3, 59, 9)]
)
def test_a_bucket_is_due_some_hours_after_its_night(hour: int, minute: int, last: int) -> None:
    dates = due(dt.datetime(2016, 8, 10, hour, minute), LATE)
    assert dates[-1] == dt.date(2016, 8, last)
    assert len(dates) == LOOK_BACK
    assert dates == sorted(set(dates))
    assert due(dt.datetime(2016, 8, 10, 7, 0), dt.timedelta(hours=30))[-1] == dt.date(2016, 8, 8)


def test_what_is_done_is_not_late(layout: Layout) -> None:
    done(layout, DAY)
    assert late_buckets(layout, [DAY], Known({DAY}, {DAY})) == []
    assert late_buckets(layout, [DAY], Known()) == [], "a database that cannot be asked is told elsewhere"


@pytest.mark.parametrize(
    ("stage", "says"),
    [
        (Stage.RAW, ["never fetched"]),
        (Stage.BACKUP, ["not backed up"]),
        (Stage.REMOVED, ["not removed from the collectors"]),
        (Stage.NORMALISED, ["not normalised"]),
        (Stage.SANITISED, ["not sanitised"]),
        (Stage.PUBLISHED, ["not on the mirror"]),
    ],
)
def test_each_stage_that_is_missing_is_named(layout: Layout, stage: Stage, says: list[str]) -> None:
    done(layout, DAY)
    layout.manifest(stage, DAY).unlink()
    problems = late_buckets(layout, [DAY], Known({DAY}, {DAY}))
    assert len(problems) == 1
    assert all(part in problems[0] for part in [*says, str(DAY), "python" if stage is Stage.RAW else "luigi"])


def test_what_only_waits_for_another_stage_is_not_told(layout: Layout) -> None:
    for stage in (Stage.RAW, Stage.BACKUP, Stage.REMOVED):
        prove(layout, stage, DAY)
    (problem,) = late_buckets(layout, [DAY], Known(set(), set()))
    assert "not normalised" in problem


def test_the_database_and_the_views(layout: Layout) -> None:
    done(layout, DAY)
    assert "not loaded" in "".join(late_buckets(layout, [DAY], Known(set(), set())))
    (problem,) = late_buckets(layout, [DAY], Known({DAY}, set()))
    assert "not in the views" in problem


def test_a_veto_window_is_respected(layout: Layout) -> None:
    done(layout, DAY)
    layout.manifest(Stage.PUBLISHED, DAY).unlink()
    assert late_buckets(layout, [DAY], Known({DAY}, {DAY}, {DAY})) == []
    assert late_buckets(layout, [DAY], Known({DAY}, {DAY}, {DAY - dt.timedelta(1)})) != []
    assert late_buckets(layout, [DAY], Known({DAY}, {DAY}, {DAY}, set())) != [], "its pages can be made"


def test_pages_that_do_not_show_a_bucket(layout: Layout) -> None:
    done(layout, DAY)
    assert late_buckets(layout, [DAY], Known({DAY}, {DAY}, on_pages={DAY})) == []
    (problem,) = late_buckets(layout, [DAY], Known({DAY}, {DAY}, on_pages=set()))
    assert f"bucket {DAY} is late, not on the public pages" in problem
    assert "not on the public pages" not in "".join(
        late_buckets(layout, [DAY], Known({DAY}, set(), (), set()))
    )


@pytest.mark.parametrize(
    ("hour", "expected"),
    [(0, "2016-08-10 04"), (3, "2016-08-10 04"), (4, "2016-08-11 04"), (23, "2016-08-11 04")],
)
def test_when_the_next_night_begins(hour: int, expected: str) -> None:
    assert f"{next_night(dt.datetime(2016, 8, 10, hour)):%Y-%m-%d %H}" == expected


def test_three_missed_nights_are_one_line_with_one_command(layout: Layout) -> None:
    days = [DAY + dt.timedelta(days=number) for number in range(5)]
    done(layout, days[0])
    done(layout, days[4])
    (problem,) = late_buckets(layout, days, Known(set(days), set(days)))
    assert "python -m tasks.adopt --empty 2016-08-11 2016-08-13" in problem
    assert "3 buckets (2016-08-11, 2016-08-12, 2016-08-13)" in problem


def test_a_fetch_that_was_begun_is_to_be_finished_not_adopted(layout: Layout) -> None:
    layout.plan(DAY).parent.mkdir(parents=True)
    layout.plan(DAY).write_text("{}")
    (problem,) = late_buckets(layout, [DAY], Known())
    assert "begun, but not fetched" in problem and "adopt" not in problem


def test_nights_that_were_missed_in_a_row(layout: Layout) -> None:
    days = [DAY + dt.timedelta(days=number) for number in range(6)]
    today = days[5]
    assert missed_around(layout, DAY, today) == (DAY, today - dt.timedelta(days=1)), "up to today"
    prove(layout, Stage.RAW, days[0])
    for day in days[1:]:
        assert missed_around(layout, day, today)[0] == days[1]
    prove(layout, Stage.RAW, days[4])
    assert missed_around(layout, days[2], today) == (days[1], days[3])
    layout.plan(days[2]).parent.mkdir(parents=True)
    layout.plan(days[2]).write_text("{}")
    assert missed_around(layout, days[3], today) == (days[3], days[3]), "a fetch was begun before"
    lonely = DAY - dt.timedelta(days=400)
    assert missed_around(layout, lonely, today) == (lonely, lonely), (
        "years in which nothing is no night missed"
    )


@pytest.mark.parametrize(("made", "other"), [(0, False), (1, True), (-1, False)])
def test_a_proof_of_a_time_to_come(layout: Layout, made: int, other: bool) -> None:
    now = dt.datetime(2016, 8, 10, 4, 0, 0)
    prove(layout, Stage.RAW, DAY)
    assert not made_by_another_clock(layout, DAY, now, {})
    manifest = Manifest.read(layout.manifest(Stage.RAW, DAY))
    manifest.made = timestamp(now + dt.timedelta(seconds=made))
    manifest.write(layout.manifest(Stage.PUBLISHED, DAY))
    assert made_by_another_clock(layout, DAY, now, {}) == other
    assert not made_by_another_clock(layout, DAY + dt.timedelta(days=1), now, {})


@pytest.mark.parametrize(
    ("boot", "seconds", "other"),
    [
        ("one", 1_060, False),  # a minute by the clock, a minute by the machine
        ("one", 1_060 + 86_400, True),  # a clock a day ahead made it at the very same time of the day
        ("one", 1_060 + 1_000, False),  # the clock was corrected
        ("another", 60, False),  # nobody knows
    ],
)
def test_a_clock_that_went_otherwise_than_the_machine(
    layout: Layout, boot: str, seconds: int, other: bool
) -> None:
    now = dt.datetime(2016, 8, 10, 4, 1, 0)
    prove(layout, Stage.RAW, DAY)
    manifest = Manifest.read(layout.manifest(Stage.RAW, DAY))
    manifest.made = timestamp(now - dt.timedelta(minutes=1))
    manifest.facts = {SINCE_BOOT: {"boot": "one", "seconds": 1_000}}
    manifest.write(layout.manifest(Stage.RAW, DAY))
    assert made_by_another_clock(layout, DAY, now, {"boot": boot, "seconds": seconds}) == other
    assert not made_by_another_clock(layout, DAY, now, {}), "a machine that does not tell"


def test_a_bucket_of_a_day_to_come(layout: Layout) -> None:
    for ahead in (-1, 0, 1):
        prove(layout, Stage.RAW, DAY + dt.timedelta(days=ahead))
    (problem,) = impossible_buckets(layout, DAY)
    assert "python -m tasks.forget fetch 2016-08-11 2016-08-11" in problem


def weeks(layout: Layout, came: dict[str, int], days: int = USUAL) -> None:
    for number in range(1, days + 1):
        prove(layout, Stage.RAW, DAY - dt.timedelta(days=number), came)


def test_ninety_percent_less_is_loud(layout: Layout) -> None:
    weeks(layout, {"/a": 20})
    prove(layout, Stage.RAW, DAY, {"/a": 2})
    (problem,) = little(layout, DAY, 25)
    assert "2 reports from all collectors, where 20 are usual" in problem
    assert little(layout, DAY, 10) == [], "just the limit"
    assert little(layout, DAY, 0) == [], "switched off"


def test_nothing_at_all_is_little(layout: Layout) -> None:
    weeks(layout, {"/a": 1})
    prove(layout, Stage.RAW, DAY)
    assert len(little(layout, DAY, 25)) == 1


def test_one_collector_of_three_that_gives_nothing(layout: Layout) -> None:
    weeks(layout, {"/a": 8, "/b": 8, "/c": 8})
    prove(layout, Stage.RAW, DAY, {"/a": 9, "/b": 9})
    (problem,) = little(layout, DAY, 25)
    assert "0 reports from collector /c, where 8 are usual" in problem


def test_a_few_days_tell_nothing(layout: Layout) -> None:
    weeks(layout, {"/a": 20}, FEWEST - 1)
    prove(layout, Stage.RAW, DAY)
    assert little(layout, DAY, 25) == []
    prove(layout, Stage.RAW, DAY - dt.timedelta(days=FEWEST), {"/a": 20})
    assert len(little(layout, DAY, 25)) == 1


def test_nights_that_were_missed_do_not_change_what_is_usual(layout: Layout) -> None:
    weeks(layout, {"/a": 20})
    for number in (3, 4, 5):
        prove(layout, Stage.RAW, DAY - dt.timedelta(days=number))
    prove(layout, Stage.RAW, DAY, {"/a": 2})
    assert len(little(layout, DAY, 25)) == 1


def test_duplicates_are_no_reports(layout: Layout) -> None:
    """A collector that sends the old ones again and again brings nothing."""
    weeks(layout, {"/a": 20})
    records = [ReportRecord(f"{n}", f"{n}.json", collector="/a", duplicate_of="x/y") for n in range(20)]
    Manifest("raw", DAY, "2016-08-10T04:00:00Z", reports=records).write(layout.manifest(Stage.RAW, DAY))
    assert len(little(layout, DAY, 25)) == 1


def test_collectors_that_were_not_reached(layout: Layout) -> None:
    prove(layout, Stage.RAW, DAY, {"/a": 1}, unreachable={"/b": "cannot list /b: No such file"})
    assert little(layout, DAY, 25) == [
        f"bucket {DAY} goes without collector /b: cannot list /b: No such file"
    ]
    assert little(layout, DAY + dt.timedelta(days=1), 25) == [], "never fetched: told as late"


def test_reports_that_wait_for_a_person_for_long(layout: Layout) -> None:
    now = dt.datetime(2016, 8, 10, 7)
    note_held(layout, DAY, ["a", "b"], now - dt.timedelta(days=8))
    week = dt.timedelta(days=7)
    (problem,) = waiting_long(layout, now, week)
    assert problem.startswith("2 reports wait") and "python -m tasks.held list" in problem
    assert waiting_long(layout, now - dt.timedelta(days=2), week) == []
    decide(layout, DAY, ["a"], decision="drop", now=now, by="me")
    (problem,) = waiting_long(layout, now, week)
    assert problem.startswith("1 reports wait")


def test_what_a_person_has_decided_does_not_wait(layout: Layout) -> None:
    """Entries that could not be cut stay held after a release, and somebody has seen them."""
    now = dt.datetime(2016, 8, 10, 7)
    note_held(layout, DAY, ["a"], now - dt.timedelta(days=8))
    record = ReportRecord("a", "a.json", counts=Tally(taken=2, out=1, held=1))
    proof = Manifest("sanitised", DAY, "2016-08-02T04:00:00Z", reports=[record])
    proof.write(layout.manifest(Stage.SANITISED, DAY))
    assert len(waiting_long(layout, now, dt.timedelta(days=7))) == 1
    decide(layout, DAY, ["a"], decision="release", now=now, by="me")
    proof.facts[DECISIONS] = {"a": "release"}
    proof.write(layout.manifest(Stage.SANITISED, DAY))
    assert waiting_long(layout, now, dt.timedelta(days=7)) == []
