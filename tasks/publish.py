"""PublishReports: the sanitised bucket on the mirror."""

from __future__ import annotations

import contextlib
import datetime as dt

import luigi

from ooni_pipeline.bucket.layout import Stage
from ooni_pipeline.bucket.manifest import timestamp
from ooni_pipeline.bucket.withdrawn import withdrawn_counts
from ooni_pipeline.errors import BucketError
from ooni_pipeline.transfer.publish import publish_bucket, waits_until
from tasks import config
from tasks.base import BucketTask, Progress, logger, unquoted, utc_now
from tasks.sanitise import SanitiseReports
from tasks.targets import ManifestTarget


def published_from(bucket_date: dt.date) -> dt.datetime | None:
    """From when on (UTC) a sanitised bucket may go to the mirror, where [publish] hold_hours still keeps it
    back; None where it does not, or where the bucket is not sanitised yet."""
    hold, layout = config.hold(), config.layout()
    if not hold or not layout.manifest(Stage.SANITISED, bucket_date).exists():
        return None
    return waits_until(layout, bucket_date, hold, utc_now())


class PublishReports(BucketTask):
    """Compressed reports and their index into ``<public>/<bucket_date>/``, which appears whole.

    While a sanitised bucket waits for a veto there is nothing to do, so the task is complete, without a
    proof: the night succeeds, and the first run after the window finds it incomplete and publishes.
    """

    def requires(self) -> luigi.Task:
        return SanitiseReports(bucket_date=self.bucket_date)

    def output(self) -> luigi.Target:
        return ManifestTarget(Stage.PUBLISHED, self.bucket_date)

    def complete(self) -> bool:
        if super().complete():
            return True
        with unquoted(), contextlib.suppress(BucketError):  # a damaged manifest is for the run to tell
            return published_from(self.bucket_date) is not None
        return False

    def run(self) -> None:
        with unquoted():
            until = published_from(self.bucket_date)
            if until:
                logger.info("bucket %s waits: published from %s on", self.bucket_date, timestamp(until))
                return
        super().run()

    def work(self, progress: Progress) -> None:
        publish_bucket(
            self.layout,
            self.bucket_date,
            utc_now(),
            workers=config.process_count(),
            progress=progress,
            room=config.room(),
            withdrawn=withdrawn_counts(self.layout, self.bucket_date),
        )
