"""Nightly: everything that one night must do for one bucket. Cron runs it at 04:00."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Iterable

import luigi
from luigi.tools.range import RangeDaily

from ooni_pipeline.bucket.freshness import made_by_another_clock
from ooni_pipeline.bucket.layout import Stage
from ooni_pipeline.bucket.process import since_boot
from ooni_pipeline.errors import PipelineError
from tasks import config
from tasks.backup import RemoveFetchedReports
from tasks.base import logger, unquoted, utc_now
from tasks.forget import forget
from tasks.reached import EveryCollectorReached, reached_now
from tasks.site import PublishSite

__all__ = ["Nightly", "RangeDaily"]  # for: luigi --module tasks.nightly RangeDaily --of Nightly


@functools.cache
def _reopen(bucket_date: dt.date) -> None:
    """A bucket of today that a clock which was ahead made already, or of which a clock that is behind says
    that it is today's: it takes what waits on the collectors, once for each process. Else the night of a day
    that has come would find its bucket done, and do nothing. So does a bucket of today that goes without a
    collector which answers by now."""
    now = utc_now()
    if bucket_date != now.date():
        return
    try:
        if made_by_another_clock(config.layout(), bucket_date, now, since_boot()):
            logger.warning(
                "bucket %s was made by another clock than this, which says %s (UTC): that one was ahead, or "
                "this is behind; the bucket is fetched once more, and takes what is new",
                bucket_date,
                f"{now:%Y-%m-%d %H:%M}",
            )
        elif answering := reached_now(bucket_date):
            logger.info(
                "bucket %s went without %s: fetched once more, now that it answers",
                bucket_date,
                ", ".join(answering),
            )
        else:
            return
        forget(Stage.RAW, bucket_date, None)
    except PipelineError as error:  # also a damaged proof: the other stages can go on
        logger.warning(
            "bucket %s stays as it is, and what is new comes with a later one: %s", bucket_date, error
        )


class Nightly(luigi.WrapperTask):
    """Mirror published, views refreshed, the site made of both, every collector reached and emptied."""

    bucket_date = luigi.DateParameter(description="UTC date of the bucket")
    priority = 0

    @classmethod
    @unquoted()
    def bulk_complete(cls, parameter_tuples: Iterable[dt.date]) -> list[dt.date]:
        """Which of many nights are done, asking the database once."""
        shown = PublishSite.bulk_complete(parameter_tuples)
        others = (RemoveFetchedReports, EveryCollectorReached)
        return [date for date in shown if all(task(bucket_date=date).complete() for task in others)]

    def complete(self) -> bool:
        """Whether all of it is done. Asked first of all, it reopens today's bucket where that needs it."""
        with unquoted():
            _reopen(self.bucket_date)
        return bool(super().complete())

    def requires(self) -> list[luigi.Task]:
        return [
            PublishSite(bucket_date=self.bucket_date),
            RemoveFetchedReports(bucket_date=self.bucket_date),
            EveryCollectorReached(bucket_date=self.bucket_date),
        ]
