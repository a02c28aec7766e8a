"""When a test and a measurement began, in UTC, and where that is known from.

The old meaning of the keys: ``start_time`` (float, header) is the start of the test, ``test_start_time``
(float, entry) that of the measurement. A string ``test_start_time`` in a header was stamped by the
collector's clock and is the most trusted one. Probes' clocks are off by years at times.

``time_source`` of an entry names, for each of the two times that was worked out here or that cannot be
true, which key it is from, with ", implausible" behind it where it lies before the project's first
measurement or after the bucket.
"""

from __future__ import annotations

import datetime as dt
import functools
from typing import Any, TypeGuard

from ooni_pipeline.normalise.claims import keep_beside
from ooni_pipeline.normalise.source import Source
from ooni_pipeline.report.times import parse_time

#: No measurement is older than the project's first (2012-12-05), with room for a slow clock.
EARLIEST = dt.datetime(2012, 1, 1)
#: No measurement is younger than its bucket, with room for a fast clock: counted from the bucket's 00:00.
AFTER_BUCKET = dt.timedelta(days=3)

#: Where a time may be from, and what stands there.
Candidate = tuple[str, Any]


def place_in_time(entry: dict[str, Any], source: Source) -> None:
    """Set both times of a legacy entry from the best of what it, its header and its file name say."""
    header = source.report.header.value
    started, at_collector = source.own("test_start_time"), header.get("test_start_time")
    measurement: list[Candidate] = [
        ("entry.measurement_start_time", source.own("measurement_start_time")),
        ("entry.test_start_time", None if isinstance(started, str) else started),
        ("entry.test_started", source.own("test_started")),
    ]
    test: list[Candidate] = [
        ("entry.test_start_time", started if isinstance(started, str) else None),
        ("header.test_start_time", at_collector if isinstance(at_collector, str) else None),
        ("header.start_time", header.get("start_time")),
        ("entry.start_time", source.own("start_time")),
        ("header.test_start_time", at_collector),
        ("report_filename", source.report.named_time),
    ]
    for key in ("test_start_time", "measurement_start_time"):
        if not _is_plausible(parse_time(entry.get(key)), source):
            keep_beside(entry, key)
    _set(entry, "test_start_time", test + measurement, source)
    chosen: Candidate = ("test_start_time", entry["test_start_time"])
    _set(entry, "measurement_start_time", [*measurement, chosen], source)


def complete_times(entry: dict[str, Any], source: Source) -> None:
    """Leave the times of a current entry as they are where they are times; mend those that are not."""
    start = entry.get("test_start_time")
    at_collector = source.report.header.value.get("test_start_time")
    _complete(
        entry,
        "test_start_time",
        [
            ("entry.test_start_time", start),
            ("header.test_start_time", at_collector),
            ("report_filename", source.report.named_time),
            ("entry.measurement_start_time", entry.get("measurement_start_time")),
        ],
        source,
    )
    begun = entry.get("measurement_start_time")
    chosen: Candidate = ("test_start_time", entry["test_start_time"])
    _complete(entry, "measurement_start_time", [("entry.measurement_start_time", begun), chosen], source)


def _complete(entry: dict[str, Any], key: str, candidates: list[Candidate], source: Source) -> None:
    value = entry.get(key)
    time = parse_time(value) if isinstance(value, str) and len(value) == 19 and value[10] == " " else None
    if time is None:
        keep_beside(entry, key)
        _set(entry, key, candidates, source)
    elif not _is_plausible(time, source):
        entry.setdefault("time_source", {})[key] = f"entry.{key}, implausible"


def _set(entry: dict[str, Any], key: str, candidates: list[Candidate], source: Source) -> None:
    """Set a time to the first plausible candidate, else to the first that is a time at all, else to null."""
    found: tuple[str, dt.datetime] | None = None
    for name, value in candidates:
        time = value if isinstance(value, dt.datetime) else parse_time(value)
        if _is_plausible(time, source):
            found = (name, time)
            break
        if time is not None and found is None:
            found = (f"{name}, implausible", time)
    sources = entry.setdefault("time_source", {})
    entry[key], sources[key] = None, "unknown"
    if found:
        sources[key], time = found
        entry[key] = time.isoformat(" ", "seconds")


def _is_plausible(time: dt.datetime | None, source: Source) -> TypeGuard[dt.datetime]:
    return time is not None and EARLIEST <= time < _end_of(source.report.bucket_date)


@functools.lru_cache(maxsize=8)
def _end_of(bucket_date: dt.date) -> dt.datetime:
    return dt.datetime.combine(bucket_date, dt.time()) + AFTER_BUCKET
