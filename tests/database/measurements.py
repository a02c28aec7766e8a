"""Entries and reports as sanitising leaves them, and plain questions to the database."""

from __future__ import annotations

import datetime as dt
import json
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import psycopg2

from ooni_pipeline.report.entry import BASE_KEYS

BUCKET = dt.date(2016, 8, 1)
NEXT_BUCKET = dt.date(2016, 8, 2)
START = "2016-08-01 04:05:06"
TURKISH_PAGE = "<title>Telekomünikasyon İletişim Başkanlığı</title>"  # noqa: RUF001 - so it is spelled
OLD_TURKISH_PAGE = "uyarınca yapılan teknik inceleme ve hukuki değerlendirme sonucunda bu internet"  # noqa: RUF001


def measurement_id(number: int) -> str:
    return str(uuid.UUID(int=number))


def entry(number: int, bucket_date: dt.date = BUCKET, **changes: Any) -> dict[str, Any]:
    """An entry with every base key, unlike all others by its number; ``changes`` replace or add keys."""
    base = dict.fromkeys(BASE_KEYS)
    base.update(
        id=measurement_id(number),
        input=f"http://example.test/{number}",
        report_id="report-1",
        report_filename=f"{bucket_date}/report-1.json",
        probe_cc="DE",
        probe_asn="AS1",
        test_name="web_connectivity",
        test_start_time=START,
        bucket_date=bucket_date.isoformat(),
        test_keys={"requests": []},
    )
    return {**base, **changes}


def page(body: str) -> dict[str, Any]:
    """test_keys of an entry that got this page."""
    return {"requests": [{"request": {}, "response": {"body": body, "headers": {}}}]}


def write_report(path: Path, entries: Iterable[dict[str, Any] | bytes]) -> Path:
    """A sanitised report; bytes stand for themselves."""
    lines = (line if isinstance(line, bytes) else json.dumps(line).encode() for line in entries)
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def query(
    url: str, sql: str, parameters: Sequence[Any] | None = None, *, autocommit: bool = False
) -> list[tuple[Any, ...]]:
    """The rows that one statement gives, in a transaction of its own that gives up when it has to wait."""
    connection = psycopg2.connect(url, options="-c timezone=UTC -c lock_timeout=5s")
    connection.autocommit = autocommit
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            rows = cursor.fetchall() if cursor.description else []
        connection.commit()
        return rows
    finally:
        connection.close()


def one(url: str, sql: str, parameters: Sequence[Any] | None = None) -> Any:
    """The one value that a statement gives."""
    ((value,),) = query(url, sql, parameters)
    return value


def digest(url: str, bucket_date: dt.date = BUCKET) -> str:
    """A digest over every column of every row of a bucket."""
    sql = "SELECT md5(string_agg(m::text, '|' ORDER BY id)) FROM metrics AS m WHERE bucket_date = %s"
    return str(one(url, sql, [bucket_date]))


def wait_for(happened: Callable[[], bool]) -> None:
    """Come back as soon as it has happened."""
    for _ in range(500):
        if happened():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen")
