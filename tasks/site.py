"""PublishSite: the pages and indices around the published buckets."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import luigi

from ooni_pipeline.bucket.freshness import next_night
from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.database.public import loads_in_views, published_rows
from ooni_pipeline.errors import BucketError
from ooni_pipeline.site.build import buckets_to_show, build_site
from ooni_pipeline.site.state import SiteState, read_state
from tasks import config
from tasks.base import BucketTask, Progress, unquoted, utc_now
from tasks.publish import PublishReports, published_from
from tasks.refresh import RefreshViews
from tasks.targets import answers_again, ask


def on_the_site(dates: Iterable[dt.date]) -> list[dt.date]:
    """Which of these buckets the site shows as they are now, on the mirror and in the views; one that a veto
    window keeps from the mirror counts, as long as the site does not show it. Asks the database once."""
    wanted = list(dates)
    layout = config.layout()
    state = read_state(layout)
    if not wanted or state is None or state.settings != config.site_settings():
        return []
    loads = ask(lambda url: loads_in_views(url, min(wanted), max(wanted)), otherwise=None)
    if loads is None:
        return []
    return [date for date in wanted if date in loads and _shown(layout, state, date, loads[date])]


def _shown(layout: Layout, state: SiteState, bucket_date: dt.date, load: int) -> bool:
    if layout.manifest(Stage.PUBLISHED, bucket_date).exists():
        return state.shows(layout, bucket_date, load)
    # Luigi asks no further than a task that is complete: what was forgotten is to be published, not shown.
    with contextlib.suppress(BucketError):  # a damaged manifest is for the run to tell
        waits = not on_the_mirror(bucket_date) and published_from(bucket_date) is not None
        return waits and bucket_date not in state.buckets
    return False


def on_the_mirror(bucket_date: dt.date) -> bool:
    return config.layout().bucket(Stage.PUBLISHED, bucket_date).exists()


class SiteTarget(luigi.Target):
    """The site shows a bucket as it is now."""

    def __init__(self, bucket_date: dt.date) -> None:
        self.bucket_date = bucket_date

    def exists(self) -> bool:
        return bool(on_the_site([self.bucket_date]))


class PublishSite(BucketTask):
    """Front page, countries, tables, index and log of changes show the bucket. One making serves every bucket
    that is published and in the views."""

    priority = -10  # after all refreshes

    def requires(self) -> list[luigi.Task]:
        return [RefreshViews(bucket_date=self.bucket_date), PublishReports(bucket_date=self.bucket_date)]

    def output(self) -> luigi.Target:
        return SiteTarget(self.bucket_date)

    @property
    def lock(self) -> Path:
        """One making at a time, whatever the bucket: who waited mostly finds that it served him too."""
        return self.layout.lock(self.task_family)

    def work(self, progress: Progress) -> None:
        url, layout, now = config.database_url(start=True), self.layout, utc_now()
        with published_rows(url, buckets_to_show(layout)) as rows:
            build_site(layout, rows, config.site_settings(), now, next_night(now))
        answers_again()

    @classmethod
    @unquoted()
    def bulk_complete(cls, parameter_tuples: Iterable[Any]) -> list[Any]:
        return on_the_site(parameter_tuples)
