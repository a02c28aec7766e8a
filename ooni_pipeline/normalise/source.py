"""Where an entry comes from: its own bytes, and what is common to all entries of its report."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Any

from ooni_pipeline.normalise.aside import free_key, same
from ooni_pipeline.report.entry import BASE_KEYS, OVERRULED, RawEntry, ReportHeader

#: Keys of the base schema that an entry says for itself, whatever its header says.
OF_THE_ENTRY = frozenset(
    ("id", "input", "measurement_start_time", "test_keys", "test_runtime", "test_start_time")
)
#: Keys for which the header speaks. (``test_name`` is one: very old entries name a Python method there.)
OF_THE_REPORT = frozenset(BASE_KEYS) - OF_THE_ENTRY


@dataclass(frozen=True)
class ReportContext:
    """What all entries of a report share.

    ``report`` is its name in the bucket (no extension), ``named_time`` the UTC time in its file's name,
    ``named_id`` the report id there, ``key`` the secret that ids are made with.
    """

    report: str
    bucket_date: dt.date
    key: bytes
    header: ReportHeader = field(default_factory=ReportHeader)
    named_time: dt.datetime | None = None
    named_id: str | None = None


@dataclass(frozen=True)
class Source:
    """One entry and its report."""

    raw: RawEntry
    report: ReportContext

    def merged(self) -> dict[str, Any]:
        """The entry with what the header says for all.

        The header wins where it speaks for the report, unless what it says is null; the results of an
        entry, and its own times, are its own (``test_start_time`` of an entry is another thing than that
        of its header). What is overruled is kept under ``legacy_<key>``.
        """
        own, header = self.raw.value, self.report.header.value
        merged = {**own, **header}
        for key in own:  # in its order: a set would give another one every time
            if key not in header:
                continue
            ours, theirs = own[key], header[key]
            if key in OF_THE_ENTRY:  # the header's stays for who asks it: see times
                merged[key] = theirs if ours is None else ours
                continue
            wins, loses = (theirs, ours) if key in OF_THE_REPORT and theirs is not None else (ours, theirs)
            merged[key] = wins
            if loses is not None and not same(wins, loses):
                merged[free_key(merged, OVERRULED + key)] = loses
        return merged

    def own(self, key: str) -> Any:
        """What the entry itself says under ``key``, or under the same key of its ``report`` (2012, 2013)."""
        value = self.raw.value.get(key)
        if value is None and isinstance(report := self.raw.value.get("report"), dict):
            value = report.get(key)
        return value
