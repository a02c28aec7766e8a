"""``python -m tasks.adopt``: prove raw buckets whose files already lie here."""

from __future__ import annotations

import argparse
import datetime as dt
import sys

from tqdm import tqdm

from ooni_pipeline.bucket.keys import id_key
from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.lock import one_writer
from ooni_pipeline.errors import PipelineError
from ooni_pipeline.transfer.raw_bucket import adopt_bucket
from ooni_pipeline.transfer.stored import key_of
from tasks import config
from tasks.backup import BackupReports, RemoveFetchedReports
from tasks.base import utc_now, waiting
from tasks.command import command, date, days
from tasks.load import LoadMeasurements
from tasks.normalise import NormaliseReports
from tasks.publish import PublishReports
from tasks.refresh import RefreshViews
from tasks.sanitise import SanitiseReports

#: What there is to do for an empty bucket: next to nothing, but luigi's scheduler would take minutes to
#: arrange it for ten years of them (its cost grows with the square of the tasks).
AT_ONCE = (
    BackupReports,
    RemoveFetchedReports,
    NormaliseReports,
    SanitiseReports,
    PublishReports,
    LoadMeasurements,
)


def carry_through(buckets: list[dt.date]) -> None:
    """Do every stage of empty buckets now, with one refresh of the views for all of them. What cannot be
    done yet (a database that is down) is left to the next run, with one warning."""
    for task in (*AT_ONCE, RefreshViews):
        try:
            for bucket_date in buckets[-1:] if task is RefreshViews else buckets:
                task(bucket_date=bucket_date).run()
        except PipelineError as error:
            print(f"warning: {task.__name__} is left to the next run: {error}", file=sys.stderr)
            return


def in_backup(layout: Layout, bucket_date: dt.date) -> bool:
    """Whether the backup holds a bucket: it must not be called empty because it was lost here."""
    return config.store().digest(key_of(layout, layout.manifest(Stage.RAW, bucket_date))) is not None


@command
def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tasks.adopt",
        description="Make the manifests of buckets whose report files already lie below reports-raw/yaml/. "
        "Files are neither moved nor renamed. A bucket that has a manifest stays as it is.",
        epilog="Examples: python -m tasks.adopt 2012-12-05 2016-07-31; "
        "python -m tasks.adopt --empty 2016-08-02 2016-08-02 (nothing came that day)",
    )
    parser.add_argument("first", type=date, help="first bucket_date")
    parser.add_argument("last", type=date, help="last bucket_date")
    parser.add_argument(
        "--empty",
        action="store_true",
        help="dates without a directory become empty buckets, which are done with all stages at once",
    )
    arguments = parser.parse_args()
    layout = config.layout()
    key = id_key(layout.id_key())
    today = utc_now().date()
    if arguments.last >= today:
        parser.error(
            f"it is {today} (UTC): today's bucket is what is fetched today (for more of it: python -m "
            f"tasks.forget fetch {today} {today}), and no bucket is of a day to come"
        )
    adopted = reports = 0
    empty: list[dt.date] = []
    for bucket_date in tqdm(
        list(days(parser, arguments.first, arguments.last)), unit="bucket", disable=not sys.stderr.isatty()
    ):
        if layout.manifest(Stage.RAW, bucket_date).exists() or layout.plan(bucket_date).exists():
            continue
        if not arguments.empty and not layout.bucket(Stage.RAW, bucket_date).is_dir():
            continue
        if not layout.bucket(Stage.RAW, bucket_date).is_dir() and in_backup(layout, bucket_date):
            print(
                f"bucket {bucket_date} is not empty, it is in the backup, from which this brings it: luigi "
                f"--module tasks.nightly Nightly --bucket-date {bucket_date}",
                file=sys.stderr,
            )
            continue
        with one_writer(layout.lock("FetchReports", bucket_date), waiting(f"adopt of bucket {bucket_date}")):
            manifest = adopt_bucket(layout, bucket_date, key, utc_now())
        adopted += 1
        reports += len(manifest.reports)
        if not manifest.reports:
            empty.append(bucket_date)
    carry_through(empty)
    print(f"adopted {adopted} buckets with {reports} reports")
    return 0


if __name__ == "__main__":
    sys.exit(main())
