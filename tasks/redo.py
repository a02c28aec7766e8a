"""Stages of a bucket that were forgotten, done again at once by the command that forgot them."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Iterable

from ooni_pipeline.errors import PipelineError
from tasks.base import BucketTask
from tasks.load import LoadMeasurements
from tasks.publish import PublishReports
from tasks.refresh import RefreshViews
from tasks.sanitise import SanitiseReports
from tasks.site import PublishSite, on_the_mirror


def redo(bucket_date: dt.date) -> bool:
    """Sanitise, publish, load, in this order: the mirror, which anybody reads, is clean first. False, with
    one line that says what to type, where something cannot be done now."""
    if not run(SanitiseReports(bucket_date=bucket_date)):
        return False
    published = run(PublishReports(bucket_date=bucket_date))
    return run(LoadMeasurements(bucket_date=bucket_date)) and published


def refresh(buckets: Iterable[dt.date]) -> bool:
    """One refresh of the views for all of these buckets, which are loaded, and the public site after it: its
    tables and country pages must not show any longer what the views no longer do."""
    dates = list(buckets)
    refreshed = all(run(RefreshViews(bucket_date=bucket_date)) for bucket_date in dates)
    shown = all(run(PublishSite(bucket_date=date)) for date in dates if on_the_mirror(date))
    return refreshed and shown


def run(task: BucketTask) -> bool:
    """Run one task whose upstream is done."""
    try:
        task.run()
    except PipelineError as error:
        print(
            f"error: {task.task_family} of bucket {task.bucket_date}: {error}; to do what is left: "
            f"luigi --module tasks.nightly Nightly --bucket-date {task.bucket_date}",
            file=sys.stderr,
        )
        return False
    return True
