"""FetchReports: a day's reports from the collectors. RemoveFetchedReports lives in tasks.backup."""

from __future__ import annotations

import datetime as dt

import luigi

from ooni_pipeline.bucket.freshness import missed_around
from ooni_pipeline.bucket.keys import id_key
from ooni_pipeline.bucket.layout import Stage
from ooni_pipeline.bucket.process import SINCE_BOOT, since_boot
from ooni_pipeline.errors import BucketError, PipelineError
from ooni_pipeline.transfer.fetch import fetch_bucket, make_plan, unreached
from tasks import config
from tasks.base import BucketTask, Progress, logger, utc_now
from tasks.restore import bring_back
from tasks.targets import ManifestTarget


class FetchReports(BucketTask):
    """Take what the collectors have on the bucket's own day; finish on any later day what was begun.

    A collector is a source of a bucket, and needs only be one by what it offers (see transfer.collectors):
    a subscriber to what collectors announce would be another, behind the same plan and manifest.

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
        if not layout.plan(date).exists():
            if self._restore(progress, must=date < today):
                return
            if date == today:
                self._fetch(now, progress)
                return
            first, last = missed_around(layout, date, today)
            raise BucketError(
                f"bucket {date} was never fetched and is not in the backup; tonight's reports do not belong "
                f"to it. If nothing came, or its files lie below reports-raw/yaml: python -m tasks.adopt "
                f"--empty {first} {last}"
            )
        try:
            self._fetch(now, progress)
        except BucketError:  # what was fetched is neither here nor on its collector any more
            if date == today or not self._restore(progress, must=True):
                raise

    def _restore(self, progress: Progress, *, must: bool) -> bool:
        """Bring the bucket back from the backup, where it is.

        On its own day the backup is only asked whether it was lost: that it cannot tell stops nothing.
        """
        try:
            return bring_back(self.layout, self.bucket_date, progress)
        except PipelineError as error:
            if must:
                raise
            logger.warning("cannot ask the backup for bucket %s: %s", self.bucket_date, error)
            return False

    def _fetch(self, now: dt.datetime, progress: Progress) -> None:
        layout, date = self.layout, self.bucket_date
        key = id_key(layout.id_key())
        with config.open_collectors() as collectors:
            plan = make_plan(
                layout,
                date,
                collectors,
                key,
                add=date == now.date(),
                settle_seconds=config.settle_seconds(),
            )
            facts = {SINCE_BOOT: since_boot()}
            raw = fetch_bucket(layout, plan, collectors, key, now, progress, config.room(), facts)
        for name, problem in unreached(raw).items():
            logger.warning("bucket %s goes without collector %s: %s", date, name, problem)
