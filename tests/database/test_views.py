"""What the views show: right for a bucket counted by hand, and just the loads that are named."""

from __future__ import annotations

import datetime as dt
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from ooni_pipeline.database.connect import connected, run
from ooni_pipeline.database.markers import forget_loads, in_views
from ooni_pipeline.database.metrics import load_bucket
from ooni_pipeline.database.statements import statement
from ooni_pipeline.database.views import VIEWS, refresh_views
from ooni_pipeline.fingerprints import load_fingerprints

from .measurements import (
    BUCKET,
    NEXT_BUCKET,
    OLD_TURKISH_PAGE,
    START,
    TURKISH_PAGE,
    entry,
    one,
    page,
    query,
    wait_for,
    write_report,
)

FINGERPRINTS = load_fingerprints()
STARTED = dt.datetime.fromisoformat(START)
BOTH = page(f"{TURKISH_PAGE} {OLD_TURKISH_PAGE}")
FAILED = {"control_failure": None, "http_experiment_failure": "timed out"}


@pytest.fixture
def loaded(url: str, tmp_path: Path) -> str:
    """A bucket of two countries that block, some that do not, and two vendors."""
    turkey: dict[str, Any] = {"probe_cc": "TR", "probe_asn": "AS9121", "report_id": "turkey"}
    china: dict[str, Any] = {"probe_cc": "CN", "probe_asn": "AS4134", "report_id": "china"}
    entries = [
        entry(1, **turkey, input="http://a.test", test_keys=BOTH),  # two fingerprints: one block
        entry(2, **turkey, input="http://a.test", test_keys=page(TURKISH_PAGE)),  # repeated: counts again
        entry(3, **turkey, input="http://b.test", test_keys=page(TURKISH_PAGE)),
        entry(4, **turkey, input="http://c.test", test_keys=page("open")),
        entry(5, **turkey, input=None, test_keys=page(TURKISH_PAGE)),  # no input: counts in no total
        entry(6, **turkey, input="http://d.test", test_name="dns_consistency", test_keys=page(TURKISH_PAGE)),
        entry(7, **{**turkey, "report_id": "other"}, test_name="http_requests", test_keys=page(TURKISH_PAGE)),
        entry(8, **china, input="http://a.test", test_keys=FAILED),
        entry(9, **china, input="http://b.test"),
        entry(10, **{**china, "test_start_time": "never"}, input="http://b.test", test_keys=FAILED),
        entry(11, input="http://a.test", test_keys=page(TURKISH_PAGE)),  # a Turkish page in Germany
        entry(12, probe_cc=None, probe_asn=None, test_name="http_requests"),
        entry(
            13,
            test_name="http_invalid_request_line",
            input=None,
            test_keys={"tampering": True, "received": ["squid", "Privoxy", "squid"]},
        ),
        entry(
            14,
            test_name="http_invalid_request_line",
            input="x",
            test_keys={"tampering": True, "received": ["squid"]},
        ),
    ]
    reports = [
        write_report(tmp_path / "a.json", entries[:6]),
        write_report(tmp_path / "b.json", entries[6:]),
    ]
    load_bucket(url, BUCKET, reports, FINGERPRINTS)
    return url


def test_the_small_tables(loaded: str) -> None:
    assert query(loaded, "SELECT * FROM report_totals ORDER BY report_id, probe_cc, test_start_time") == [
        (BUCKET, "china", STARTED, "CN", "AS4134", 1, 2),
        (BUCKET, "china", None, "CN", "AS4134", 1, 1),
        (BUCKET, "other", STARTED, "TR", "AS9121", 1, 1),
        (BUCKET, "report-1", STARTED, "DE", "AS1", 0, 1),
        (BUCKET, "report-1", STARTED, None, None, 0, 1),
        (BUCKET, "turkey", STARTED, "TR", "AS9121", 3, 4),
    ]
    assert query(loaded, "SELECT * FROM country_totals ORDER BY probe_cc") == [
        (BUCKET, "CN", 3),
        (BUCKET, "DE", 3),
        (BUCKET, "TR", 7),
        (BUCKET, None, 1),
    ]
    assert query(
        loaded,
        "SELECT right(measurement_id::text, 2), kind, name FROM fingerprint_matches ORDER BY 1, 2, 3",
    ) == [
        ("01", "blockpage", "tr_hukuki_degerlendirme"),
        ("01", "blockpage", "tr_tib_title"),
        ("02", "blockpage", "tr_tib_title"),
        ("03", "blockpage", "tr_tib_title"),
        ("05", "blockpage", "tr_tib_title"),
        ("07", "blockpage", "tr_tib_title"),
        ("08", "blockpage", "cn_experiment_only"),
        ("0a", "blockpage", "cn_experiment_only"),
        ("0d", "vendor", "privoxy"),
        ("0d", "vendor", "squid"),
        ("0e", "vendor", "squid"),
    ]
    copied = "m.input, m.report_id, m.test_start_time, m.probe_cc, m.probe_asn"
    assert (
        one(
            loaded,
            f"SELECT count(*) FROM fingerprint_matches AS f JOIN metrics AS m ON m.id = f.measurement_id "
            f"WHERE ROW({copied}) IS NOT DISTINCT FROM ROW({copied.replace('m.', 'f.')}) "
            f"AND f.fingerprints = '{FINGERPRINTS.version}'",
        )
        == 11
    )


