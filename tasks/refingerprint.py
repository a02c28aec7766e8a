"""``python -m tasks.refingerprint``: what is loaded is matched with today's fingerprint table."""

from __future__ import annotations

import argparse
import datetime as dt
import sys

from ooni_pipeline.bucket.lock import one_writer
from ooni_pipeline.database.matches import matched_versions
from ooni_pipeline.database.rematch import Rematch, match_again
from ooni_pipeline.errors import DatabaseError
from ooni_pipeline.fingerprints import FingerprintTable
from tasks import config
from tasks.command import command, date, days
from tasks.load import LoadMeasurements
from tasks.redo import refresh
from tasks.refresh import RefreshViews


def bring_up_to_date(
    url: str, bucket_date: dt.date, table: FingerprintTable, was: str | None, *, dry_run: bool
) -> bool:
    """One bucket, and what is said of it. True where there was something to do."""
    if was is None:
        print(f"{bucket_date}  is not loaded: the load will match it", flush=True)
        return False
    if was == table.version:
        print(f"{bucket_date}  matched with this table", flush=True)
        return False
    if dry_run:
        done = match_again(url, bucket_date, table, dry_run=True)
    else:
        with one_writer(LoadMeasurements(bucket_date=bucket_date).lock):
            done = match_again(url, bucket_date, table, progress_of(bucket_date))
    if done is None:
        print(f"{bucket_date}  was done, or forgotten, meanwhile", flush=True)
        return False
    for line in told(bucket_date, done, f"{was} then, {table.version} now", dry_run=dry_run):
        print(line, flush=True)
    return True


def progress_of(bucket_date: dt.date) -> _Progress:
    """A line on a terminal that says how far a bucket is."""
    return _Progress(bucket_date, shown=sys.stderr.isatty())


class _Progress:
    def __init__(self, bucket_date: dt.date, *, shown: bool) -> None:
        self._bucket_date, self._shown = bucket_date, shown

    def __call__(self, rows: int) -> None:
        if self._shown:
            print(f"\r{self._bucket_date}  {rows} rows\r", end="", file=sys.stderr, flush=True)


def told(bucket_date: dt.date, done: Rematch, versions: str, *, dry_run: bool) -> list[str]:
    """What a person reads of one bucket."""
    come = sum(difference.come for difference in done.differences)
    gone = sum(difference.go for difference in done.differences)
    verb = "would come" if dry_run else "came"
    other = "would go" if dry_run else "went"
    lines = [f"{bucket_date}  {versions}: {done.rows} rows looked at, {come} matches {verb}, {gone} {other}"]
    return lines + [
        f"            {difference.kind} {difference.name}: +{difference.come} -{difference.go}"
        for difference in done.differences
    ]


@command
def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tasks.refingerprint",
        description="Match what is loaded with today's fingerprint table, bucket by bucket, without loading "
        "it again: matches and small tables are replaced, the views are refreshed once at the end. Buckets "
        "that were matched with this table are passed over, so it may be stopped and begun again at any "
        "time. Several may run at once over different dates.",
        epilog="Examples: python -m tasks.refingerprint --dry-run 2016-08-01 2016-08-07; "
        "python -m tasks.refingerprint 2012-12-05 2016-08-07",
    )
    parser.add_argument("first", type=date, help="first bucket_date")
    parser.add_argument("last", type=date, help="last bucket_date")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="say how many matches of which fingerprint would come and go, change nothing, exit with 1 "
        "where a bucket would be matched again",
    )
    arguments = parser.parse_args()
    wanted = list(days(parser, arguments.first, arguments.last))
    table = config.fingerprint_table()
    url = config.database_url(start=True)
    versions = matched_versions(url, arguments.first, arguments.last)
    print(f"fingerprint table {table.version}")
    to_do = 0
    for day in wanted:
        try:
            to_do += bring_up_to_date(url, day, table, versions.get(day), dry_run=arguments.dry_run)
        except DatabaseError as error:
            raise DatabaseError(
                f"bucket {day}: {error}; mend it and type the same again, what is done is passed over"
            ) from None
    if arguments.dry_run:
        print(f"{to_do} of {len(versions)} buckets would be matched again")
        return 1 if to_do else 0
    # Also what an earlier run left undone that was killed before it came to the views.
    loaded = LoadMeasurements.bulk_complete(wanted)
    shown = set(RefreshViews.bulk_complete(loaded))
    refreshed = refresh([day for day in loaded if day not in shown])
    print(f"{to_do} of {len(versions)} buckets matched again")
    return 0 if refreshed else 1


if __name__ == "__main__":
    sys.exit(main())
