"""Carrying out withdrawals: bucket by bucket, so that a run that dies is finished by the next one."""

from __future__ import annotations

import contextlib
import datetime as dt
import shutil
from collections.abc import Callable, Iterable, Iterator

from ooni_pipeline.bucket.forget import forget_bucket
from ooni_pipeline.bucket.keys import read_key
from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.lock import one_writer
from ooni_pipeline.bucket.manifest import Manifest, timestamp
from ooni_pipeline.bucket.scratch import remove
from ooni_pipeline.bucket.withdraw_queue import (
    BACKUP,
    DUMPS,
    MIRROR,
    SNAPSHOTS,
    Target,
    Waiting,
    Work,
    add_waiting,
    keep_work,
    work_done,
)
from ooni_pipeline.bucket.withdrawn import Tombstones, tombstones, withdrawn_counts
from ooni_pipeline.database.markers import forget_loads, is_loaded
from ooni_pipeline.database.withdrawing import delete_reports, has_rows, vacuum
from ooni_pipeline.errors import PipelineError, TransferError
from ooni_pipeline.transfer.publish import take_off_mirror
from ooni_pipeline.transfer.refuse import is_withdrawn
from ooni_pipeline.transfer.tombstone_copies import store_records
from ooni_pipeline.transfer.withdraw import (
    delete_derived,
    erase_from_backup,
    take_out_of_cleaned,
    take_out_of_raw,
    take_out_of_removed,
)
from tasks import config, sections
from tasks.backup import BackupReports
from tasks.base import BucketTask, utc_now
from tasks.base import waiting as waits_for
from tasks.forget import LOAD, STAGES
from tasks.load import LoadMeasurements
from tasks.normalise import NormaliseReports
from tasks.publish import PublishReports
from tasks.redo import refresh, run
from tasks.restore import bring_back_freed, raw_lock
from tasks.sanitise import SanitiseReports
from tasks.withdraw_collectors import ask_collectors

#: What is done again, in this order: the mirror, which anybody reads, before the database.
_AGAIN: dict[str, type[BucketTask]] = {
    Stage.NORMALISED.value: NormaliseReports,
    Stage.SANITISED.value: SanitiseReports,
    Stage.PUBLISHED.value: PublishReports,
    LOAD: LoadMeasurements,
}
#: The act of a work list that only carries out tombstones which are there already.
SWEEP = "sweep"


def stages_done(layout: Layout, bucket_date: dt.date) -> list[str]:
    """Which stages of a bucket are done, and so must be done again. Rows whose load was forgotten count: they
    are there until the next one."""
    done = [
        stage.value
        for stage in Stage
        if layout.manifest(stage, bucket_date).exists() or layout.forgotten(stage, bucket_date).exists()
    ]
    url = config.database_url(start=True)
    return done + [LOAD] * (is_loaded(url, bucket_date) or has_rows(url, bucket_date))


def sweep_targets(layout: Layout, bucket_date: dt.date, stones: Tombstones) -> list[Target]:
    """The reports of a bucket that hold what has a tombstone, as far as proofs tell."""
    path = layout.manifest(Stage.RAW, bucket_date)
    if not path.exists():
        return []
    normalised = layout.manifest(Stage.NORMALISED, bucket_date)
    came = {}  # report -> whether nothing else is in it
    for record in Manifest.read(normalised).reports if normalised.exists() else ():
        if record.counts.withdrawn:
            came[record.report] = record.counts.withdrawn == record.counts.taken
    targets = []
    for record in Manifest.read(path).reports:
        whole = came.get(record.report, False) or bool(record.content and stones.report(record.content))
        if whole or record.report in came or is_withdrawn(record, stones):
            targets.append(
                Target(
                    bucket_date.isoformat(), record.report, whole, record.name or "", record.digest,
                    record.content, record.collector, record.path,
                )
            )  # fmt: skip
    return targets


def sweep(layout: Layout, bucket_dates: Iterable[dt.date], stones: Tombstones) -> list[str]:
    """Carry out the tombstones that there are on buckets into which something came back. Returns what could
    not be done, in words."""
    targets, stages = [], {}
    for bucket_date in sorted(set(bucket_dates)):
        if found := sweep_targets(layout, bucket_date, stones):
            targets += found
            stages[bucket_date.isoformat()] = stages_done(layout, bucket_date)
    if not targets:
        return []
    work = Work(SWEEP, tuple(targets), stages)
    keep_work(layout, work)
    return carry_out(layout, work)


def carry_out(layout: Layout, work: Work, *, full: bool = False) -> list[str]:
    """Delete what a work list names from everywhere, and do again what depends on it. Returns what could not
    be done, in words: then the list stays, and another run goes on. What cannot go yet is in the queue."""
    stones = tombstones(layout, read_key(layout.id_key()))
    buckets: dict[dt.date, list[Target]] = {}
    for target in work.targets:
        buckets.setdefault(target.bucket_date, []).append(target)
    problems, loaded = [], []
    _delete_left_overs(layout)
    for bucket_date, targets in sorted(buckets.items()):
        stages = work.stages.get(bucket_date.isoformat(), [])
        failed = _bucket(layout, bucket_date, targets, stages, stones, work.act)
        problems += [f"bucket {bucket_date}: {problem}" for problem in failed]
        loaded += [bucket_date] * (LOAD in stages)
    if loaded and not refresh(
        loaded
    ):  # of a bucket that could not be loaded again too: nothing shows it then
        problems.append("the views are not refreshed")
    elif loaded:
        try:
            vacuum(config.database_url(start=True), loaded, full=full)
        except PipelineError as error:
            problems.append(f"the database is not vacuumed: {error}")
    if not problems:
        add_waiting(layout, _copies(work))
        work_done(layout, work)
    return problems


