"""``python -m tasks.forget``: a stage and those below it are to be done again."""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import sys

from ooni_pipeline.bucket.forget import BELOW, Matching, forget_bucket, needs_loading_again, reports_of
from ooni_pipeline.bucket.layout import Stage
from ooni_pipeline.bucket.lock import one_writer
from ooni_pipeline.database.markers import forget_loads
from tasks import config
from tasks.backup import BackupReports, RemoveFetchedReports
from tasks.base import BucketTask
from tasks.command import command, date, days
from tasks.fetch import FetchReports
from tasks.normalise import NormaliseReports
from tasks.publish import PublishReports
from tasks.sanitise import SanitiseReports

#: What the operator calls a stage: the task's verb.
STAGES: dict[str, tuple[Stage, type[BucketTask]]] = {
    "fetch": (Stage.RAW, FetchReports),
    "backup": (Stage.BACKUP, BackupReports),
    "remove": (Stage.REMOVED, RemoveFetchedReports),
    "normalise": (Stage.NORMALISED, NormaliseReports),
    "sanitise": (Stage.SANITISED, SanitiseReports),
    "publish": (Stage.PUBLISHED, PublishReports),
}
LOAD = "load"


def forget(stage: Stage, bucket_date: dt.date, matching: Matching | None) -> list[Stage]:
    """Forget a stage of one bucket while nobody works on it: waits for whoever does."""
    with contextlib.ExitStack() as locks:
        for below, task in STAGES.values():
            if below in BELOW[stage]:
                locks.enter_context(one_writer(task(bucket_date=bucket_date).lock))
        return forget_bucket(config.layout(), stage, bucket_date, matching)


@command
def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tasks.forget",
        description="Forget that a stage, and every stage made from it, is done with these buckets; the next "
        "run does them again, with a filter only the matching reports, carrying over the others. Nothing is "
        "deleted that readers see: rows and published files stay until they are replaced. Forgetting fetch "
        "on the bucket's own day takes what came since.",
        epilog="Example: python -m tasks.forget normalise 2016-08-01 2016-08-07; then luigi --module "
        "tasks.refresh RangeDaily --of RefreshViews --start 2016-08-01 --stop 2016-08-08",
    )
    parser.add_argument("stage", choices=[*STAGES, LOAD])
    parser.add_argument("first", type=date, help="first bucket_date")
    parser.add_argument("last", type=date, help="last bucket_date")
    parser.add_argument("--test-name", help="only reports of this nettest (normalise and sanitise only)")
    parser.add_argument("--country", help="only reports of this country, by the report's name, such as GR")
    parser.add_argument("--asn", help="only reports of this network, by the report's name, such as AS6799")
    arguments = parser.parse_args()
    filters = {"test_name": arguments.test_name, "country": arguments.country, "asn": arguments.asn}
    matching = reports_of(**filters) if any(filters.values()) else None
    if matching and arguments.stage not in ("normalise", "sanitise"):
        parser.error(f"{arguments.stage} is done for a bucket as a whole: leave the filters out")
    stage = STAGES[arguments.stage][0] if arguments.stage in STAGES else None
    if stage is None or needs_loading_again(stage):  # first, as the lowest: see forget.BELOW
        forget_loads(config.database_url(start=True), arguments.first, arguments.last)
        print(f"forgot load of {arguments.first} to {arguments.last}")
    if stage is None:
        return 0
    for bucket_date in days(arguments.first, arguments.last):
        if forgotten := forget(stage, bucket_date, matching):
            print(f"forgot {', '.join(below.value for below in reversed(forgotten))} of {bucket_date}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
