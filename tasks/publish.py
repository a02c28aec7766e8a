"""PublishReports: the sanitised bucket on the mirror."""

from __future__ import annotations

import luigi

from ooni_pipeline.bucket.layout import Stage
from ooni_pipeline.transfer.publish import publish_bucket
from tasks import config
from tasks.base import BucketTask, Progress, utc_now
from tasks.sanitise import SanitiseReports
from tasks.targets import ManifestTarget


class PublishReports(BucketTask):
    """Compressed reports and their index into ``<public>/<bucket_date>/``, which appears whole."""

    def requires(self) -> luigi.Task:
        return SanitiseReports(bucket_date=self.bucket_date)

    def output(self) -> luigi.Target:
        return ManifestTarget(Stage.PUBLISHED, self.bucket_date)

    def work(self, progress: Progress) -> None:
        publish_bucket(
            self.layout, self.bucket_date, utc_now(), workers=config.process_count(), progress=progress
        )
