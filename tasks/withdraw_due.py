"""What a withdrawal had to leave in the queue, done when it is due."""

from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path

from ooni_pipeline.bucket.files import file_digest
from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.lock import one_writer
from ooni_pipeline.bucket.manifest import Manifest, ReportRecord, moment
from ooni_pipeline.bucket.withdraw_queue import (
    BACKUP,
    COLLECTOR,
    EXPIRING,
    RAW,
    Waiting,
    add_waiting,
    changing,
    waiting,
)
from ooni_pipeline.bucket.withdrawn import Tombstones
from ooni_pipeline.errors import BucketError, PipelineError
from ooni_pipeline.transfer.withdraw import forget_objects
from tasks import config
from tasks.backup import BackupReports
from tasks.base import utc_now
from tasks.base import waiting as waits_for
from tasks.redo import run
from tasks.restore import bring_back_freed
from tasks.withdraw_collectors import take_from_collectors
from tasks.withdrawing import sweep


def work_off(layout: Layout, stones: Tombstones) -> list[str]:
    """Do what the queue holds and is due. Returns what could not be done, in words."""
    now = utc_now()
    due = [item for item in waiting(layout) if moment(item.due) <= now]
    problems: list[str] = []
    again: set[dt.date] = set()
    done = [item for item in due if item.kind in EXPIRING]
    for item in due:
        bucket_date = dt.date.fromisoformat(item.bucket)
        try:
            if item.kind == RAW:
                problems += sweep(layout, [bucket_date], stones)
                done.append(item)
            elif item.kind == BACKUP and _erase(layout, item):
                done.append(item)
                if layout.manifest(Stage.RAW, bucket_date).exists():
                    again.add(bucket_date)
        except PipelineError as error:
            problems.append(f"bucket {item.bucket}: {item.told}: {error}")
    with changing(layout) as queue:
        queue[:] = [item for item in queue if item not in done]
    for bucket_date in sorted(again):
        if not run(BackupReports(bucket_date=bucket_date)):
            problems.append(f"bucket {bucket_date}: BackupReports failed")
    take_from_collectors(layout, [item for item in due if item.kind == COLLECTOR])
    return problems


def _erase(layout: Layout, item: Waiting) -> bool:
    """Delete an object whose retention has ended; False where it has not. One that the bucket has under the
    same key again is put there anew: what is kept of it is younger than the withdrawal."""
    bucket_date = dt.date.fromisoformat(item.bucket)
    task = BackupReports(bucket_date=bucket_date)
    with one_writer(task.lock, waits_for(f"withdraw of bucket {bucket_date}")):
        path = layout.private / item.what
        is_ours = path == layout.manifest(Stage.RAW, bucket_date) or _is_named(layout, bucket_date, path.name)
        if is_ours:  # what is there now may be all there is: all its versions go, so it must be here
            bring_back_freed(layout, bucket_date, lambda done, total: None)
            _must_be_here(layout, bucket_date, path)
            forget_objects(layout, bucket_date, [item.what])
        erased = config.store().erase(item.what)
        if erased.kept_until and (not is_ours or erased.kept_until <= item.due):
            add_waiting(layout, [dataclasses.replace(item, due=erased.kept_until)])
            return erased.kept_until > item.due  # it is in the queue anew
        return not erased.kept or is_ours


def _is_named(layout: Layout, bucket_date: dt.date, name: str) -> bool:
    return _named(layout, bucket_date, name) is not None


def _must_be_here(layout: Layout, bucket_date: dt.date, path: Path) -> None:
    record = _named(layout, bucket_date, path.name)
    if record is None:  # it is the manifest
        return
    if not path.is_file() or file_digest(path) != record.digest:
        raise BucketError(
            f"{path} is not here as its manifest says, so the backup's copy stays: luigi --module "
            f"tasks.restore RestoreReports --bucket-date {bucket_date} first"
        )


def _named(layout: Layout, bucket_date: dt.date, name: str) -> ReportRecord | None:
    path = layout.manifest(Stage.RAW, bucket_date)
    records = Manifest.read(path).reports if path.exists() else []
    return next((record for record in records if record.name == name), None)
