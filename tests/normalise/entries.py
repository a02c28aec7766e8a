"""Entries and their reports, for the tests of this folder."""

from __future__ import annotations

import datetime as dt
from typing import Any

from ooni_pipeline.normalise import normalise_entry
from ooni_pipeline.normalise.source import ReportContext
from ooni_pipeline.report.entry import RawEntry, ReportHeader
from ooni_pipeline.report.json_lines import dump_entry

KEY = b"a key"
BUCKET = dt.date(2016, 8, 2)
NAMED_TIME = dt.datetime(2016, 8, 1, 12, 0, 0)


def context(
    header: dict[str, Any] | None = None, *, named_time: dt.datetime | None = NAMED_TIME
) -> ReportContext:
    """A report of 2016 with this YAML header, or a JSON report."""
    raw = b"header: of some bytes\n" if header is not None else b""
    return ReportContext("report", BUCKET, KEY, ReportHeader(header or {}, raw), named_time)


def normalised(
    entry: dict[str, Any], header: dict[str, Any] | None = None, raw: bytes | None = None
) -> dict[str, Any]:
    """The normalised form of an entry of :func:`context`."""
    line = dump_entry(entry) if raw is None else raw
    return normalise_entry(RawEntry(entry, line, 0), context(header))
