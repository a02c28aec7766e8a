"""How long a refresh of the four views takes after 2,300 buckets, and whether readers wait for it.

Usage: python -m tests.benchmarks refresh

Bar (DESIGN.md, section 8): 2,300 buckets of 1,000 blocked URLs each in at most 30 s, readers not blocked.
The small tables that loads fill are filled here by SQL, as 2,300 loads would have left them; metrics stays
empty, because no view reads it. The first refresh fills the views; the bar is for the one after one more
bucket, which every night does. Needs 3 GB of disk in the temporary directory, which are given back.
"""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path

import psycopg2

from ooni_pipeline.database.embedded import EmbeddedServer
from ooni_pipeline.database.migrate import migrate
from ooni_pipeline.database.views import VIEWS, refresh_views

BUCKETS, BLOCKED = 2_300, 1_000
REPORTS_A_BUCKET = 50
#: What a load of bucket number %(n)s leaves: 1,000 blocked URLs in 50 reports of 40 countries.
_FILL = """
INSERT INTO loads (bucket_date, reports, measurements, fingerprints, notes)
SELECT date '2012-12-05' + n, %(reports)s, %(blocked)s, 'x', '{}' FROM generate_series(%(from)s, %(to)s) AS n;
INSERT INTO fingerprint_matches (
    bucket_date, measurement_id, kind, name, fingerprints,
    input, report_id, test_start_time, probe_cc, probe_asn, tested_count
)
SELECT date '2012-12-05' + n, gen_random_uuid(), 'blockpage', 'x', 'x',
    'http://www.' || md5(u::text) || '.test/page', 'report ' || n || ' ' || u %% %(reports)s,
    timestamp '2012-12-05' + n * interval '1 day', chr(65 + u %% 10) || chr(65 + u %% 4), 'AS' || u %% 50, 2
FROM generate_series(%(from)s, %(to)s) AS n, generate_series(1, %(blocked)s) AS u;
INSERT INTO report_totals
SELECT bucket_date, report_id, test_start_time, probe_cc, probe_asn, count(*), 10 * count(*)
FROM fingerprint_matches WHERE bucket_date >= date '2012-12-05' + %(from)s GROUP BY 1, 2, 3, 4, 5;
INSERT INTO country_totals
SELECT bucket_date, probe_cc, 10 * count(*)
FROM fingerprint_matches WHERE bucket_date >= date '2012-12-05' + %(from)s GROUP BY 1, 2;
"""


def fill(url: str, first: int, last: int) -> None:
    """The small tables of buckets ``first`` to ``last``."""
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        numbers = {"from": first, "to": last, "blocked": BLOCKED, "reports": REPORTS_A_BUCKET}
        cursor.execute(_FILL, numbers)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE fingerprint_matches, report_totals, country_totals")
    connection.close()


def refresh_beside_a_reader(url: str) -> tuple[float, float]:
    """Seconds of one refresh, and of the slowest query on any view meanwhile."""
    done, slowest = threading.Event(), 0.0

    def read() -> None:
        nonlocal slowest
        connection = psycopg2.connect(url)
        connection.autocommit = True
        with connection.cursor() as cursor:
            while not done.is_set():
                for view in VIEWS:
                    begin = time.perf_counter()
                    cursor.execute(f"SELECT * FROM {view} LIMIT 100")
                    cursor.fetchall()
                    slowest = max(slowest, time.perf_counter() - begin)
                time.sleep(0.01)
        connection.close()

    reader = threading.Thread(target=read)
    reader.start()
    begin = time.perf_counter()
    try:
        refresh_views(url)
    finally:
        seconds = time.perf_counter() - begin
        done.set()
        reader.join()
    return seconds, slowest


def run() -> dict[str, float]:
    """Print, and return, the seconds."""
    results: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        server = EmbeddedServer(Path(name) / "database")
        url = server.ensure_running()
        try:
            migrate(url)
            fill(url, 0, BUCKETS - 1)
            for what, number in (("first", BUCKETS), ("after one more bucket", BUCKETS + 1)):
                fill(url, number, number)
                results[what], waited = refresh_beside_a_reader(url)
                print(
                    f"refresh, {what}: {results[what]:.1f} s over {number:,} buckets of {BLOCKED:,} blocked "
                    f"URLs (bar 30); the slowest reader waited {waited * 1000:.0f} ms"
                )
        finally:
            server.stop()
    return results


if __name__ == "__main__":
    run()
