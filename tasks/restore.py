"""RestoreReports: the raw files of a bucket come back from the backup."""

from __future__ import annotations

import datetime as dt
from contextlib import AbstractContextManager

import luigi
from luigi.tools.range import RangeDaily

from ooni_pipeline.bucket.cleaned import is_cleaned, lacks_files
from ooni_pipeline.bucket.keys import id_key
from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.lock import one_writer
from ooni_pipeline.bucket.manifest import read_proof
from ooni_pipeline.errors import BucketError
from ooni_pipeline.transfer.raw_bucket import adopt_others
from ooni_pipeline.transfer.restore import restore_bucket
from tasks import config
from tasks.base import BucketTask, Progress, logger, utc_now, waiting
from tasks.targets import ManifestTarget

__all__ = ["RangeDaily", "RestoreReports", "bring_back", "bring_back_freed", "raw_lock"]


def raw_lock(layout: Layout, bucket_date: dt.date) -> AbstractContextManager[None]:
    """Held by whoever brings raw files of a bucket back or frees them; asked for after any task's lock."""
    return one_writer(layout.lock("raw", bucket_date), waiting(f"restore of bucket {bucket_date}"))


def bring_back(layout: Layout, bucket_date: dt.date, progress: Progress) -> bool:
    """Bring a bucket back from the backup; what lies here beside it is adopted. False: it is not there."""
    with raw_lock(layout, bucket_date):
        if not restore_bucket(
            layout, bucket_date, config.store(), progress, config.room(), config.connections()
        ):
            return False
        adopt_others(layout, bucket_date, id_key(layout.id_key()), utc_now())
    logger.warning("bucket %s came back from the backup", bucket_date)
    return True


def bring_back_freed(layout: Layout, bucket_date: dt.date, progress: Progress) -> None:
    """Bring back what ``tasks.cleanup`` freed of a bucket, where something of it is not here: whoever needs
    its raw files calls this first."""
    if is_cleaned(layout, bucket_date) and lacks_files(layout, read_proof(layout, Stage.RAW, bucket_date)):
        logger.warning("bucket %s: its raw files are in the backup alone, and are brought back", bucket_date)
        bring_back(layout, bucket_date, progress)


class RestoreReports(BucketTask):
    """Bring the raw files of a bucket back from the backup, each checked by its digest.

    Done when all of them are here, whatever else is of the bucket. Of an encrypted backup it wants [backup]
    identity.
    """

    def output(self) -> luigi.Target:
        return ManifestTarget(Stage.RAW, self.bucket_date)

    def complete(self) -> bool:
        """Whether there is nothing to bring: asks the disk alone."""
        if not super().complete():
            return False
        layout = self.layout
        return not (
            is_cleaned(layout, self.bucket_date)
            or lacks_files(layout, read_proof(layout, Stage.RAW, self.bucket_date))
        )

    def work(self, progress: Progress) -> None:
        if not bring_back(self.layout, self.bucket_date, progress):
            raise BucketError(f"bucket {self.bucket_date} is not in the backup")
