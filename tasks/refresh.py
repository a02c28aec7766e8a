"""RefreshViews: what researchers and journalists read. Requiring it pulls in the whole pipeline."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import luigi
from luigi.tools.range import RangeDaily

from ooni_pipeline.database.markers import buckets_in_views
from ooni_pipeline.database.views import refresh_views
from tasks import config
from tasks.backup import BackupReports
from tasks.base import BucketTask, Progress, unquoted
from tasks.load import LoadMeasurements
from tasks.targets import ViewsTarget, among, answers_again

__all__ = ["RangeDaily", "RefreshViews"]  # for: luigi --module tasks.refresh RangeDaily --of RefreshViews


class RefreshViews(BucketTask):
    """The bucket's current load is in the four views. One refresh serves every bucket that is loaded."""

    priority = 0  # after all loads

    def requires(self) -> list[luigi.Task]:
        return [LoadMeasurements(bucket_date=self.bucket_date), BackupReports(bucket_date=self.bucket_date)]

    def output(self) -> luigi.Target:
        return ViewsTarget(self.bucket_date)

    @property
    def lock(self) -> Path:
        """One refresh at a time, whatever the bucket: who waited mostly finds that it served him too."""
        return self.layout.lock(self.task_family)

    def work(self, progress: Progress) -> None:
        refresh_views(config.database_url(start=True))
        answers_again()

    @classmethod
    @unquoted()
    def bulk_complete(cls, parameter_tuples: Iterable[Any]) -> list[Any]:
        return among(parameter_tuples, buckets_in_views)
