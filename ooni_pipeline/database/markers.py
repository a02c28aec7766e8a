"""What the database proves: which buckets are loaded, and which of them the views show."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from ooni_pipeline.database.connect import QUESTION_WAITS, connected, run


@dataclass(frozen=True)
class BucketCounts:
    """A loaded bucket: what its marker says, how many rows there are, whether the views show this load.

    ``refused`` are the entries that are no rows and lie in ``rejected``, ``fingerprints`` the version of the
    table that was matched.
    """

    bucket_date: dt.date
    reports: int
    measurements: int
    rows: int
    in_views: bool
    refused: int
    fingerprints: str


def is_loaded(url: str, bucket_date: dt.date) -> bool:
    with connected(url, lock_wait=QUESTION_WAITS) as database:
        return bool(run(database, "load/find_load", {"bucket_date": bucket_date}))


def loaded_buckets(url: str, first: dt.date, last: dt.date) -> set[dt.date]:
    with connected(url, lock_wait=QUESTION_WAITS) as database:
        return {row[0] for row in run(database, "load/loaded_buckets", {"first": first, "last": last})}


def in_views(url: str, bucket_date: dt.date) -> bool:
    with connected(url, lock_wait=QUESTION_WAITS) as database:
        return bool(run(database, "views/contain", {"bucket_date": bucket_date})[0][0])


def buckets_in_views(url: str, first: dt.date, last: dt.date) -> set[dt.date]:
    with connected(url, lock_wait=QUESTION_WAITS) as database:
        return {row[0] for row in run(database, "views/contained", {"first": first, "last": last})}


def forget_loads(url: str, first: dt.date, last: dt.date) -> None:
    """The buckets count as not loaded; their rows stay until they are loaded again.

    Waits for the loads of these buckets that are under way.
    """
    with connected(url) as database:
        run(database, "load/forget_loads", {"first": first, "last": last})


def counts(url: str, first: dt.date, last: dt.date) -> dict[dt.date, BucketCounts]:
    with connected(url, lock_wait=QUESTION_WAITS) as database:
        rows = run(database, "load/counts", {"first": first, "last": last})
    return {row[0]: BucketCounts(*row) for row in rows}