def test_the_views(loaded: str) -> None:
    assert [one(loaded, f"SELECT count(*) FROM {view}") for view in VIEWS] == [0, 0, 0, 0]
    refresh_views(loaded)
    assert without_key(loaded, "blockpage_count", "report_id, test_start_time") == [
        (1, 2, "china", STARTED, "CN", "AS4134", 2),
        (1, 1, "china", None, "CN", "AS4134", 1),
        (1, 1, "other", STARTED, "TR", "AS9121", 5),  # tested of the day, in both reports
        (3, 4, "turkey", STARTED, "TR", "AS9121", 5),
    ]
    assert without_key(loaded, "blockpage_urls", "report_id, input, test_start_time") == [
        ("http://a.test", "china", STARTED, "CN", "AS4134", 1),
        ("http://b.test", "china", None, "CN", "AS4134", 2),  # once it was open
        ("http://example.test/7", "other", STARTED, "TR", "AS9121", 1),
        ("http://a.test", "turkey", STARTED, "TR", "AS9121", 2),
        ("http://b.test", "turkey", STARTED, "TR", "AS9121", 1),
    ]
    assert without_key(loaded, "country_counts", "probe_cc") == [
        ("CN", 3, 3),
        ("DE", 3, 1),
        ("TR", 7, 5),
        (None, 1, 1),
    ]
    assert without_key(loaded, "identified_vendors", "vendor") == [
        (STARTED, "DE", "AS1", "report-1", "privoxy", 2),
        (STARTED, "DE", "AS1", "report-1", "squid", 2),
    ]


def without_key(url: str, view: str, order: str) -> list[tuple[Any, ...]]:
    return [row[:-1] for row in query(url, f"SELECT * FROM {view} ORDER BY {order}")]


def test_the_columns_of_the_views(url: str) -> None:
    columns = {
        "blockpage_count": "block_count total_count report_id test_start_time probe_cc probe_asn "
        "tested_count row_key",
        "blockpage_urls": "input report_id test_start_time probe_cc probe_asn tested_count row_key",
        "country_counts": "probe_cc count tested_count row_key",
        "identified_vendors": "test_start_time probe_cc probe_asn report_id vendor tested_count row_key",
    }
    assert tuple(columns) == VIEWS
    sql = "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum"
    for view, names in columns.items():
        assert " ".join(name for (name,) in query(url, sql, [view])) == names
        assert query(url, "SELECT indexdef FROM pg_indexes WHERE tablename = %s", [view]) == [
            (f"CREATE UNIQUE INDEX {view}_row_key_idx ON public.{view} USING btree (row_key)",)
        ]


def test_null_and_empty_have_different_keys(url: str, tmp_path: Path) -> None:
    entries = [
        entry(n, probe_cc=cc)
        for n, cc in enumerate([None, "", "(", ",", '"', "\\", "NULL", "'", "a b", "a,b"])
    ]
    load_bucket(url, BUCKET, [write_report(tmp_path / "a.json", entries)], FINGERPRINTS)
    for _ in range(2):
        refresh_views(url)
        assert one(url, "SELECT count(DISTINCT row_key) FROM country_counts") == 10


def test_two_buckets_add_up_and_a_replaced_one_leaves_nothing(loaded: str, tmp_path: Path) -> None:
    turkey: dict[str, Any] = {"probe_cc": "TR", "probe_asn": "AS9121", "report_id": "turkey"}
    more = entry(1, NEXT_BUCKET, **turkey, input="http://a.test", test_keys=BOTH)
    load_bucket(loaded, NEXT_BUCKET, [write_report(tmp_path / "n.json", [more])], FINGERPRINTS)
    refresh_views(loaded)
    assert (4, 5, "turkey", STARTED, "TR", "AS9121", 6) in without_key(loaded, "blockpage_count", "report_id")
    urls = without_key(loaded, "blockpage_urls", "report_id")
    assert ("http://a.test", "turkey", STARTED, "TR", "AS9121", 2) in urls  # two there, one here: not three
    assert one(loaded, "SELECT count FROM country_counts WHERE probe_cc = 'TR'") == 8
    forget_loads(loaded, BUCKET, BUCKET)
    load_bucket(loaded, BUCKET, [], FINGERPRINTS)
    refresh_views(loaded)
    assert without_key(loaded, "country_counts", "probe_cc") == [("TR", 1, 1)]
    assert without_key(loaded, "blockpage_count", "report_id") == [
        (1, 1, "turkey", STARTED, "TR", "AS9121", 1)
    ]
    assert without_key(loaded, "identified_vendors", "report_id") == []


