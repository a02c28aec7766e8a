"""Bringing a day's reports from the collectors into a raw bucket."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ooni_pipeline.bucket.files import file_digest, sweep_parts
from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.manifest import Manifest, ReportRecord, timestamp
from ooni_pipeline.bucket.pool import Progress
from ooni_pipeline.bucket.room import Room
from ooni_pipeline.bucket.withdraw_queue import COLLECTOR, Waiting, add_waiting
from ooni_pipeline.errors import BucketError, RejectReason, TransferError
from ooni_pipeline.report.content import content_digest
from ooni_pipeline.transfer.bring import Wanted, bring
from ooni_pipeline.transfer.collectors import Collector
from ooni_pipeline.transfer.plan import Plan, Planned, extend_plan, names_of, report_of
from ooni_pipeline.transfer.raw_bucket import (
    adopted_files,
    earlier_records,
    prove_bucket,
)
from ooni_pipeline.transfer.refuse import known_tombstones, refuse_withdrawn


def make_plan(
    layout: Layout,
    bucket_date: dt.date,
    collectors: Sequence[Collector],
    key: bytes,
    *,
    add: bool,
    settle_seconds: float = 0,
) -> Plan:
    """The plan of a bucket, written before the first copy.

    With ``add`` (the bucket's own day) the collectors are listed and what is new is added, but for what has
    changed within ``settle_seconds``: somebody may still write it. Without it a plan that was begun is
    finished as it is. A collector that cannot be reached does not stop the others: its reports, those
    included that were planned and are not here yet, come in a later bucket. Raises TransferError when none
    can be reached, BucketError when there is neither a plan nor leave to make one.
    """
    path = layout.plan(bucket_date)
    plan = Plan.read(path) if path.exists() else None
    if not add:
        if plan is None:
            raise BucketError(f"bucket {bucket_date} has no plan, and only its own day may make one")
        return plan
    plan = plan or Plan(bucket_date)
    plan.unsettled = {}
    taken = [record.report for record in earlier_records(layout, bucket_date)]
    unreachable: dict[str, str] = {}
    for collector in collectors:
        try:
            plan = extend_plan(plan, collector, list(collector.list()), key, taken, settle_seconds)
        except TransferError as error:
            unreachable[collector.name] = str(error)
    _one_must_be_reached(collectors, unreachable)
    directory = layout.bucket(Stage.RAW, bucket_date)
    plan.files = [
        planned
        for planned in plan.files
        if planned.collector not in unreachable or not planned.digest or _is_here(directory, planned)
    ]
    plan.unreachable = unreachable
    plan.write(path)
    return plan


def unreached(raw: Manifest) -> dict[str, str]:
    """By the proof of a fetch: which collectors did not give all that they have, and why."""
    found = raw.facts.get("unreachable")
    return dict(found) if isinstance(found, dict) else {}


def _one_must_be_reached(collectors: Sequence[Collector], unreachable: Mapping[str, str]) -> None:
    if collectors and all(collector.name in unreachable for collector in collectors):
        raise TransferError("no collector can be reached: " + "; ".join(unreachable.values()))


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
    collector since it was planned is left there for a later bucket. A collector that breaks off costs the
    bucket what did not come from it: the plan forgets those files, so a later bucket takes them, and the
    proof says so as of one that was never reached. Files that somebody else put into the directory are
    adopted: raw evidence is never deleted or overwritten. Raises TransferError where nothing came from any
    collector, BucketError where there is no ``room`` for the files: they stay on their collectors.
    ``facts`` are what the proof says beside.
    """
    directory = layout.bucket(Stage.RAW, plan.bucket_date)
    directory.mkdir(parents=True, exist_ok=True)
    sweep_parts(directory)
    before = {record.report: record for record in earlier_records(layout, plan.bucket_date)}
    placed = list(zip(plan.files, _places(directory, plan.files, key), strict=True))
    missing = [(planned, path) for planned, path in placed if planned.digest and not os.path.lexists(path)]
    needs = sum(planned.size for planned, _ in missing)
    room.check(f"bucket {plan.bucket_date}, {Stage.RAW.value},", directory, needs)
    changed = _bring_all(layout, plan, collectors, missing, progress)
    placed = [one for one in placed if not one[0].digest or os.path.lexists(one[1]) or one[1] in changed]
    if missing and not any(os.path.lexists(path) for _, path in placed):
        _one_must_be_reached(collectors, plan.unreachable)
    if len(placed) < len(plan.files):
        plan.files = [planned for planned, _ in placed]
        plan.write(layout.plan(plan.bucket_date))
    records = [_record(planned, path, path in changed, now) for planned, path in placed]
    _keep_when_fetched(layout, plan.bucket_date, records, before)
    records = _refuse(layout, plan, records, now)
    records += adopted_files(layout, plan.bucket_date, records, key, now)
    said = {"unreachable": plan.unreachable, "unsettled": plan.unsettled}
    facts = {**(facts or {}), **{name: fact for name, fact in said.items() if fact}}
    return prove_bucket(
        layout, Manifest(Stage.RAW.value, plan.bucket_date, timestamp(now), "", facts, records)
    )


def _bring_all(
    layout: Layout,
    plan: Plan,
    collectors: Sequence[Collector],
    missing: Sequence[Wanted],
    progress: Progress,
) -> set[Path]:
    """Bring what is missing, collector by collector. Returns the places of what has changed since it was
    planned. Of what did not come ``plan.unreachable`` tells."""
    by_name = {collector.name: collector for collector in collectors}
    wanted: dict[str, list[Wanted]] = {}
    for one in missing:
        wanted.setdefault(one[0].collector, []).append(one)
    done, total = len(plan.files) - len(missing), len(plan.files)
    changed: set[Path] = set()
    progress(done, total)
    for name, files in wanted.items():
        if name not in by_name:
            continue
        brought = bring(by_name[name], files, lambda step, before=done: progress(before + step, total))  # type: ignore[misc]
        changed |= brought.changed
        lost = len(files) - len(brought.here) - len(brought.changed)
        if brought.trouble:
            plan.unreachable[name] = f"{lost} of {len(files)} files did not come: {brought.trouble}"
        done += len(files)
    if unknown := sorted(wanted.keys() - by_name.keys()):
        raise TransferError(
            f"bucket {plan.bucket_date} was planned from collector {unknown[0]}, which is not in "
            "[fetch] collectors any more; put it back to finish the bucket. If that machine is gone for "
            f"good: delete {layout.plan(plan.bucket_date)} and type python -m tasks.adopt {plan.bucket_date} "
            f"{plan.bucket_date}, which proves what has arrived"
        )
    return changed


def _record(planned: Planned, path: Path, changed: bool, now: dt.datetime) -> ReportRecord:
    record = ReportRecord(
        report=report_of(path.name),
        rejected=RejectReason.CHANGED_WHILE_COPIED.value if changed else planned.problem,
        collector=planned.collector,
        path=planned.path,
        modified=planned.modified,
        fetched=timestamp(now),
    )
    if planned.digest and not changed:
        record.name, record.size, record.digest = path.name, path.stat().st_size, planned.digest
        record.content = content_digest(path, planned.digest)
    return record


def _keep_when_fetched(
    layout: Layout, bucket_date: dt.date, records: Iterable[ReportRecord], before: Mapping[str, ReportRecord]
) -> None:
    """What an earlier proof named keeps its time. Raises BucketError where it is nowhere any more."""
    now_here = {record.report: record for record in records}
    directory = layout.bucket(Stage.RAW, bucket_date)
    for earlier in before.values():
        record = now_here.get(earlier.report)
        if record is not None and earlier.digest == record.digest:
            record.fetched = earlier.fetched
        elif earlier.collector and earlier.name and (record or not os.path.lexists(directory / earlier.name)):
            raise BucketError(
                f"{directory / earlier.name} was fetched and is gone, here and on collector "
                f"{earlier.collector}. Move {layout.plan(bucket_date)} away and run FetchReports again, "
                "which restores the bucket from the backup"
            )


def _refuse(layout: Layout, plan: Plan, records: list[ReportRecord], now: dt.datetime) -> list[ReportRecord]:
    """Refuse what was withdrawn. What of it lies on collectors is put into the queue of what is still to be
    deleted; the plan names it no more."""
    directory = layout.bucket(Stage.RAW, plan.bucket_date)
    taken, refused = refuse_withdrawn(directory, records, known_tombstones(layout))
    if refused:
        bucket = plan.bucket_date.isoformat()
        add_waiting(
            layout,
            (
                Waiting(COLLECTOR, bucket, timestamp(now), record.path, record.collector, record.digest)
                for record in refused
                if record.collector
            ),
        )
        plan.files = [
            planned if after is before else planned.replaced_by(after)
            for planned, before, after in zip(plan.files, records, taken, strict=True)
        ]
        plan.write(layout.plan(plan.bucket_date))
    return taken


def _places(directory: Path, files: Iterable[Planned], key: bytes) -> list[Path]:
    """Where each planned file goes: to its name, or the next that is free where something else lies."""
    files = list(files)
    reports = {planned.report for planned in files}
    places = []
    for planned in files:
        path = directory / planned.name
        names = None
        while planned.digest and os.path.lexists(path) and not _holds(path, planned.digest):
            names = names or names_of(planned.path, planned.digest, key)[0]
            path = directory / next(name for name in names if report_of(name) not in reports)
        reports.add(report_of(path.name))
        places.append(path)
    return places


def _is_here(directory: Path, planned: Planned) -> bool:
    return os.path.lexists(directory / planned.name)


def _holds(path: Path, digest: str) -> bool:
    try:
        return file_digest(path) == digest
    except OSError:
        return False