def _delete_left_overs(layout: Layout) -> None:
    """What a preview that was killed left, and what came halfway from collectors: it comes again."""
    with one_writer(layout.lock("scratch")):
        remove(layout.scratch())
    for spool in layout.bucket(Stage.RAW, dt.date.min).parents[1].glob(".fetch-*"):
        with one_writer(layout.lock(spool.name.lstrip(".")), waits_for("withdraw")):
            shutil.rmtree(spool, ignore_errors=True)


@contextlib.contextmanager
def _alone(bucket_date: dt.date) -> Iterator[None]:
    """The bucket, while nobody works on any stage of it."""
    waits = waits_for(f"withdraw of bucket {bucket_date}")
    with contextlib.ExitStack() as locks:
        tasks: list[type[BucketTask]] = [task for _, task in STAGES.values()]
        tasks.append(LoadMeasurements)
        for task in tasks:
            locks.enter_context(one_writer(task(bucket_date=bucket_date).lock, waits))
        locks.enter_context(raw_lock(config.layout(), bucket_date))
        yield


def _bucket(
    layout: Layout,
    bucket_date: dt.date,
    targets: list[Target],
    stages: list[str],
    stones: Tombstones,
    act: str,
) -> list[str]:
    """Returns what could not be done, in words. What people can see comes first, and no other part of the
    machine that is broken (the backup, the bridge table, the database) keeps it there."""
    reports = {target.report for target in targets}
    failed: list[str] = []

    def tried(step: Callable[[], object]) -> bool:
        try:
            step()
        except PipelineError as error:
            failed.append(str(error))
        except OSError as error:  # a full disk, a directory of somebody else's
            failed.append(f"{error.filename or bucket_date}: {error.strerror or type(error).__name__}")
        else:
            return True
        return False

    tried(lambda: _hide(layout, bucket_date, reports))
    if LOAD in stages:
        tried(lambda: delete_reports(config.database_url(start=True), bucket_date, reports))
    if tried(lambda: _take_out(layout, bucket_date, targets, stones, act)):
        failed += _again(bucket_date, stages)
        if tried(lambda: _back_up(layout, bucket_date, targets, stages, act)):
            tried(lambda: ask_collectors(layout, bucket_date, targets, act))
    return failed


def _hide(layout: Layout, bucket_date: dt.date, reports: set[str]) -> None:
    task = PublishReports(bucket_date=bucket_date)
    with one_writer(task.lock, waits_for(f"withdraw of bucket {bucket_date}")):
        take_off_mirror(layout, bucket_date, reports, withdrawn_counts(layout, bucket_date))


def _take_out(
    layout: Layout, bucket_date: dt.date, targets: list[Target], stones: Tombstones, act: str
) -> None:
    reports = {target.report for target in targets}
    if layout.manifest(Stage.RAW, bucket_date).exists():
        bring_back_freed(layout, bucket_date, lambda done, total: None)
    with _alone(bucket_date):
        take_out_of_raw(layout, bucket_date, targets, stones, counted=act != SWEEP)
        forget_bucket(layout, Stage.NORMALISED, bucket_date, reports.__contains__)
        delete_derived(layout, bucket_date, reports)
        take_out_of_removed(layout, bucket_date, reports)
        take_out_of_cleaned(layout, bucket_date, reports)


def _again(bucket_date: dt.date, stages: list[str]) -> list[str]:
    """Do the stages again that the bucket had done. Returns what failed."""
    failed = []
    if LOAD in stages:
        try:
            forget_loads(config.database_url(start=True), bucket_date, bucket_date)
        except PipelineError as error:
            failed.append(str(error))
            stages = [stage for stage in stages if stage != LOAD]
    if Stage.SANITISED.value not in stages:  # it was forgotten: the next night does it, and what comes after
        stages = [stage for stage in stages if stage != LOAD]
    for stage, task in _AGAIN.items():
        if stage in stages and not run(task(bucket_date=bucket_date)):
            failed.append(f"{task.task_family} failed")
            if task is not PublishReports:
                break
    return failed


def _back_up(
    layout: Layout, bucket_date: dt.date, targets: list[Target], stages: list[str], act: str
) -> None:
    task = BackupReports(bucket_date=bucket_date)
    store_records(layout, config.store())  # before anything goes there
    with one_writer(task.lock, waits_for(f"withdraw of bucket {bucket_date}")):
        erased = erase_from_backup(layout, bucket_date, targets, config.store())
    kept = [one for one in erased if one.kept or one.kept_until]
    tomorrow = timestamp(utc_now() + dt.timedelta(days=1))
    add_waiting(
        layout,
        (
            Waiting(BACKUP, bucket_date.isoformat(), one.kept_until or tomorrow, one.key, act=act)
            for one in kept
        ),
    )
    if Stage.BACKUP.value in stages and not run(task):
        raise TransferError("BackupReports failed")


def _copies(work: Work) -> list[Waiting]:
    """The copies that nobody can delete one by one: until when they are there."""
    options, now, items = sections.section(sections.withdraw), utc_now(), []
    for bucket, stages in work.stages.items():
        for kind, hours, concerned in (
            (DUMPS, 24 * options.dumps_days, LOAD in stages),
            (SNAPSHOTS, 24 * options.snapshots_days, True),
            (MIRROR, options.mirror_hours, Stage.PUBLISHED.value in stages),
        ):
            if hours > 0 and concerned:
                items.append(Waiting(kind, bucket, timestamp(now + dt.timedelta(hours=hours)), act=work.act))
    return items
