"""Ranges of buckets: a week, a done week, empty years."""

from __future__ import annotations

import datetime as dt

import pytest

from tests.tasks.conftest import Pipeline

pytestmark = pytest.mark.one_server

WEEK = [dt.date(2016, 8, 1) + dt.timedelta(days=number) for number in range(7)]
REPORTS = ["-GR-", "-IR-", "-TR-", "-RU-", "-CN-", "-DE-", "-KR-"]


def refresh_week(pipeline: Pipeline) -> str:
    return pipeline.luigi(
        "--module", "tasks.refresh", "RangeDaily", "--of", "RefreshViews",
        "--start", "2016-08-01", "--stop", "2016-08-08", "--log-level", "INFO",
    )  # fmt: skip


def test_a_week(pipeline: Pipeline) -> None:
    for bucket_date, name in zip(WEEK, REPORTS, strict=True):
        pipeline.put_raw(bucket_date, name)
    pipeline.verb("adopt", WEEK[0], WEEK[-1])
    output = refresh_week(pipeline)
    assert output.count("running   LoadMeasurements(") == 7
    assert output.count("running   NormaliseReports(") == 7
    assert 1 <= _refreshes(output) <= 2, "the loads of a week share a refresh"
    assert pipeline.query("SELECT count(*) FROM loads JOIN views_contain USING (bucket_date, load_id)") == [
        (7,)
    ]
    months = pipeline.query("SELECT count(*) FROM pg_inherits WHERE inhparent = 'metrics'::regclass")
    assert months == [(1,)]

    loads = pipeline.query("SELECT bucket_date, load_id FROM loads ORDER BY 1")
    output = refresh_week(pipeline)
    assert "running   " not in output.replace("running   RangeDaily", ""), "a done week runs nothing"
    assert pipeline.query("SELECT bucket_date, load_id FROM loads ORDER BY 1") == loads

    rows = pipeline.rows_digest()
    pipeline.verb("forget", "sanitise", WEEK[2], WEEK[3])
    output = refresh_week(pipeline)
    assert output.count("running   LoadMeasurements(") == 2
    assert output.count("running   NormaliseReports(") == 0
    assert pipeline.rows_digest() == rows


def _refreshes(output: str) -> int:
    """RefreshViews that did anything: the others found their bucket in the views when their turn came."""
    return output.count("running   RefreshViews(") - output.count(" was done meanwhile")


def test_empty_dates_are_complete_after_adopt(pipeline: Pipeline) -> None:
    first, last = dt.date(2016, 1, 1), dt.date(2016, 3, 31)
    output = pipeline.verb("adopt", "--empty", first, last)
    assert "adopted 91 buckets with 0 reports" in output
    output = pipeline.luigi(
        "--module", "tasks.refresh", "RangeDaily", "--of", "RefreshViews",
        "--start", str(first), "--stop", "2016-04-01", "--log-level", "INFO",
    )  # fmt: skip
    assert "Did not run any tasks" in output
    assert pipeline.query("SELECT count(*) FROM loads") == [(91,)]
    assert pipeline.query("SELECT count(*) FROM views_contain") == [(91,)]
    pipeline.verb("ledger", "--quiet", first, last)


def test_adopt_leaves_the_database_to_the_next_run_when_it_is_down(pipeline: Pipeline) -> None:
    pipeline.configure(database__url="postgresql:///nowhere?host=/nonexistent")
    day = dt.date(2016, 1, 1)
    output = pipeline.verb("adopt", "--empty", day, day)
    assert "LoadMeasurements is left to the next run: cannot reach the database" in output
    pipeline.configure()
    pipeline.nightly(day)
    pipeline.verb("ledger", day)
