"""``python -m tasks.ledger``: what became of everything that was received."""

from __future__ import annotations

import argparse
import sys

from ooni_pipeline.bucket.layout import Stage
from ooni_pipeline.bucket.ledger import Loaded, bucket_ledger
from ooni_pipeline.bucket.manifest import timestamp
from ooni_pipeline.database import markers
from ooni_pipeline.errors import DatabaseError, PipelineError
from ooni_pipeline.sanitise.bridges import load_bridge_table
from tasks import config
from tasks.command import command, date, days
from tasks.normalise import normalise_version
from tasks.publish import published_from
from tasks.sanitise import sanitise_version

#: The only problem that a veto window explains.
_NOT_PUBLISHED = f"the bucket is not done with stage {Stage.PUBLISHED.value}"


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
    parser.add_argument(
        "--quiet", action="store_true", help="only buckets that do not add up, or of which there is a warning"
    )
    arguments = parser.parse_args()
    last = arguments.last or arguments.first
    wanted = list(days(parser, arguments.first, last))
    loads: dict[object, Loaded] = {}
    versions = {Stage.NORMALISED: normalise_version()}
    try:
        versions[Stage.SANITISED] = sanitise_version(load_bridge_table(config.bridge_table()).digest)
    except PipelineError as error:
        print(f"warning: {error}", file=sys.stderr)
    try:
        for bucket_date, counts in markers.counts(config.database_url(), arguments.first, last).items():
            loads[bucket_date] = Loaded(
                counts.reports,
                counts.measurements,
                counts.rows,
                counts.in_views,
                counts.refused,
                counts.fingerprints,
            )
    except DatabaseError as error:
        print(f"warning: {error}", file=sys.stderr)
    try:
        fingerprints = config.fingerprint_table().version
    except PipelineError as error:
        print(f"warning: {error}", file=sys.stderr)
        fingerprints = ""
    wrong = 0
    for bucket_date in wanted:
        ledger = bucket_ledger(config.layout(), bucket_date, loads.get(bucket_date), versions, fingerprints)
        if _NOT_PUBLISHED in ledger.problems and (from_then := published_from(bucket_date)):
            ledger.problems.remove(_NOT_PUBLISHED)
            ledger.lines.append(f"published  from {timestamp(from_then)} on ([publish] hold_hours)")
        wrong += bool(ledger.problems)
        if ledger.problems or ledger.warnings or not arguments.quiet:
            print(f"{bucket_date} {'DOES NOT ADD UP' if ledger.problems else 'adds up'}")
            told = [f"warning    {warning}" for warning in ledger.warnings]
            told += [f"PROBLEM    {problem}" for problem in ledger.problems]
            for line in ledger.lines + told:
                print(f"  {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
