"""Bringing a day's reports from the collectors into a raw bucket."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ooni_pipeline.bucket.files import file_digest, settle, sweep_parts
from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.manifest import Manifest, ReportRecord, timestamp
from ooni_pipeline.bucket.pool import Progress
from ooni_pipeline.bucket.room import Room
from ooni_pipeline.errors import BucketError, RejectReason, TransferError
from ooni_pipeline.report.writer import part_of
from ooni_pipeline.transfer.collectors import Collector
from ooni_pipeline.transfer.plan import Plan, Planned, extend_plan, names_of, report_of
from ooni_pipeline.transfer.raw_bucket import (
    adopted_files,
    content_digest,
    earlier_records,
    prove_bucket,
)


def make_plan(
    layout: Layout, bucket_date: dt.date, collectors: Sequence[Collector], key: bytes, *, add: bool
) -> Plan:
    """The plan of a bucket, written before the first copy.

    With ``add`` (the bucket's own day) the collectors are listed and what is new is added; without it a
    plan that was begun is finished as it is. A collector that cannot be reached does not stop the others:
    its reports, those included that were planned and are not here yet, come in a later bucket. Raises
    TransferError when none can be reached, BucketError when there is neither a plan nor leave to make one.
    """
    path = layout.plan(bucket_date)
    plan = Plan.read(path) if path.exists() else None
    if not add:
        if plan is None:
            raise BucketError(f"bucket {bucket_date} has no plan, and only its own day may make one")
        return plan
    plan = plan or Plan(bucket_date)
    taken = [record.report for record in earlier_records(layout, bucket_date)]
    unreachable: dict[str, str] = {}
    for collector in collectors:
        try:
            plan = extend_plan(plan, collector, list(collector.list()), key, taken)
        except TransferError as error:
            unreachable[collector.name] = str(error)
    if collectors and all(collector.name in unreachable for collector in collectors):
        raise TransferError("no collector can be reached: " + "; ".join(unreachable.values()))
    directory = layout.bucket(Stage.RAW, bucket_date)
    plan.files = [
        planned
        for planned in plan.files
        if planned.collector not in unreachable or not planned.digest or _is_here(directory, planned)
    ]
    plan.unreachable = unreachable
    plan.write(path)
    return plan


def fetch_bucket(
    layout: Layout,
    plan: Plan,
    collectors: Sequence[Collector],
    key: bytes,
    now: dt.datetime,
    progress: Progress = lambda done, total: None,
    room: Room = Room(),  # noqa: B008  # it is frozen
    facts: Mapping[str, Any] | None = None,
) -> Manifest:
    """Copy what the plan names into the raw bucket, verify each file by digest, write the manifest.

    A file that is there already (an earlier run died) is not copied again. A file that has changed on the
    collector since it was planned is left there for a later bucket. Raises TransferError where a copy
    fails, after the other collectors' files were taken; what arrived stays for the next run. Files that
    somebody else put into the directory are adopted: raw evidence is never deleted or overwritten. Raises
    BucketError where there is no ``room`` for the files: they stay on their collectors. ``facts`` are what
    the proof says beside.
    """
    directory = layout.bucket(Stage.RAW, plan.bucket_date)
    directory.mkdir(parents=True, exist_ok=True)
    sweep_parts(directory)
    by_name = {collector.name: collector for collector in collectors}
    before = {record.report: record for record in earlier_records(layout, plan.bucket_date)}
    placed = _places(directory, plan.files, key)
    missing = (planned for planned, path in zip(plan.files, placed, strict=True) if not os.path.lexists(path))
    needs = sum(planned.size for planned in missing if planned.digest)
    room.check(f"bucket {plan.bucket_date}, {Stage.RAW.value},", directory, needs)
    broken: dict[str, TransferError] = {}
    records = []
    for number, planned in enumerate(plan.files, 1):
        if planned.collector not in broken:
            try:
                records.append(_take(layout, plan.bucket_date, planned, placed[number - 1], by_name, now))
            except TransferError as error:
                broken[planned.collector] = error
        progress(number, len(plan.files))
    if broken:
        raise next(iter(broken.values()))
    for record in records:
        earlier = before.get(record.report)
        if earlier is not None and earlier.digest == record.digest:
            record.fetched = earlier.fetched
        elif earlier is not None and earlier.name is not None:
            raise BucketError(
                f"{directory / earlier.name} was fetched and is gone, here and on collector "
                f"{record.collector}. Move {layout.plan(plan.bucket_date)} away and run FetchReports again, "
                "which restores the bucket from the backup"
            )
    records += adopted_files(layout, plan.bucket_date, records, key, now)
    facts = {**(facts or {}), **({"unreachable": plan.unreachable} if plan.unreachable else {})}
    return prove_bucket(
        layout, Manifest(Stage.RAW.value, plan.bucket_date, timestamp(now), "", facts, records)
    )


def _places(directory: Path, files: Iterable[Planned], key: bytes) -> list[Path]:
    """Where each planned file goes: to its name, or the next that is free where something else lies."""
    files = list(files)
    reports = {planned.report for planned in files}
    places = []
    for planned in files:
        path = directory / planned.name
        names = names_of(planned.path, planned.digest, key)[0]
        while planned.digest and os.path.lexists(path) and not _holds(path, planned.digest):
            path = directory / next(name for name in names if report_of(name) not in reports)
        reports.add(report_of(path.name))
        places.append(path)
    return places


def _take(
    layout: Layout,
    bucket_date: dt.date,
    planned: Planned,
    path: Path,
    collectors: dict[str, Collector],
    now: dt.datetime,
) -> ReportRecord:
    record = ReportRecord(
        report=report_of(path.name),
        rejected=planned.problem,
        collector=planned.collector,
        path=planned.path,
        modified=planned.modified,
        fetched=timestamp(now),
    )
    if not planned.digest:  # it could not be read
        return record
    if not os.path.lexists(path):
        if planned.collector not in collectors:
            raise TransferError(
                f"bucket {bucket_date} was planned from collector {planned.collector}, which is not in "
                "[fetch] collectors any more; put it back to finish the bucket. If that machine is gone for "
                f"good: delete {layout.plan(bucket_date)} and type python -m tasks.adopt {bucket_date} "
                f"{bucket_date}, which proves what has arrived"
            )
        problem = _bring(path, planned, collectors[planned.collector])
        if problem:
            record.rejected = problem
            return record
    record.name, record.size, record.digest = path.name, path.stat().st_size, planned.digest
    record.content = content_digest(path, planned.digest)
    return record


def _bring(path: Path, planned: Planned, collector: Collector) -> str:
    """Copy the planned bytes. Returns the reason where they are not to be had any more."""
    part = part_of(path)
    try:
        try:
            collector.copy(planned.path, part)
            arrived = file_digest(part)
        except TransferError:
            if collector.digest(planned.path) == planned.digest:
                raise
            return RejectReason.CHANGED_WHILE_COPIED.value
        if arrived == planned.digest:
            settle(part, path)
            return ""
        if collector.digest(planned.path) != planned.digest:
            return RejectReason.CHANGED_WHILE_COPIED.value
        raise TransferError(
            f"{planned.path!r} of collector {planned.collector} did not arrive as it was sent"
        )
    finally:
        part.unlink(missing_ok=True)


def _is_here(directory: Path, planned: Planned) -> bool:
    return os.path.lexists(directory / planned.name)


def _holds(path: Path, digest: str) -> bool:
    try:
        return file_digest(path) == digest
    except OSError:
        return False
