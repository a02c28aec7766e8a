"""Where an entry comes from: its own bytes, and what is common to all entries of its report."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Any

from ooni_pipeline.report.entry import RawEntry, ReportHeader


@dataclass(frozen=True)
class ReportContext:
    """What all entries of a report share.

    ``report`` is its name in the bucket (no extension), ``named_time`` the UTC time in its file's name,
    ``key`` the secret that ids are made with.
    """

    report: str
    bucket_date: dt.date
    key: bytes
    header: ReportHeader = field(default_factory=ReportHeader)
    named_time: dt.datetime | None = None


@dataclass(frozen=True)
class Source:
    """One entry and its report."""

    raw: RawEntry
    report: ReportContext

    def merged(self) -> dict[str, Any]:
        """The entry with what the header says for all: the header wins, except on times, which are told
        apart later (``test_start_time`` of an entry is another thing than that of its header)."""
        header = self.report.header.value
        if not header:
            return dict(self.raw.value)
        merged = {**self.raw.value, **header}
        for key in ("test_start_time", "measurement_start_time", "test_runtime", "id"):
            if self.raw.value.get(key) is not None:
                merged[key] = self.raw.value[key]
        return merged
