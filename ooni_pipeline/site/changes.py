"""The log of changes, by which others mirror: which bucket came, was replaced or went, in order, for ever.

It names no report: a bucket's state is the digest of its SHA256SUMS, which names what lies there now. So an
old line tells nothing of what was withdrawn later. The log is also our own memory of what the site shows.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ooni_pipeline.errors import BucketError

ADDED, REPLACED, REMOVED = "added", "replaced", "removed"
NAME = "changes.jsonl"


@dataclass(frozen=True)
class Summary:
    """A bucket on the mirror: its reports and measurements, how many were withdrawn, bytes of its reports,
    and ``sha256sums``, the digest of its SHA256SUMS."""

    reports: int
    measurements: int
    size: int
    sha256sums: str
    withdrawn_reports: int = 0
    withdrawn_measurements: int = 0


@dataclass(frozen=True)
class Change:
    """A line of the log; ``bucket`` is None where the bucket went. ``number`` counts from 1 without gaps."""

    number: int
    time: str
    what: str
    bucket_date: dt.date
    bucket: Summary | None = None

    def line(self) -> str:
        told: dict[str, Any] = {
            "change": self.number,
            "time": self.time,
            "what": self.what,
            "bucket_date": self.bucket_date.isoformat(),
        }
        if self.bucket is not None:
            told |= dataclasses.asdict(self.bucket)
        return json.dumps(told) + "\n"


def read_changes(path: Path) -> list[Change]:
    """The log, empty where there is none yet. Raises BucketError where it is damaged."""
    changes: list[Change] = []
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return changes
    except UnicodeDecodeError:
        lines = [""]
    for line in lines:
        try:
            changes.append(_parsed(json.loads(line), len(changes) + 1))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise BucketError(
                f"line {len(changes) + 1} of {path} is none of ours. Delete the file, and the next night "
                "begins a new log; who mirrors by it then begins anew"
            ) from None
    return changes


def _parsed(value: dict[str, Any], expected: int) -> Change:
    number, time, what = value.pop("change"), value.pop("time"), value.pop("what")
    bucket_date = dt.date.fromisoformat(value.pop("bucket_date"))
    if number != expected or what not in (ADDED, REPLACED, REMOVED):
        raise ValueError(what)
    return Change(number, str(time), what, bucket_date, None if what == REMOVED else Summary(**value))


def buckets_of(changes: Iterable[Change]) -> dict[dt.date, Summary]:
    """The buckets that the site has after these changes, in order of their dates."""
    buckets: dict[dt.date, Summary] = {}
    for change in changes:
        if change.bucket is None:
            buckets.pop(change.bucket_date, None)
        else:
            buckets[change.bucket_date] = change.bucket
    return dict(sorted(buckets.items()))


def further(changes: list[Change], now: Mapping[dt.date, Summary], time: str) -> list[Change]:
    """The changes that lead from where the log ends to the buckets that there are ``now``."""
    before = buckets_of(changes)
    found: list[Change] = []
    for bucket_date in sorted({*before, *now}):
        old, new = before.get(bucket_date), now.get(bucket_date)
        if old != new:
            what = ADDED if old is None else REMOVED if new is None else REPLACED
            found.append(Change(len(changes) + len(found) + 1, time, what, bucket_date, new))
    return found
