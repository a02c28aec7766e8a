"""A stage over one bucket: every report of the manifest above through one function, then the proof."""

from __future__ import annotations

import datetime as dt
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.manifest import Manifest, ReportRecord, timestamp
from ooni_pipeline.bucket.pool import PoolFactory, process_pool, run_all
from ooni_pipeline.errors import BucketError, RejectReason
from ooni_pipeline.report.tally import Tally
from ooni_pipeline.report.work import Job, Outcome

Work = Callable[[Job], Outcome]
#: Called with (reports done, reports in all).
Progress = Callable[[int, int], None]
#: Called with what was done before the proof is written; may rewrite files and change outcomes.
Finish = Callable[[list[tuple[Job, Outcome]]], None]


def process_bucket(
    layout: Layout,
    stage: Stage,
    above: Stage,
    bucket_date: dt.date,
    work: Work,
    *,
    version: str,
    now: dt.datetime,
    facts: dict[str, str] | None = None,
    workers: int = 1,
    pool: PoolFactory = process_pool,
    progress: Progress = lambda done, total: None,
    finish: Finish = lambda outcomes: None,
) -> Manifest:
    """Run ``work`` over every usable report of the manifest of the stage ``above`` and write the proof.

    Reports that ``tasks.forget`` left as they are, made by the same ``version`` from the same source,
    are carried over. Files that the manifest does not name are deleted before it is written. Raises
    BucketError where a file of the stage above is missing or not as its manifest says.
    """
    upstream = Manifest.read(layout.manifest(above, bucket_date)).usable()
    directory = layout.bucket(stage, bucket_date)
    directory.mkdir(parents=True, exist_ok=True)
    kept = _carried_over(layout, stage, bucket_date, version)
    outcomes, jobs = [], []
    for record in upstream.values():
        job = Job(
            report=record.report,
            bucket_date=bucket_date.isoformat(),
            source=checked_file(layout.bucket(above, bucket_date), record),
            destination=directory / f"{record.report}.json",
            rejected=layout.rejected(stage, bucket_date),
            held=layout.held(bucket_date),
        )
        old = kept.get(record.report)
        if old is not None and old.source == record.digest:
            outcomes.append((job, Outcome(old.counts, old.size, old.digest, old.rejected, old.detail)))
        else:
            jobs.append(job)
    jobs.sort(key=lambda job: -upstream[job.report].size)  # the largest first, or it ends alone
    for job, outcome in run_all(jobs, work, workers, pool):
        outcomes.append((job, outcome or _killed()))
        progress(len(outcomes), len(upstream))
    outcomes.sort(key=lambda pair: pair[0].report)
    finish(outcomes)
    manifest = Manifest(stage.value, bucket_date, timestamp(now), version, dict(facts or {}))
    for job, outcome in outcomes:
        if outcome.rejected:
            _keep_report(job)
        manifest.reports.append(
            ReportRecord(
                report=job.report,
                name=job.destination.name if outcome.digest else None,
                size=outcome.size,
                digest=outcome.digest,
                source=upstream[job.report].digest,
                counts=outcome.counts,
                rejected=outcome.rejected,
                detail=outcome.detail,
            )
        )
    only(directory, {record.name for record in manifest.reports if record.name})
    lines = {f"{report}.jsonl" for report in upstream}
    only(layout.rejected(stage, bucket_date), lines | {str(record.name) for record in upstream.values()})
    manifest.write(layout.manifest(stage, bucket_date))
    layout.forgotten(stage, bucket_date).unlink(missing_ok=True)
    return manifest


def checked_file(directory: Path, record: ReportRecord) -> Path:
    """The file of a record. Raises BucketError where it is missing or has another size than recorded."""
    path = directory / str(record.name)
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise BucketError(f"{path} is in the manifest of its bucket but is missing") from None
    if size != record.size:
        raise BucketError(f"{path} has {size} bytes, its manifest says {record.size}")
    return path


def only(directory: Path, names: set[str]) -> None:
    """Delete what the directory holds apart from ``names``: left by a run that died, or by older code."""
    for path in directory.iterdir() if directory.is_dir() else ():
        if path.name not in names:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def _carried_over(
    layout: Layout, stage: Stage, bucket_date: dt.date, version: str
) -> dict[str, ReportRecord]:
    path = layout.forgotten(stage, bucket_date)
    if not path.exists():
        return {}
    old = Manifest.read(path)
    if old.version != version:
        return {}
    directory = layout.bucket(stage, bucket_date)
    kept = {}
    for record in old.reports:
        try:
            if record.name is not None:
                checked_file(directory, record)
        except BucketError:
            continue
        kept[record.report] = record
    return kept


def _killed() -> Outcome:
    return Outcome(Tally(), rejected=RejectReason.KILLED_ITS_WORKER.value)


def _keep_report(job: Job) -> None:
    """A report rejected as a whole lies whole beside the rejected entries (a hard link: no second copy)."""
    job.destination.unlink(missing_ok=True)
    job.rejected.mkdir(parents=True, exist_ok=True)
    link_or_copy(job.source, job.rejected / job.source.name)


def link_or_copy(source: Path, destination: Path) -> None:
    """The same bytes at another place: a hard link where the file system can, so no second copy."""
    destination.unlink(missing_ok=True)
    try:
        os.link(source, destination)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, destination)
