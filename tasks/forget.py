"""``python -m tasks.forget``: a stage and those below it are to be done again."""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import sys

from ooni_pipeline.bucket.forget import (
    BELOW,
    Matching,
    forget_bucket,
    has_matching,
    needs_loading_again,
    reports_of,
)
from ooni_pipeline.bucket.layout import Stage
from ooni_pipeline.bucket.lock import one_writer
from ooni_pipeline.bucket.manifest import Manifest
from ooni_pipeline.database.markers import forget_loads
from tasks import config
from tasks.backup import BackupReports, RemoveFetchedReports
from tasks.base import BucketTask
from tasks.command import command, date, days
from tasks.fetch import FetchReports
from tasks.load import LoadMeasurements
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


def forget(
    stage: Stage | None,
    bucket_date: dt.date,
    matching: Matching | None,
    *,
    searched: Manifest | None = None,
    version: str = "",
) -> list[str]:
    """Forget a stage of one bucket, None: its load, while nobody works on it: waits for whoever does.

    The load goes first, as the lowest (see forget.BELOW), and none begins until the rest is gone.
    For ``searched`` and ``version`` see forget_bucket.
    """
    layout = config.layout()
    below = BELOW[stage] if stage else ()
    loads = stage is None or needs_loading_again(stage)
    with contextlib.ExitStack() as locks:
        for file_stage, task in STAGES.values():
            if file_stage in below:
                locks.enter_context(one_writer(task(bucket_date=bucket_date).lock))
        if loads:
            locks.enter_context(one_writer(LoadMeasurements(bucket_date=bucket_date).lock))
        if stage and matching and not has_matching(layout, stage, bucket_date, matching):
            return []
        if loads:
            forget_loads(config.database_url(start=True), bucket_date, bucket_date)
        forgotten: list[Stage] = []
        if stage:
            forgotten = forget_bucket(
                layout, stage, bucket_date, matching, searched=searched, version=version
            )
    return [below.value for below in reversed(forgotten)] + [LOAD] * loads


@command
def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tasks.forget",
        description="Forget that a stage, and every stage made from it, is done with these buckets; the next "
        "run does them again, with a filter only the matching reports, carrying over the others. Nothing is "
        "deleted that readers see: rows and published files stay until they are replaced. Forgetting fetch "
        "on the bucket's own day takes what came since.",
        epilog="Example: python -m tasks.forget normalise 2016-08-01 2016-08-07; then luigi --module "
        "tasks.nightly RangeDaily --of Nightly --start 2016-08-01 --stop 2016-08-08",
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
    for bucket_date in days(parser, arguments.first, arguments.last):
        forgotten = forget(stage, bucket_date, matching)
        print(f"forgot {', '.join(forgotten) or 'nothing'} of {bucket_date}")
    day_after = arguments.last + dt.timedelta(days=1)
    print(
        "to do them again: luigi --module tasks.nightly RangeDaily --of Nightly "
        f"--start {arguments.first} --stop {day_after}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
