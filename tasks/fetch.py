"""FetchReports: a day's reports from the collectors. RemoveFetchedReports lives in tasks.backup."""

from __future__ import annotations

import datetime as dt

import luigi

from ooni_pipeline.bucket.keys import id_key
from ooni_pipeline.bucket.layout import Stage
from ooni_pipeline.errors import BucketError
from ooni_pipeline.transfer.fetch import fetch_bucket, make_plan
from ooni_pipeline.transfer.restore import restore_bucket
from tasks import config
from tasks.base import BucketTask, Progress, utc_now
from tasks.targets import ManifestTarget


class FetchReports(BucketTask):
    """Take what the collectors have on the bucket's own day; finish on any later day what was begun.

    A past bucket of which nothing is here comes from the backup, never from tonight's reports.
    """

    def output(self) -> luigi.Target:
        return ManifestTarget(Stage.RAW, self.bucket_date)

    def work(self, progress: Progress) -> None:
        now = utc_now()
        today = now.date()
        layout, date = self.layout, self.bucket_date
        if date > today:
            raise BucketError(f"bucket {date} is in the future: it is {today} (UTC)")
        if date < today and not layout.plan(date).exists():
            if restore_bucket(layout, date, config.store(), progress):
                return
            raise BucketError(
                f"bucket {date} was never fetched and is not in the backup; tonight's reports do not belong "
                f"to it. If its files lie below reports-raw/yaml: python -m tasks.adopt {date} {date}; "
                f"if there was nothing that day: python -m tasks.adopt --empty {date} {date}"
            )
        try:
            self._fetch(now, progress)
        except BucketError:  # what was fetched is neither here nor on its collector any more
            if date == today or not restore_bucket(layout, date, config.store(), progress):
                raise

    def _fetch(self, now: dt.datetime, progress: Progress) -> None:
        layout, date = self.layout, self.bucket_date
        collectors = config.collectors()
        key = id_key(layout.id_key())
        plan = make_plan(layout, date, collectors, key, add=date == now.date())
        fetch_bucket(layout, plan, collectors, key, now, progress)