def test_a_load_under_way_is_not_in_the_views_and_not_named(url: str, tmp_path: Path) -> None:
    report = write_report(tmp_path / "a.json", [entry(1)])
    load_bucket(url, BUCKET, [report], FINGERPRINTS, lambda done, total: refresh_views(url))
    assert not in_views(url, BUCKET)
    assert one(url, "SELECT count(*) FROM country_counts") == 0
    refresh_views(url)
    assert in_views(url, BUCKET)
    assert one(url, "SELECT count(*) FROM country_counts") == 1


def test_a_load_committed_while_a_refresh_runs_is_not_named(url: str, tmp_path: Path) -> None:
    report = write_report(tmp_path / "a.json", [entry(1)])
    first, rest = statement("views/refresh").split("REFRESH", 1)
    with connected(url, repeatable_read=True) as refreshing, refreshing.cursor() as cursor:
        cursor.execute(first)
        load_bucket(url, BUCKET, [report], FINGERPRINTS)
        cursor.execute("REFRESH" + rest)
    assert not in_views(url, BUCKET)
    assert one(url, "SELECT count(*) FROM country_counts") == 0


def test_who_waits_for_a_refresh_sees_what_was_loaded_meanwhile(url: str, tmp_path: Path) -> None:
    """The snapshot is taken after the lock: otherwise the second refresh would take the first one back."""
    report = write_report(tmp_path / "a.json", [entry(1)])
    with ThreadPoolExecutor(1) as threads:
        with connected(url, repeatable_read=True) as refreshing:
            run(refreshing, "views/refresh")
            second = threads.submit(refresh_views, url)
            wait_for(lambda: one(url, "SELECT count(*) FROM pg_locks WHERE NOT granted") == 1)
            load_bucket(url, BUCKET, [report], FINGERPRINTS)
        second.result(timeout=10)
    assert in_views(url, BUCKET)
    assert one(url, "SELECT count FROM country_counts") == 1


def test_readers_and_a_refresh_do_not_wait_for_each_other(loaded: str) -> None:
    reader = psycopg2.connect(loaded)
    with reader.cursor() as cursor:
        for view in VIEWS:
            cursor.execute(f"SELECT count(*) FROM {view}")
            assert cursor.fetchone() == (0,)
        with connected(loaded, repeatable_read=True) as refreshing:
            run(refreshing, "views/refresh")
            for view in VIEWS:  # gives up after 5 seconds of waiting
                assert one(loaded, f"SELECT count(*) FROM {view}") == 0
            assert not in_views(loaded, BUCKET)
        cursor.execute("SELECT sum(count) FROM country_counts")
        assert cursor.fetchone() == (14,)
    reader.close()


def test_the_views_always_show_the_loads_that_are_named(url: str, tmp_path: Path) -> None:
    """Two load, two refresh, one looks: in one snapshot the views are the sum of the named loads."""
    loads: dict[tuple[dt.date, int], int] = {}
    samples: list[tuple[list[tuple[dt.date, int]], int, int]] = []
    until = time.monotonic() + 2.5
    stop = threading.Event()

    def keep_loading(year: int) -> None:
        for number in range(10_000):
            if time.monotonic() > until:
                return
            date = dt.date(year, 1, 1) + dt.timedelta(days=number)
            rows = [entry(n, date, probe_cc="TR", test_keys=BOTH) for n in range(number % 7 + 1)]
            report = write_report(tmp_path / f"{year}.json", rows)
            done = load_bucket(url, date, [report], FINGERPRINTS, lambda *_: time.sleep(0.01))
            assert done is not None
            loads[date, done.load_id] = done.measurements

    def keep_refreshing() -> None:
        while not stop.is_set():
            refresh_views(url)

    def keep_looking() -> None:
        sql = (
            "SELECT (SELECT json_agg(json_build_array(bucket_date, load_id)) FROM views_contain),"
            "(SELECT sum(count) FROM country_counts), (SELECT sum(block_count) FROM blockpage_count)"
        )
        while not stop.is_set():
            ((named, measurements, blocks),) = query(url, sql)
            pairs = [(dt.date.fromisoformat(date), load_id) for date, load_id in named or ()]
            samples.append((pairs, int(measurements or 0), int(blocks or 0)))

    with ThreadPoolExecutor(5) as threads:
        others = [threads.submit(work) for work in (keep_refreshing, keep_refreshing, keep_looking)]
        try:
            for loading in [threads.submit(keep_loading, year) for year in (2015, 2016)]:
                loading.result()
        finally:
            stop.set()
        for other in others:
            other.result()
    assert len({len(named) for named, _, _ in samples}) > 3 and len(loads) > 10
    for named, measurements, blocks in samples:
        assert sum(loads[pair] for pair in named) == measurements == blocks
    refresh_views(url)
    assert one(url, "SELECT sum(count) FROM country_counts") == Decimal(sum(loads.values()))
    assert one(url, "SELECT count(*) FROM views_contain JOIN loads USING (bucket_date, load_id)") == len(
        loads
    )
