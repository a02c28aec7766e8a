"""``python -m tasks.ledger``: what became of everything that was received."""

from __future__ import annotations

import argparse
import sys

from ooni_pipeline.bucket.ledger import Loaded, bucket_ledger
from ooni_pipeline.database import markers
from ooni_pipeline.errors import DatabaseError
from tasks import config
from tasks.command import command, date, days


@command
def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tasks.ledger",
        description="Show, bucket by bucket, that received = loaded + duplicate + rejected, from the archive "
        "to the database to the mirror. Exits with 1 where it does not add up or a stage is not done.",
        epilog="Examples: python -m tasks.ledger 2016-08-01; "
        "python -m tasks.ledger --quiet 2016-01-01 2016-12-31",
    )
    parser.add_argument("first", type=date, help="first bucket_date")
    parser.add_argument("last", type=date, nargs="?", help="last bucket_date; the first, when left out")
    parser.add_argument("--quiet", action="store_true", help="only buckets that do not add up")
    arguments = parser.parse_args()
    last = arguments.last or arguments.first
    loads: dict[object, Loaded] = {}
    try:
        for bucket_date, counts in markers.counts(config.database_url(), arguments.first, last).items():
            loads[bucket_date] = Loaded(
                counts.reports, counts.measurements, counts.rows, counts.in_views, counts.refused
            )
    except DatabaseError as error:
        print(f"warning: {error}", file=sys.stderr)
    wrong = 0
    for bucket_date in days(arguments.first, last):
        ledger = bucket_ledger(config.layout(), bucket_date, loads.get(bucket_date))
        wrong += bool(ledger.problems)
        if ledger.problems or not arguments.quiet:
            print(f"{bucket_date} {'DOES NOT ADD UP' if ledger.problems else 'adds up'}")
            for line in ledger.lines + [f"PROBLEM    {problem}" for problem in ledger.problems]:
                print(f"  {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
