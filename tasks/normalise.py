"""NormaliseReports: every format of ten years becomes one."""

from __future__ import annotations

import datetime as dt
from functools import partial

import luigi

from ooni_pipeline.bucket.keys import id_key
from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.manifest import Manifest
from ooni_pipeline.bucket.stage import process_bucket
from ooni_pipeline.bucket.withdraw_queue import RAW, Waiting, add_waiting
from ooni_pipeline.bucket.withdrawn import tombstones
from ooni_pipeline.normalise import VERSION
from ooni_pipeline.normalise.duplicates import drop_duplicates
from ooni_pipeline.normalise.reports import normalise_report
from tasks import config
from tasks.base import BucketTask, Progress, utc_now
from tasks.fetch import FetchReports
from tasks.restore import bring_back_freed
from tasks.targets import ManifestTarget


def normalise_version() -> str:
    """What the manifest says of how it was made; another one is a reason to do it again."""
    return f"normalise {VERSION}"


def normalise_bucket(layout: Layout, bucket_date: dt.date, key: bytes, progress: Progress) -> Manifest:
    """The stage, with today's code and settings, in the pipeline's own tree or in a scratch one."""
    stones = tombstones(config.layout(), key)
    return process_bucket(
        layout,
        Stage.NORMALISED,
        Stage.RAW,
        bucket_date,
        partial(normalise_report, key=key, withdrawn=stones if stones else None),
        version=normalise_version(),
        now=utc_now(),
        workers=config.process_count(),
        progress=progress,
        finish=drop_duplicates,
        room=config.room(),
    )


class NormaliseReports(BucketTask):
    """Raw reports into normalised ones, each entry of the bucket once."""

    def requires(self) -> luigi.Task:
        return FetchReports(bucket_date=self.bucket_date)

    def output(self) -> luigi.Target:
        return ManifestTarget(Stage.NORMALISED, self.bucket_date)

    def work(self, progress: Progress) -> None:
        bring_back_freed(self.layout, self.bucket_date, progress)
        made = normalise_bucket(self.layout, self.bucket_date, id_key(self.layout.id_key()), progress)
        if made.tally().withdrawn:  # they came back in other reports, where they still lie
            add_waiting(self.layout, [Waiting(RAW, self.bucket_date.isoformat(), made.made)])
