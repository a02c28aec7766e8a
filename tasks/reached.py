"""EveryCollectorReached: so that a night which goes without a collector does not end as if all were well."""

from __future__ import annotations

import contextlib
import datetime as dt

import luigi

from ooni_pipeline.bucket.layout import Stage
from ooni_pipeline.bucket.manifest import moment, read_proof
from ooni_pipeline.errors import TransferError
from ooni_pipeline.transfer.fetch import unreached
from tasks import config
from tasks.base import BucketTask, Progress, unquoted, utc_now
from tasks.fetch import FetchReports

#: For so long the exit status tells of a bucket of a past day; then nothing is left to do, and the next runs
#: must not fail for it too.
_NEWS = dt.timedelta(hours=1)


class EveryCollectorReached(BucketTask):
    """Fails where a bucket goes without a collector, or without some of its files. The other stages go on:
    they need it for nothing. A later run of the same day tries that collector again (see tasks.nightly);
    when the day is over its reports come with another bucket, and this one is as complete as it can be.
    """

    #: Its line is in the log before the long stages begin.
    priority = 20

    def requires(self) -> luigi.Task:
        return FetchReports(bucket_date=self.bucket_date)

    def complete(self) -> bool:
        """Whether there is nothing to tell."""
        with unquoted():
            return self.requires().complete() and not missed(self.bucket_date)

    def work(self, progress: Progress) -> None:
        told = "; ".join(missed(self.bucket_date).values())
        raise TransferError(
            f"bucket {self.bucket_date} goes without: {told}. What waits there comes with a later bucket, or "
            "with this one when the night is run again today"
        )


def missed(bucket_date: dt.date) -> dict[str, str]:
    """The collectors that a bucket goes without, and why, as long as somebody should hear of it."""
    raw = read_proof(config.layout(), Stage.RAW, bucket_date)
    without = unreached(raw)
    if not without:
        return {}
    now = utc_now()
    return without if bucket_date == now.date() or abs(now - moment(raw.made)) < _NEWS else {}


def reached_now(bucket_date: dt.date) -> list[str]:
    """The collectors that a bucket of today goes without and that answer by now."""
    answering = []
    without = missed(bucket_date) if config.layout().manifest(Stage.RAW, bucket_date).exists() else {}
    if without and bucket_date == utc_now().date():
        with config.open_collectors() as collectors:
            for collector in collectors:
                if collector.name in without:
                    with contextlib.suppress(TransferError):
                        next(iter(collector.list()), None)
                        answering.append(collector.name)
    return answering
