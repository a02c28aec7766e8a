"""Bringing a day's reports from the collectors into a raw bucket, and removing them there afterwards."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.manifest import Manifest, ReportRecord, timestamp
from ooni_pipeline.bucket.report_index import report_index
from ooni_pipeline.bucket.stage import checked_file, link_or_copy
from ooni_pipeline.errors import BucketError, RejectReason, TransferError
from ooni_pipeline.report.entry import BadReport
from ooni_pipeline.report.names import parse_report_name
from ooni_pipeline.report.reader import uncompressed_chunks
from ooni_pipeline.transfer.collectors import Collector, Listed, file_digest, settle
from ooni_pipeline.transfer.plan import Plan, Planned, extend_plan, free_name, report_of

Progress = Callable[[int, int], None]


def make_plan(
    layout: Layout, bucket_date: dt.date, collectors: Sequence[Collector], key: bytes, *, add: bool
) -> Plan:
    """The plan of a bucket, written before the first copy.

    With ``add`` (the bucket's own day) the collectors are listed and what is new is added; without it a
    plan that was begun is finished as it is. A collector that cannot be reached does not stop the others:
    its reports come in a later bucket. Raises TransferError when none can be reached, BucketError when
    there is neither a plan nor leave to make one.
    """
    path = layout.plan(bucket_date)
    plan = Plan.read(path) if path.exists() else None
    if not add:
        if plan is None:
            raise BucketError(f"bucket {bucket_date} has no plan, and only its own day may make one")
        return plan
    plan = plan or Plan(bucket_date)
    plan.unreachable = {}
    listings: list[tuple[Collector, Iterable[Listed]]] = []
    for collector in collectors:
        try:
            listings.append((collector, list(collector.list())))
        except TransferError as error:
            plan.unreachable[collector.name] = str(error)
    if collectors and not listings:
        raise TransferError("no collector can be reached: " + "; ".join(plan.unreachable.values()))
    plan = extend_plan(plan, listings, key)
    plan.write(path)
    return plan


def fetch_bucket(
    layout: Layout,
    plan: Plan,
    collectors: Sequence[Collector],
    key: bytes,
    now: dt.datetime,
    progress: Progress = lambda done, total: None,
) -> Manifest:
    """Copy what the plan names into the raw bucket, verify each file by digest, write the manifest.

    A file that is there already (an earlier run died) is not copied again. A file that has changed on the
    collector since it was planned is left there for a later bucket. Raises TransferError where a copy
    fails; what arrived stays for the next run. Files that somebody else put into the directory are
    adopted: raw evidence is never deleted for not being in a plan.
    """
    directory = layout.bucket(Stage.RAW, plan.bucket_date)
    directory.mkdir(parents=True, exist_ok=True)
    by_name = {collector.name: collector for collector in collectors}
    records = []
    for number, planned in enumerate(plan.files, 1):
        records.append(_take(directory, planned, by_name, now))
        progress(number, len(plan.files))
    records += _adopt(directory, records, key, now)
    facts = {"unreachable": plan.unreachable} if plan.unreachable else {}
    return prove_bucket(
        layout, Manifest("raw", plan.bucket_date, timestamp(now), facts=facts, reports=records)
    )


def prove_bucket(layout: Layout, manifest: Manifest) -> Manifest:
    """Mark the reports that this or another bucket had before, and write the raw manifest."""
    with report_index(layout, manifest.bucket_date) as index:
        seen: dict[str, str] = {}
        for record in manifest.reports:
            if not record.usable:
                continue
            here = f"{manifest.bucket_date}/{record.report}"
            record.duplicate_of = index.first(record.content) or seen.get(record.content, "")
            seen.setdefault(record.content, here)
        _show_rejected(layout, manifest)
        manifest.write(layout.manifest(Stage.RAW, manifest.bucket_date))
    layout.forgotten(Stage.RAW, manifest.bucket_date).unlink(missing_ok=True)
    return manifest


def adopt_bucket(layout: Layout, bucket_date: dt.date, key: bytes, now: dt.datetime) -> Manifest:
    """Prove a bucket whose files already lie under ``reports-raw/yaml/``; they are neither moved nor renamed.

    A directory that is not there gives an empty bucket. Raises BucketError when a fetch is under way.
    """
    if layout.plan(bucket_date).exists():
        raise BucketError(f"bucket {bucket_date} was begun by a fetch; run FetchReports to finish it")
    records = _adopt(layout.bucket(Stage.RAW, bucket_date), [], key, now)
    return prove_bucket(layout, Manifest("raw", bucket_date, timestamp(now), reports=records))


def _adopt(directory: Path, fetched: list[ReportRecord], key: bytes, now: dt.datetime) -> list[ReportRecord]:
    """Records of the files in a raw bucket that no plan brought there."""
    names = {record.name for record in fetched}
    taken = {record.report for record in fetched}
    records = []
    for path in sorted(directory.iterdir()) if directory.is_dir() else ():
        if path.name in names or path.name.startswith("."):
            continue
        record = ReportRecord(report=path.name, path=path.name, fetched=timestamp(now))
        try:
            record.digest = file_digest(path)
        except OSError:
            regular = path.is_file() and not path.is_symlink()
            reason = RejectReason.UNREADABLE if regular else RejectReason.NOT_A_REGULAR_FILE
            record.rejected = reason.value
        else:
            name, record.rejected = free_name(path.name, record.digest, key, taken.__contains__)
            record.report = report_of(name)
            record.name, record.size = path.name, path.stat().st_size
            record.content = content_digest(path, record.digest)
        taken.add(record.report)
        records.append(record)
    return records


def _show_rejected(layout: Layout, manifest: Manifest) -> None:
    """What came and is no report stands beside the rejected entries of the other stages too."""
    directory = layout.rejected(Stage.RAW, manifest.bucket_date)
    for record in manifest.reports:
        if record.rejected and record.name:
            directory.mkdir(parents=True, exist_ok=True)
            link_or_copy(layout.bucket(Stage.RAW, manifest.bucket_date) / record.name, directory / record.name)


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
    """
    backed_up = {
        record.report: record.digest
        for record in Manifest.read(layout.manifest(Stage.BACKUP, bucket_date)).reports
    }
    raw = Manifest.read(layout.manifest(Stage.RAW, bucket_date))
    by_name = {collector.name: collector for collector in collectors}
    fetched = [record for record in raw.reports if record.name is not None and record.collector]
    records = []
    for number, record in enumerate(fetched, 1):
        detail = "kept: the backup does not hold it"
        if backed_up.get(record.report) == record.digest:
            detail = _remove(layout, bucket_date, record, by_name.get(record.collector))
        records.append(
            ReportRecord(record.report, collector=record.collector, path=record.path, detail=detail)
        )
        progress(number, len(fetched))
    manifest = Manifest("removed", bucket_date, timestamp(now), reports=records)
    manifest.write(layout.manifest(Stage.REMOVED, bucket_date))
    return manifest


def _remove(layout: Layout, bucket_date: dt.date, record: ReportRecord, collector: Collector | None) -> str:
    if collector is None:
        return "kept: its collector is not configured"
    ours = checked_file(layout.bucket(Stage.RAW, bucket_date), record)
    if file_digest(ours) != record.digest:
        raise BucketError(f"{ours} is no longer what was fetched; nothing more is removed on collectors")
    there = collector.digest(record.path)
    if there is None:
        return "gone"
    if there != record.digest:
        return "kept: it has changed since it was fetched"
    collector.remove(record.path)
    return "removed"


def content_digest(path: Path, digest: str) -> str:
    """The SHA-256 of a report's uncompressed bytes; ``digest`` of the file where it is not compressed."""
    try:
        if not parse_report_name(path.name).compressed:
            return digest
        content = hashlib.sha256()
        for chunk in uncompressed_chunks(path):
            content.update(chunk)
    except BadReport:
        return digest  # a name or a gzip file that nobody understands: then its bytes as they are
    return content.hexdigest()


def _take(
    directory: Path, planned: Planned, collectors: dict[str, Collector], now: dt.datetime
) -> ReportRecord:
    record = ReportRecord(
        report=planned.report,
        rejected=planned.problem,
        collector=planned.collector,
        path=planned.path,
        modified=planned.modified,
        fetched=timestamp(now),
    )
    if planned.digest:  # it can be read, be its name understood or not
        problem = _bring(directory, planned, collectors.get(planned.collector))
        if problem:
            record.rejected = problem
        else:
            path = directory / planned.name
            record.name, record.size, record.digest = planned.name, path.stat().st_size, planned.digest
            record.content = content_digest(path, planned.digest)
    return record


def _bring(directory: Path, planned: Planned, collector: Collector | None) -> str:
    """Have the planned bytes in the bucket. Returns the reason where they are not to be had any more."""
    path = directory / planned.name
    if path.exists() and file_digest(path) == planned.digest:
        return ""
    path.unlink(missing_ok=True)
    if collector is None:
        raise TransferError(
            f"bucket {directory.name} was planned from collector {planned.collector}, which is not in "
            "[fetch] collectors any more; put it back to finish the bucket"
        )
    part = directory / f".{planned.name}.part"
    part.unlink(missing_ok=True)
    if collector.digest(planned.path) != planned.digest:
        return RejectReason.CHANGED_WHILE_COPIED.value
    collector.copy(planned.path, part)
    if file_digest(part) != planned.digest:
        part.unlink()
        if collector.digest(planned.path) != planned.digest:
            return RejectReason.CHANGED_WHILE_COPIED.value
        raise TransferError(
            f"{planned.path!r} of collector {planned.collector} did not arrive as it was sent"
        )
    settle(part, path)
    return ""
