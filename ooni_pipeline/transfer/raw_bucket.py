"""The proof of a raw bucket, whoever brought its files: which reports it holds and which came before."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterable
from pathlib import Path

from ooni_pipeline.bucket.cleaned import is_cleaned
from ooni_pipeline.bucket.files import file_digest, flush, only, sweep_parts
from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.manifest import Manifest, ReportRecord, read_proof, timestamp
from ooni_pipeline.bucket.report_index import report_index
from ooni_pipeline.bucket.stage import keep_report
from ooni_pipeline.bucket.withdrawn import WITHDRAWN, withdrawn_counts
from ooni_pipeline.errors import BucketError, RejectReason
from ooni_pipeline.report.content import content_digest
from ooni_pipeline.transfer.plan import free_name, report_of
from ooni_pipeline.transfer.refuse import known_tombstones, refuse_withdrawn


def adopt_bucket(layout: Layout, bucket_date: dt.date, key: bytes, now: dt.datetime) -> Manifest:
    """Prove a bucket whose files already lie under ``reports-raw/yaml/``; they are neither moved nor renamed.

    A directory that is not there gives an empty bucket. Raises BucketError when a fetch is under way.
    """
    if layout.plan(bucket_date).exists():
        raise BucketError(f"bucket {bucket_date} was begun by a fetch; run FetchReports to finish it")
    if is_cleaned(layout, bucket_date):
        raise BucketError(
            f"the raw files of bucket {bucket_date} are in the backup alone: luigi --module tasks.fetch "
            f"FetchReports --bucket-date {bucket_date} brings them back"
        )
    records = adopted_files(layout, bucket_date, (), key, now)
    facts: dict[str, str] = {}
    return prove_bucket(layout, Manifest(Stage.RAW.value, bucket_date, timestamp(now), "", facts, records))


def adopt_others(layout: Layout, bucket_date: dt.date, key: bytes, now: dt.datetime) -> None:
    """Add to the proof of a bucket the files that lie there beside those that it names."""
    manifest = read_proof(layout, Stage.RAW, bucket_date)
    if others := adopted_files(layout, bucket_date, manifest.reports, key, now):
        manifest.reports += others
        prove_bucket(layout, manifest)


def adopted_files(
    layout: Layout, bucket_date: dt.date, fetched: Iterable[ReportRecord], key: bytes, now: dt.datetime
) -> list[ReportRecord]:
    """Records of the files in a raw bucket that are not among those ``fetched``: none is ever deleted."""
    fetched = list(fetched)
    names = {record.name for record in fetched}
    taken = {record.report for record in fetched}
    directory = layout.bucket(Stage.RAW, bucket_date)
    sweep_parts(directory)
    before = {record.path: record for record in earlier_records(layout, bucket_date) if not record.collector}
    records = []
    for path in sorted(directory.iterdir()) if directory.is_dir() else ():
        if path.name in names:
            continue
        record = _adopted(path, key, taken, before.get(path.name), now)
        taken.add(record.report)
        records.append(record)
    return records


def _adopted(
    path: Path, key: bytes, taken: set[str], before: ReportRecord | None, now: dt.datetime
) -> ReportRecord:
    record = ReportRecord(report="", path=path.name, fetched=timestamp(now))
    try:
        record.digest = file_digest(path)
    except OSError:
        regular = path.is_file() and not path.is_symlink()
        reason = RejectReason.UNREADABLE if regular else RejectReason.NOT_A_REGULAR_FILE
        record.rejected = reason.value
        record.report = report_of(free_name(path.name, "", key, taken.__contains__)[0])
        return record
    name, record.rejected = free_name(path.name, record.digest, key, taken.__contains__)
    record.report = report_of(name)
    if before is not None and before.digest == record.digest:  # it keeps what it was called
        record.fetched = before.fetched
        record.report = record.report if before.report in taken else before.report
    record.name, record.size = path.name, path.stat().st_size
    record.content = content_digest(path, record.digest)
    return record


def prove_bucket(layout: Layout, manifest: Manifest) -> Manifest:
    """Mark the reports that this or another bucket had before, and write the raw manifest.

    What was withdrawn is not taken again, whoever brought it, and the proof says how much is gone.
    """
    directory = layout.bucket(Stage.RAW, manifest.bucket_date)
    manifest.reports, _ = refuse_withdrawn(directory, manifest.reports, known_tombstones(layout))
    manifest.facts.pop(WITHDRAWN, None)
    if any(counts := withdrawn_counts(layout, manifest.bucket_date)):
        manifest.facts[WITHDRAWN] = list(counts)
    _show_rejected(layout, manifest)
    if directory.is_dir():
        flush(directory)
    before = {record.report for record in earlier_records(layout, manifest.bucket_date)}
    usable = [record for record in manifest.reports if record.usable]
    usable.sort(key=lambda record: record.report not in before)  # what came first stays first
    with contextlib.ExitStack() as held:
        index = held.enter_context(report_index(layout, manifest.bucket_date)) if usable else None
        seen: dict[str, str] = {}
        for record in usable:
            first = index.first(record.content) if index else ""
            record.duplicate_of = first or seen.get(record.content, "")
            seen.setdefault(record.content, f"{manifest.bucket_date}/{record.report}")
        manifest.write(layout.manifest(Stage.RAW, manifest.bucket_date))
    layout.forgotten(Stage.RAW, manifest.bucket_date).unlink(missing_ok=True)
    return manifest


def earlier_records(layout: Layout, bucket_date: dt.date) -> list[ReportRecord]:
    """What the proof said that ``tasks.forget`` put aside: it tells since when, and called what."""
    try:
        return Manifest.read(layout.forgotten(Stage.RAW, bucket_date)).reports
    except BucketError:  # there is none, or it cannot be read: then this is the first proof
        return []


def _show_rejected(layout: Layout, manifest: Manifest) -> None:
    """What came and is no report stands beside the rejected entries of the other stages too."""
    directory = layout.rejected(Stage.RAW, manifest.bucket_date)
    raw = layout.bucket(Stage.RAW, manifest.bucket_date)
    names = {
        keep_report(directory, record.report, raw / record.name)
        for record in manifest.reports
        if record.rejected and record.name
    }
    only(directory, names)
