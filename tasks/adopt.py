"""``python -m tasks.adopt``: prove raw buckets whose files already lie here."""

from __future__ import annotations

import argparse
import sys

from tqdm import tqdm

from ooni_pipeline.bucket.keys import id_key
from ooni_pipeline.bucket.layout import Stage
from ooni_pipeline.bucket.lock import one_writer
from ooni_pipeline.transfer.fetch import adopt_bucket
from tasks import config
from tasks.base import utc_now
from tasks.command import command, date, days


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
        "--empty", action="store_true", help="dates without a directory become empty buckets"
    )
    arguments = parser.parse_args()
    layout = config.layout()
    key = id_key(layout.id_key())
    adopted = reports = 0
    for bucket_date in tqdm(
        list(days(arguments.first, arguments.last)), unit="bucket", disable=not sys.stderr.isatty()
    ):
        if layout.manifest(Stage.RAW, bucket_date).exists() or layout.plan(bucket_date).exists():
            continue
        if not arguments.empty and not layout.bucket(Stage.RAW, bucket_date).is_dir():
            continue
        with one_writer(layout.lock("FetchReports", bucket_date)):
            manifest = adopt_bucket(layout, bucket_date, key, utc_now())
        adopted += 1
        reports += len(manifest.reports)
    print(f"adopted {adopted} buckets with {reports} reports")
    return 0


if __name__ == "__main__":
    sys.exit(main())
