"""When a test and a measurement began, in UTC, and where that is known from.

The old meaning of the keys: ``start_time`` (float, header) is the start of the test, ``test_start_time``
(float, entry) that of the measurement. A string ``test_start_time`` in a header was stamped by the
collector's clock and is the most trusted one. Probes' clocks are off by years at times.
"""

from __future__ import annotations

import datetime as dt
import functools
import math
import re
from collections.abc import Iterable
from typing import Any

from ooni_pipeline.normalise.source import Source

#: No measurement is older than the project's first (2012-12-05), with room for a slow clock.
EARLIEST = dt.datetime(2012, 1, 1)
#: No measurement is younger than its bucket, with room for a fast clock: counted from the bucket's 00:00.
AFTER_BUCKET = dt.timedelta(days=3)

_TEXT = re.compile(
    r"(\d{4})-?(\d\d)-?(\d\d)[T ](\d\d):?(\d\d):?(\d\d)(?:\.\d{1,9})? ?(?:Z|UTC|([+-])(\d\d):?(\d\d))?\Z"
)

Candidate = tuple[str, Any]


def parse_time(value: Any) -> dt.datetime | None:
    """The UTC time that a value names, to the second: seconds since 1970 as a number or text, or a date
    and time in any of the forms that reports hold. None for anything else, and outside years 1 to 9999."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return _from_seconds(float(value)) if -1e12 < value < 1e12 else None
    if isinstance(value, str) and len(value) <= 40:
        return _parse_text(value)
    return None


@functools.lru_cache(maxsize=4096)
def _parse_text(text: str) -> dt.datetime | None:
    match = _TEXT.match(text.strip())
    if not match:
        try:
            return _from_seconds(float(text))
        except ValueError:
            return None
    try:
        time = dt.datetime(*(int(match[group]) for group in range(1, 7)))  # type: ignore[arg-type]
        if match[7]:
            offset = dt.timedelta(hours=int(match[8]), minutes=int(match[9]))
            time = time - offset if match[7] == "+" else time + offset
    except (ValueError, OverflowError):
        return None
    return time


def _from_seconds(seconds: float) -> dt.datetime | None:
    if not math.isfinite(seconds):
        return None
    try:
        return dt.datetime(1970, 1, 1) + dt.timedelta(seconds=math.floor(seconds))
    except OverflowError:
        return None


def place_in_time(entry: dict[str, Any], source: Source) -> None:
    """Set both times of a legacy entry from the best of what it, its header and its file name say."""
    own, header = source.raw.value, source.report.header.value
    lifted = own.get("report")
    nested: dict[str, Any] = lifted if isinstance(lifted, dict) else {}
    started = own.get("test_start_time", nested.get("test_start_time"))
    at_collector = header.get("test_start_time")
    test: list[Candidate] = [
        ("entry.test_start_time", started if isinstance(started, str) else None),
        ("header.test_start_time", at_collector if isinstance(at_collector, str) else None),
        ("start_time", header.get("start_time", own.get("start_time"))),
        ("header.test_start_time", at_collector),
        ("report_filename", source.report.named_time),
    ]
    measurement: list[Candidate] = [
        ("entry.measurement_start_time", own.get("measurement_start_time")),
        ("entry.test_start_time", None if isinstance(started, str) else started),
        ("entry.test_started", own.get("test_started", nested.get("test_started"))),
    ]
    _set(entry, "test_start_time", test, source)
    chosen: list[Candidate] = [("test_start_time", entry["test_start_time"])]
    _set(entry, "measurement_start_time", measurement + chosen, source)


def complete_times(entry: dict[str, Any], source: Source) -> None:
    """Leave the times of a current entry as they are where they are times; mend those that are not."""
    header = source.report.header.value
    named: Candidate = ("report_filename", source.report.named_time)
    start = entry.get("test_start_time")
    if not _written_well(start):
        collector: Candidate = ("header.test_start_time", header.get("test_start_time"))
        _set(entry, "test_start_time", [("entry.test_start_time", start), collector, named], source)
    begun = entry.get("measurement_start_time")
    if not _written_well(begun):
        chosen: Candidate = ("test_start_time", entry["test_start_time"])
        _set(entry, "measurement_start_time", [("entry.measurement_start_time", begun), chosen], source)


def _written_well(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 19 and value[10] == " " and parse_time(value) is not None


def _set(entry: dict[str, Any], key: str, candidates: Iterable[Candidate], source: Source) -> None:
    """Set a time to the first plausible candidate, else to the first that is a time at all, else to null."""
    latest = dt.datetime.combine(source.report.bucket_date, dt.time()) + AFTER_BUCKET
    known = [
        (name, time)
        for name, value in candidates
        if (time := value if isinstance(value, dt.datetime) else parse_time(value)) is not None
    ]
    plausible = [(name, time) for name, time in known if EARLIEST <= time < latest]
    sources = entry.setdefault("time_source", {})
    if not known:
        entry[key], sources[key] = None, "unknown"
        return
    name, time = (plausible or known)[0]
    entry[key] = time.isoformat(" ", "seconds")
    sources[key] = name if plausible else f"{name}, implausible"
