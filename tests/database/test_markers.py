"""What the database proves about buckets, asked singly and in bulk."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from ooni_pipeline.database.markers import (
    BucketCounts,
    buckets_in_views,
    counts,
    forget_loads,
    in_views,
    is_loaded,
    loaded_buckets,
)
from ooni_pipeline.database.metrics import load_bucket
from ooni_pipeline.database.statements import sql_directory
from ooni_pipeline.database.views import refresh_views
from ooni_pipeline.fingerprints import load_fingerprints

from .measurements import BUCKET, NEXT_BUCKET, entry, query, write_report

FIRST, LAST = dt.date(2000, 1, 1), dt.date(2040, 12, 31)


@pytest.fixture
def report(tmp_path: Path) -> Path:
    return write_report(tmp_path / "a.json", [entry(1), entry(2), b"no entry"])


def load(url: str, bucket_date: dt.date, reports: list[Path]) -> None:
    load_bucket(url, bucket_date, reports, load_fingerprints(), reject=lambda *_: None)


def test_a_bucket_from_nothing_to_views_and_back(url: str, report: Path) -> None:
    assert not is_loaded(url, BUCKET) and not in_views(url, BUCKET)
    assert counts(url, FIRST, LAST) == {}
    load(url, BUCKET, [report])
    assert is_loaded(url, BUCKET) and not in_views(url, BUCKET)
    assert counts(url, FIRST, LAST) == {
        BUCKET: BucketCounts(BUCKET, 1, 2, 2, False, 1, load_fingerprints().version)
    }
    refresh_views(url)
    assert in_views(url, BUCKET)
    assert counts(url, FIRST, LAST)[BUCKET].in_views
    forget_loads(url, BUCKET, BUCKET)
    assert not is_loaded(url, BUCKET) and not in_views(url, BUCKET)
    assert query(url, "SELECT count(*) FROM metrics") == [(2,)]  # readers see them until they are replaced
    load(url, BUCKET, [report])
    assert is_loaded(url, BUCKET) and not in_views(url, BUCKET)  # another load than the views show
    refresh_views(url)
    assert in_views(url, BUCKET)


def test_ranges(url: str) -> None:
    dates = [dt.date(2015, 12, 31), BUCKET, NEXT_BUCKET]
    for date in dates:
        load(url, date, [])
    assert loaded_buckets(url, FIRST, LAST) == set(dates)
    assert loaded_buckets(url, BUCKET, BUCKET) == {BUCKET}
    assert loaded_buckets(url, dt.date(2017, 1, 1), LAST) == set() == buckets_in_views(url, FIRST, LAST)
    refresh_views(url)
    assert buckets_in_views(url, BUCKET, LAST) == {BUCKET, NEXT_BUCKET}
    forget_loads(url, dates[0], BUCKET)
    assert loaded_buckets(url, FIRST, LAST) == {NEXT_BUCKET} == buckets_in_views(url, FIRST, LAST)
    forget_loads(url, FIRST, LAST)
    assert loaded_buckets(url, FIRST, LAST) == set()


def test_checks_find_what_is_wrong(url: str, report: Path, tmp_path: Path) -> None:
    checks = sql_directory() / "checks"
    load(url, BUCKET, [report])
    again = entry(1, NEXT_BUCKET, report_filename=f"{NEXT_BUCKET}/again.json")
    load(url, NEXT_BUCKET, [write_report(tmp_path / "b.json", [again])])
    ((_, buckets, names),) = query(url, (checks / "ids_in_several_buckets.sql").read_text())
    assert (buckets, names) == (2, ["2016-08-01/report-1.json", "2016-08-02/again.json"])
    assert query(url, (checks / "rows_as_marked.sql").read_text()) == []
    query(url, "DELETE FROM metrics WHERE input = 'http://example.test/2'")
    assert query(url, (checks / "rows_as_marked.sql").read_text()) == [(BUCKET, 2, 1)]
