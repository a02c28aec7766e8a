"""LoadMeasurements: the sanitised bucket into PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import luigi

from ooni_pipeline.bucket.layout import Stage
from ooni_pipeline.bucket.manifest import Manifest
from ooni_pipeline.bucket.stage import checked_file
from ooni_pipeline.database.markers import loaded_buckets
from ooni_pipeline.database.metrics import load_bucket
from ooni_pipeline.fingerprints import load_fingerprints
from tasks import config
from tasks.base import BucketTask, Progress
from tasks.sanitise import SanitiseReports
from tasks.targets import LoadTarget, among


class LoadMeasurements(BucketTask):
    """Replace the bucket's rows, matches and small tables, with the marker, in one transaction."""

    def requires(self) -> luigi.Task:
        return SanitiseReports(bucket_date=self.bucket_date)

    def output(self) -> luigi.Target:
        return LoadTarget(self.bucket_date)

    def work(self, progress: Progress) -> None:
        sanitised = Manifest.read(self.layout.manifest(Stage.SANITISED, self.bucket_date))
        directory = self.layout.bucket(Stage.SANITISED, self.bucket_date)
        reports = [checked_file(directory, record) for record in sanitised.usable().values()]
        url = config.database_url(start=True)
        load_bucket(url, self.bucket_date, reports, load_fingerprints(), progress)

    @classmethod
    def bulk_complete(cls, parameter_tuples: Iterable[Any]) -> list[Any]:
        return among(parameter_tuples, loaded_buckets)
