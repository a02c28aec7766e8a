"""Removing reports on the collectors once they are fetched, verified and in the backup."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from ooni_pipeline.bucket.files import file_digest
from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.manifest import Manifest, ReportRecord, read_proof, timestamp
from ooni_pipeline.bucket.pool import Progress
from ooni_pipeline.bucket.stage import checked_file, upstream_kept
from ooni_pipeline.errors import BucketError, TransferError
from ooni_pipeline.transfer.collectors import Collector


def remove_fetched(
    layout: Layout,
    bucket_date: dt.date,
    collectors: Sequence[Collector],
    now: dt.datetime,
    progress: Progress = lambda done, total: None,
) -> Manifest:
    """Remove on the collectors what this bucket fetched, verified and backed up; write the proof.

    A file goes only when our copy and the backup hold the bytes that the collector still has. One that
    has changed there stays and comes in a later bucket; so does one of a collector that is not configured.
    Raises BucketError, before anything is removed, where a file of ours is not what was fetched;
    TransferError, after the other collectors are done, where one cannot be reached.
    """
    by_name = {collector.name: collector for collector in collectors}
    with upstream_kept(layout, Stage.BACKUP, bucket_date) as backup:
        backed_up = {record.report: record.digest for record in backup.reports}
        raw = read_proof(layout, Stage.RAW, bucket_date)
        fetched = [record for record in raw.reports if record.name is not None and record.collector]
        for record in fetched:
            _verify_ours(layout, bucket_date, record)
        broken: dict[str, TransferError] = {}
        records = []
        for number, record in enumerate(fetched, 1):
            held = backed_up.get(record.report) == record.digest
            if record.collector not in broken:
                try:
                    detail = _remove(record, by_name.get(record.collector), held)
                except TransferError as error:
                    broken[record.collector] = error
                else:
                    records.append(
                        ReportRecord(
                            record.report, collector=record.collector, path=record.path, detail=detail
                        )
                    )
            progress(number, len(fetched))
        if broken:
            raise next(iter(broken.values()))
    manifest = Manifest(Stage.REMOVED.value, bucket_date, timestamp(now), reports=records)
    manifest.write(layout.manifest(Stage.REMOVED, bucket_date))
    return manifest


def _verify_ours(layout: Layout, bucket_date: dt.date, record: ReportRecord) -> None:
    path = checked_file(layout.bucket(Stage.RAW, bucket_date), record)
    try:
        same = file_digest(path) == record.digest
    except OSError as error:
        raise BucketError(
            f"{path} cannot be read: {error.strerror}; nothing is removed on collectors"
        ) from None
    if not same:
        raise BucketError(f"{path} is no longer what was fetched; nothing is removed on collectors")


def _remove(record: ReportRecord, collector: Collector | None, backed_up: bool) -> str:
    if not backed_up:
        return "kept: the backup does not hold it"
    if collector is None:
        return "kept: its collector is not configured"
    there = collector.digest(record.path)
    if there is None:
        return "gone"
    if there != record.digest:
        return "kept: it has changed since it was fetched"
    collector.remove(record.path)
    return "removed"
