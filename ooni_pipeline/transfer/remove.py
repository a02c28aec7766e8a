"""Removing reports on the collectors once they are fetched, verified and in the backup."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ooni_pipeline.bucket.files import file_digest
from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.manifest import Manifest, ReportRecord, read_proof, timestamp
from ooni_pipeline.bucket.pool import Progress
from ooni_pipeline.bucket.stage import checked_file, upstream_kept
from ooni_pipeline.errors import BucketError, TransferError
from ooni_pipeline.transfer.collectors import CHANGED, GONE, REMOVED, Collector
from ooni_pipeline.transfer.plan import BATCH, batches

#: How the fate of a file begins that was to be removed and could not be.
_STUCK = "cannot be removed: "


def remove_fetched(
    layout: Layout,
    bucket_date: dt.date,
    collectors: Sequence[Collector],
    now: dt.datetime,
    progress: Progress = lambda done, total: None,
) -> Manifest:
    """Remove on the collectors what this bucket fetched, verified and backed up; write the proof.

    A file goes only when our copy and the backup hold the bytes that the collector still has, which the
    collector compares itself, right before. One that has changed there stays and comes in a later bucket;
    so does one of a collector that is not configured. Raises BucketError, before anything is removed, where
    a file of ours is not what was fetched; TransferError, after the others are done, where a collector
    cannot be reached or does not let a file go: what was removed until then is not forgotten.
    """
    by_name = {collector.name: collector for collector in collectors}
    with upstream_kept(layout, Stage.BACKUP, bucket_date) as backup:
        backed_up = {record.report: record.source for record in backup.reports}
        raw = read_proof(layout, Stage.RAW, bucket_date)
        fetched = [record for record in raw.reports if record.name is not None and record.collector]
        directory = layout.bucket(Stage.RAW, bucket_date)
        for record in fetched:
            _verify_ours(directory, record)
        fates: dict[str, str] = {}
        asked: dict[str, list[ReportRecord]] = {}
        for record in fetched:
            if backed_up.get(record.report) != record.digest:
                fates[record.report] = "kept: the backup does not hold it"
            elif record.collector not in by_name:
                fates[record.report] = "kept: its collector is not configured"
            else:
                asked.setdefault(record.collector, []).append(record)
        earlier = _earlier(layout, bucket_date)
        broken = []
        for name, wanted in asked.items():
            for batch in batches(wanted, BATCH):
                try:
                    fates.update(_remove(by_name[name], batch, earlier))
                except TransferError as error:
                    broken.append(str(error))
                    break
                progress(len(fates), len(fetched))
        records = [
            ReportRecord(
                record.report, collector=record.collector, path=record.path, detail=fates[record.report]
            )
            for record in fetched
            if record.report in fates
        ]
        broken += _stuck(records)
        manifest = Manifest(Stage.REMOVED.value, bucket_date, timestamp(now), reports=records)
        if broken:
            manifest.write(layout.forgotten(Stage.REMOVED, bucket_date))
            raise TransferError("; ".join(broken))
    manifest.write(layout.manifest(Stage.REMOVED, bucket_date))
    layout.forgotten(Stage.REMOVED, bucket_date).unlink(missing_ok=True)
    return manifest


def _earlier(layout: Layout, bucket_date: dt.date) -> set[tuple[str, str]]:
    """What a run that did not come to its end, or was forgotten, removed already: collector and path."""
    try:
        records = Manifest.read(layout.forgotten(Stage.REMOVED, bucket_date)).reports
    except BucketError:  # there was none
        return set()
    return {(record.collector, record.path) for record in records if record.detail == REMOVED}


def _remove(collector: Collector, batch: list[ReportRecord], earlier: set[tuple[str, str]]) -> dict[str, str]:
    """What became of each report. Raises TransferError when the collector cannot be reached."""
    outcomes = collector.remove({record.path: record.digest for record in batch})
    return {
        record.report: _fate(outcomes[record.path], (collector.name, record.path) in earlier)
        for record in batch
    }


def _fate(outcome: str, before: bool) -> str:
    if outcome == GONE:
        return REMOVED if before else GONE
    if outcome == CHANGED:
        return "kept: it has changed since it was fetched"
    return outcome if outcome == REMOVED else f"{_STUCK}{outcome}"


def _stuck(records: list[ReportRecord]) -> list[str]:
    """For each collector that does not let files go, a line that says how many and why."""
    why: dict[str, Counter[str]] = {}
    for record in records:
        if record.detail.startswith(_STUCK):
            why.setdefault(record.collector, Counter())[record.detail.removeprefix(_STUCK)] += 1
    return [
        f"collector {name} does not let {number} of its files go ({reason}): its account must be able to "
        "write in that directory and on that disk; mend it and run RemoveFetchedReports again"
        for name, reasons in why.items()
        for reason, number in reasons.items()
    ]


def _verify_ours(directory: Path, record: ReportRecord) -> None:
    path = checked_file(directory, record)
    try:
        same = file_digest(path) == record.digest
    except OSError as error:
        raise BucketError(
            f"{path} cannot be read: {error.strerror}; nothing is removed on collectors"
        ) from None
    if not same:
        raise BucketError(f"{path} is no longer what was fetched; nothing is removed on collectors")
