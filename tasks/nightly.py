"""Nightly: everything that one night must do for one bucket. Cron runs it at 04:00."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

import luigi
from luigi.tools.range import RangeDaily

from tasks.backup import RemoveFetchedReports
from tasks.base import unquoted
from tasks.publish import PublishReports
from tasks.refresh import RefreshViews

__all__ = ["Nightly", "RangeDaily"]  # for: luigi --module tasks.nightly RangeDaily --of Nightly


class Nightly(luigi.WrapperTask):
    """Views refreshed, mirror published, collectors emptied."""

    bucket_date = luigi.DateParameter(description="UTC date of the bucket")
    priority = 0

    @classmethod
    @unquoted()
    def bulk_complete(cls, parameter_tuples: Iterable[dt.date]) -> list[dt.date]:
        """Which of many nights are done, asking the database once."""
        in_views = RefreshViews.bulk_complete(parameter_tuples)
        others = (PublishReports, RemoveFetchedReports)
        return [date for date in in_views if all(task(bucket_date=date).complete() for task in others)]

    def requires(self) -> list[luigi.Task]:
        return [
            RefreshViews(bucket_date=self.bucket_date),
            PublishReports(bucket_date=self.bucket_date),
            RemoveFetchedReports(bucket_date=self.bucket_date),
        ]
