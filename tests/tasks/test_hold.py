"""[publish] hold_hours: nights in which the mirror waits for somebody's veto, and the one that publishes."""

from __future__ import annotations

import datetime as dt

import pytest

from ooni_pipeline.bucket.layout import Stage
from ooni_pipeline.bucket.manifest import timestamp
from tasks.base import utc_now
from tests.tasks.conftest import Pipeline

pytestmark = pytest.mark.one_server


def sanitised_ago(pipeline: Pipeline, bucket_date: dt.date, **ago: int) -> None:
    """As if the bucket had been sanitised so long ago."""
    manifest = pipeline.manifest(Stage.SANITISED, bucket_date)
    manifest.made = timestamp(utc_now() - dt.timedelta(**ago))
    manifest.write(pipeline.layout.manifest(Stage.SANITISED, bucket_date))


def on_the_mirror(pipeline: Pipeline, bucket_date: dt.date) -> bool:
    proof = pipeline.layout.manifest(Stage.PUBLISHED, bucket_date).exists()
    assert proof == pipeline.layout.bucket(Stage.PUBLISHED, bucket_date).exists()
    return proof


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_night_succeeds_and_a_later_one_publishes(pipeline: Pipeline, workers: str) -> None:
    """Cron's two lines: the night of a bucket, and RangeDaily over the last seven days."""
    yesterday = pipeline.today - dt.timedelta(days=1)
    week = ["--start", str(pipeline.today - dt.timedelta(days=1)), "--stop", str(pipeline.today)]
    later = ["--module", "tasks.nightly", "RangeDaily", "--of", "Nightly", *week, "--workers", workers]
    pipeline.configure(publish__hold_hours="24")
    pipeline.put_raw(yesterday, "-GR-")
    pipeline.verb("adopt", yesterday, yesterday)

    output = pipeline.nightly(yesterday, "--workers", workers)
    assert f"bucket {yesterday} waits: published from " in output
    assert not on_the_mirror(pipeline, yesterday)
    assert pipeline.query("SELECT count(*) > 0 FROM country_counts") == [(True,)], (
        "the database does not wait"
    )
    assert "Did not run any tasks" in pipeline.nightly(yesterday)
    sanitised_ago(pipeline, yesterday, hours=23, minutes=58)
    assert "Did not run any tasks" in pipeline.luigi(*later)

    sanitised_ago(pipeline, yesterday, hours=24)
    output = pipeline.luigi(*later)
    assert "done      PublishReports" in output and "running   SanitiseReports" not in output
    assert on_the_mirror(pipeline, yesterday)
    assert "Did not run any tasks" in pipeline.luigi(*later)
    pipeline.verb("ledger", yesterday)


def test_the_ledger_says_from_when_on(pipeline: Pipeline) -> None:
    pipeline.receive("-GR-")
    pipeline.configure(publish__hold_hours="24")
    pipeline.nightly(None, "--log-level", "WARNING")
    made = pipeline.manifest(Stage.SANITISED).made
    date, _, time = made.partition("T")
    then = f"{dt.date.fromisoformat(date) + dt.timedelta(days=1)}T{time}"
    assert f"published  from {then} on" in pipeline.verb("ledger", pipeline.today)
    assert pipeline.verb("ledger", "--quiet", pipeline.today) == "", "no mail each morning"
    sanitised_ago(pipeline, pipeline.today, hours=25)
    assert "not done with stage published" in pipeline.verb("ledger", pipeline.today, expect=1), "overdue"


def test_one_bucket_can_be_published_before_its_time(pipeline: Pipeline) -> None:
    pipeline.receive("-GR-")
    pipeline.configure(publish__hold_hours="24")
    pipeline.nightly()
    assert not on_the_mirror(pipeline, pipeline.today)
    command = ["--module", "tasks.publish", "PublishReports", "--bucket-date", str(pipeline.today)]
    pipeline.luigi(*command, "--publish-hold-hours", "0")
    assert on_the_mirror(pipeline, pipeline.today)


def test_what_is_on_the_mirror_is_replaced_at_once(pipeline: Pipeline) -> None:
    """A bridge that was found to leak must not stay up for another day."""
    pipeline.receive("-GR-")
    pipeline.nightly()
    pipeline.configure(publish__hold_hours="24")
    pipeline.verb("forget", "sanitise", pipeline.today, pipeline.today)
    assert "done      PublishReports" in pipeline.nightly()
    made = [pipeline.manifest(stage).made for stage in (Stage.SANITISED, Stage.PUBLISHED)]
    assert made == sorted(made)


def test_an_empty_day_waits_too(pipeline: Pipeline) -> None:
    yesterday = pipeline.today - dt.timedelta(days=1)
    pipeline.configure(publish__hold_hours="24")
    pipeline.verb("adopt", "--empty", yesterday, yesterday)
    pipeline.nightly(yesterday)
    assert not on_the_mirror(pipeline, yesterday)
    sanitised_ago(pipeline, yesterday, hours=24)
    pipeline.nightly(yesterday)
    assert on_the_mirror(pipeline, yesterday)


@pytest.mark.parametrize("made", ["yesterday", "2016-13-01T00:00:00Z"])
def test_a_manifest_without_a_time_is_told_not_published(pipeline: Pipeline, made: str) -> None:
    pipeline.receive("-GR-")
    pipeline.configure(publish__hold_hours="24")
    pipeline.nightly()
    manifest = pipeline.manifest(Stage.SANITISED)
    manifest.made = made
    manifest.write(pipeline.layout.manifest(Stage.SANITISED, pipeline.today))
    assert "has a time that is none" in pipeline.nightly(expect=30)
    assert not on_the_mirror(pipeline, pipeline.today)


@pytest.mark.parametrize("hours", ["-1", "1.5", "a day", "100000"])
def test_a_window_that_is_none_publishes_nothing(pipeline: Pipeline, hours: str) -> None:
    pipeline.receive("-GR-")
    pipeline.configure(publish__hold_hours=hours)
    output = pipeline.nightly(None, "--log-level", "WARNING", expect=35)
    assert "[publish]" in output and "Traceback" not in output
    assert not on_the_mirror(pipeline, pipeline.today)
