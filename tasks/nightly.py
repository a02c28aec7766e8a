"""Nightly: everything that one night must do for one bucket. Cron runs it at 04:00."""

from __future__ import annotations

import luigi

from tasks.backup import RemoveFetchedReports
from tasks.publish import PublishReports
from tasks.refresh import RefreshViews


class Nightly(luigi.WrapperTask):
    """Views refreshed, mirror published, collectors emptied."""

    bucket_date = luigi.DateParameter(description="UTC date of the bucket")
    priority = 0

    def requires(self) -> list[luigi.Task]:
        return [
            RefreshViews(bucket_date=self.bucket_date),
            PublishReports(bucket_date=self.bucket_date),
            RemoveFetchedReports(bucket_date=self.bucket_date),
        ]
