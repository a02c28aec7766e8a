"""BackupReports, and RemoveFetchedReports, which only the backup permits."""

from __future__ import annotations

import luigi

from ooni_pipeline.bucket.layout import Stage
from ooni_pipeline.transfer.backup import PUT_AGAIN, backup_bucket
from ooni_pipeline.transfer.remove import remove_fetched
from tasks import config
from tasks.base import BucketTask, Progress, logger, utc_now
from tasks.fetch import FetchReports
from tasks.restore import bring_back_freed
from tasks.targets import ManifestTarget


class BackupReports(BucketTask):
    """The raw bucket and its manifest into the private store, beside the other stages."""

    def requires(self) -> luigi.Task:
        return FetchReports(bucket_date=self.bucket_date)

    def output(self) -> luigi.Target:
        return ManifestTarget(Stage.BACKUP, self.bucket_date)

    def work(self, progress: Progress) -> None:
        manifest = backup_bucket(
            self.layout,
            self.bucket_date,
            config.store(),
            utc_now(),
            progress,
            config.room(),
            config.connections(),
        )
        if again := manifest.facts.get(PUT_AGAIN):
            logger.warning(
                "bucket %s: %s objects of the backup were no longer what had been put there; they were put "
                "again. Find out who changes them",
                self.bucket_date,
                again,
            )


class RemoveFetchedReports(BucketTask):
    """Remove on the collectors what is fetched, verified and backed up, file by file."""

    def requires(self) -> luigi.Task:
        return BackupReports(bucket_date=self.bucket_date)

    def output(self) -> luigi.Target:
        return ManifestTarget(Stage.REMOVED, self.bucket_date)

    def work(self, progress: Progress) -> None:
        bring_back_freed(self.layout, self.bucket_date, progress)
        with config.open_collectors() as collectors:
            remove_fetched(self.layout, self.bucket_date, collectors, utc_now(), progress)
