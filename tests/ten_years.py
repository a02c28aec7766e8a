"""A ``metrics`` as it is after ten years, filled by SQL, and what researchers ask it.

5 million rows in 120 monthly partitions. Who measures is as uneven as in the field: a quarter of the rows
are from one country, a few networks have hundreds of thousands; four rows in five are of 1,000 inputs that
every probe tests (thousands of rows each), the rest of a long tail. ``test_keys`` is small: no query here
reads it, and real ones would fill the disk.
"""

from __future__ import annotations

import datetime as dt
import random
import uuid
from collections.abc import Iterator
from typing import Any

import psycopg2

ROWS, MONTHS = 5_000_000, 120
FIRST = dt.date(2012, 12, 1)
COUNTRIES, NETWORKS, INPUTS, ENTRIES_A_REPORT = 60, 50, 1_000, 200

#: The rows of one month. ``r`` numbers reports, ``n`` entries; h, h2, h3 are in [0, 1), made from a digest.
_MONTH = """
INSERT INTO metrics (
    id, input, report_id, report_filename, options, probe_cc, probe_asn, probe_ip, data_format_version,
    test_name, test_start_time, measurement_start_time, test_runtime, software_name, software_version,
    test_version, bucket_date, test_helpers, test_keys, extra
)
SELECT
    md5('id' || r || ' ' || n)::uuid,
    CASE WHEN n % 5 < 4 THEN 'http://www.site-' || (n * 7 + r) % %(inputs)s || '.example/'
         ELSE 'http://' || probe_cc || (r * 31 + n) % 20000 || '.example/page' END,
    report_id, day || '/' || report_id || '.json', '[]', probe_cc, probe_asn, '127.0.0.1', '0.2.0',
    test_name, start, start + n * interval '1 second', h3, 'ooniprobe', '1.6.1', '0.1.0', day,
    '{"backend": "httpo://test.onion"}',
    jsonb_build_object('blocking', false, 'accessible', true, 'body', md5('body' || r || n)),
    '{"input_hashes": [], "backend_version": "1.3.0"}'
FROM (
    SELECT
        r, day, probe_cc, h3,
        'AS' || 1000 + 100 * country + floor(%(networks)s * power(h2, 3))::integer AS probe_asn,
        to_char(day, 'YYYYMMDD') || 'T000000Z_' || md5('report' || r) AS report_id,
        (ARRAY['web_connectivity', 'http_requests', 'tcp_connect', 'dns_consistency'])
            [1 + floor(4 * power(h3, 3))::integer] AS test_name,
        day - h3 * interval '20 hours' AS start
    FROM (
        SELECT
            r, h2, h3,
            %(month)s::date + (r %% 28)::integer AS day,
            floor(%(countries)s * power(h, 3))::integer AS country,
            chr(65 + floor(%(countries)s * power(h, 3))::integer / 8)
                || chr(65 + floor(%(countries)s * power(h, 3))::integer %% 8) AS probe_cc
        FROM (
            SELECT
                r,
                ('x' || substr(md5('h' || r), 1, 7))::bit(28)::integer / 268435456.0 AS h,
                ('x' || substr(md5('h' || r), 8, 7))::bit(28)::integer / 268435456.0 AS h2,
                ('x' || substr(md5('h' || r), 15, 7))::bit(28)::integer / 268435456.0 AS h3
            FROM generate_series(%(from)s, %(to)s) AS r
        ) AS chances
    ) AS places
) AS reports, generate_series(1, %(entries)s) AS n
"""


def month(number: int) -> dt.date:
    """The first day of a month, counted from ``FIRST``."""
    months = FIRST.month - 1 + number
    return dt.date(FIRST.year + months // 12, months % 12 + 1, 1)


def fill(url: str, rows: int = ROWS, months: int = MONTHS) -> None:
    """Fill a migrated database. The indexes are made anew when the rows are there: that is faster."""
    connection = psycopg2.connect(url)
    connection.autocommit = True
    reports = rows // months // ENTRIES_A_REPORT
    with connection.cursor() as cursor:
        cursor.execute("SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'metrics'")
        indexes = cursor.fetchall()
        for name, _ in indexes:
            cursor.execute(f"DROP INDEX {name}")
        for number in range(months):
            first = month(number)
            cursor.execute("SELECT ensure_metrics_partition(%s)", [first])
            values: dict[str, Any] = {
                "month": first, "from": number * reports + 1, "to": (number + 1) * reports,
                "inputs": INPUTS, "networks": NETWORKS, "countries": COUNTRIES, "entries": ENTRIES_A_REPORT,
            }  # fmt: skip
            cursor.execute(_MONTH.replace(" % ", " %% "), values)
        for _, definition in indexes:
            cursor.execute(definition.replace(" ON ONLY ", " ON "))
        cursor.execute("VACUUM ANALYZE metrics")
        cursor.execute("CHECKPOINT")
    connection.close()


#: What researchers ask: name -> (SQL, the columns of a row of ``metrics`` that are its parameters).
QUERIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "a country, a day": (
        "SELECT test_start_time, input, report_id, probe_asn FROM metrics WHERE probe_cc = %s "
        "AND test_start_time >= %s::date AND test_start_time < %s::date + 1",
        ("probe_cc", "test_start_time", "test_start_time"),
    ),
    "a country, a nettest, a day": (
        "SELECT test_start_time, input, report_id, probe_asn FROM metrics WHERE probe_cc = %s "
        "AND test_name = %s AND test_start_time >= %s::date AND test_start_time < %s::date + 1",
        ("probe_cc", "test_name", "test_start_time", "test_start_time"),
    ),
    "a report": (
        "SELECT id, input, measurement_start_time FROM metrics WHERE report_id = %s",
        ("report_id",),
    ),
    "an input": (
        "SELECT test_start_time, probe_cc, probe_asn, report_id FROM metrics WHERE input = %s",
        ("input",),
    ),
    "an input in a country": (
        "SELECT test_start_time, probe_asn, report_id FROM metrics WHERE input = %s AND probe_cc = %s",
        ("input", "probe_cc"),
    ),
    "an input, counted by country": (
        "SELECT probe_cc, count(*) FROM metrics WHERE input = %s GROUP BY probe_cc",
        ("input",),
    ),
    "the latest of a network": (
        "SELECT test_start_time, input, report_id FROM metrics WHERE probe_asn = %s "
        "ORDER BY test_start_time DESC LIMIT 100",
        ("probe_asn",),
    ),
    "an id": ("SELECT input, report_id, test_keys FROM metrics WHERE id = %s", ("id",)),
}


def parameters(url: str, count: int) -> dict[str, list[list[Any]]]:
    """So many different parameters for each query, of rows that are there: large countries come often."""
    chance = random.Random(20160801)  # noqa: S311 - the same questions every time
    connection = psycopg2.connect(url)
    asked: dict[str, list[list[Any]]] = {name: [] for name in QUERIES}
    with connection.cursor() as cursor:
        for _ in range(count):
            day = month(chance.randrange(MONTHS))
            cursor.execute(
                "SELECT to_jsonb(m) FROM metrics AS m WHERE bucket_date >= %s AND bucket_date < %s "
                "AND id >= %s ORDER BY id LIMIT 1",
                [day, day + dt.timedelta(days=28), str(uuid.UUID(int=chance.getrandbits(128)))],
            )
            row = cursor.fetchone()
            for name, (_, columns) in QUERIES.items():
                if row:
                    asked[name].append([row[0][column] for column in columns])
    connection.close()
    return asked


def scans(plan: Any) -> Iterator[str]:
    """The kinds of all nodes of an ``EXPLAIN (FORMAT JSON)``."""
    for node in plan if isinstance(plan, list) else [plan]:
        if isinstance(node, dict):
            if "Node Type" in node:
                yield str(node["Node Type"])
            for value in node.values():
                if isinstance(value, (dict, list)):
                    yield from scans(value)
