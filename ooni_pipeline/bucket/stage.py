"""A stage over one bucket: every report of the manifest above through one function, then the proof."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from ooni_pipeline.bucket.cleaned import refuse_cleaned
from ooni_pipeline.bucket.files import flush_file_system, link_or_copy, only
from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.manifest import Manifest, ReportRecord, read_proof, timestamp
from ooni_pipeline.bucket.pool import PoolFactory, Progress, process_pool, run_all
from ooni_pipeline.bucket.room import Room, needed
from ooni_pipeline.errors import BucketError, RejectReason
from ooni_pipeline.report.tally import Tally
from ooni_pipeline.report.work import Job, Outcome

Work = Callable[[Job], Outcome]
#: Called with what was done before the proof is written; may rewrite files and change outcomes.
Finish = Callable[[list[tuple[Job, Outcome]]], None]

#: What a proof says under ``facts`` of single reports that were done as a person decided: report -> decision.
DECISIONS = "decisions"
_KILLED = RejectReason.KILLED_ITS_WORKER.value
_ENDING = re.compile(r"(?:\.[A-Za-z]{1,8})?(?:\.gz)?\Z")


def process_bucket(
    layout: Layout,
    stage: Stage,
    above: Stage,
    bucket_date: dt.date,
    work: Work,
    *,
    version: str,
    now: dt.datetime,
    facts: Mapping[str, str] | None = None,
    decisions: Mapping[str, str] | None = None,
    workers: int = 1,
    pool: PoolFactory = process_pool,
    progress: Progress = lambda done, total: None,
    finish: Finish = lambda outcomes: None,
    room: Room = Room(),  # noqa: B008  # it is frozen
) -> Manifest:
    """Run ``work`` over every usable report of the manifest of the stage ``above`` and write the proof.

    Reports that ``tasks.forget`` left as they are, made by the same ``version`` from the same source and
    with the same one of ``decisions`` (report -> what a person decided), are carried over. Files that the
    manifest does not name are deleted before it is written. Raises BucketError where a file of the stage
    above is missing or not as its manifest says, where there is no ``room`` for what is to be made, and
    where that manifest is another one by the time that the work is done.
    """
    with upstream_kept(layout, above, bucket_date) as proof:
        if above is Stage.RAW:
            refuse_cleaned(layout, proof)
        upstream = proof.usable()
        directory = layout.bucket(stage, bucket_date)
        directory.mkdir(parents=True, exist_ok=True)
        applied = {name: what for name, what in (decisions or {}).items() if name in upstream}
        kept = _carried_over(layout, stage, bucket_date, version, applied)
        outcomes, jobs = [], []
        for record in upstream.values():
            job = _job(layout, stage, above, bucket_date, record)
            old = kept.get(record.report)
            if old is not None and old.source == record.digest:
                outcomes.append((job, Outcome(old.counts, old.size, old.digest, old.rejected, old.detail)))
            else:
                jobs.append(job)
        jobs.sort(key=lambda job: -upstream[job.report].size)  # the largest first, or it ends alone
        needs = needed(stage, (upstream[job.report] for job in jobs)) - _there(
            job.destination for job in jobs
        )
        room.check(f"bucket {bucket_date}, {stage.value},", directory, needs)
        progress(len(outcomes), len(upstream))
        for job, outcome in run_all(jobs, work, workers, pool):
            outcomes.append((job, outcome or Outcome(Tally(), rejected=_KILLED)))
            progress(len(outcomes), len(upstream))
        outcomes.sort(key=lambda pair: pair[0].report)
        finish(outcomes)
        records = [_record(job, outcome, upstream[job.report].digest) for job, outcome in outcomes]
        _keep_rejected(layout.rejected(stage, bucket_date), outcomes)
        if stage is Stage.SANITISED:
            only(
                layout.held(bucket_date), {f"{job.report}.jsonl" for job, out in outcomes if out.counts.held}
            )
        only(directory, {record.name for record in records if record.name})
        flush_file_system(directory)
    said = {**(facts or {}), **({DECISIONS: applied} if applied else {})}
    manifest = Manifest(stage.value, bucket_date, timestamp(now), version, said, records)
    manifest.write(layout.manifest(stage, bucket_date))
    layout.forgotten(stage, bucket_date).unlink(missing_ok=True)
    return manifest


@contextlib.contextmanager
def upstream_kept(layout: Layout, stage: Stage, bucket_date: dt.date) -> Iterator[Manifest]:
    """A proof that must still stand when the block ends.

    ``tasks.forget`` may take it away meanwhile: what was made from it must not be called done then.
    """
    proof, check = watched_proof(layout, stage, bucket_date)
    yield proof
    check()


def watched_proof(layout: Layout, stage: Stage, bucket_date: dt.date) -> tuple[Manifest, Callable[[], None]]:
    """A proof, and what to call before anything that was made from it is called done: it raises
    BucketError where the proof is gone or another one by then."""
    path = layout.manifest(stage, bucket_date)
    before = _identity(path)

    def check() -> None:
        if _identity(path) != before:
            raise BucketError(f"{path} was forgotten or made anew meanwhile; run bucket {bucket_date} again")

    return read_proof(layout, stage, bucket_date), check


def checked_file(directory: Path, record: ReportRecord) -> Path:
    """The file of a record. Raises BucketError where it is missing or has another size than recorded."""
    path = directory / str(record.name)
    try:
        status = path.lstat()
    except FileNotFoundError:
        raise BucketError(f"{path} is in the manifest of its bucket but is missing") from None
    except OSError as error:
        raise BucketError(f"{path} is in the manifest of its bucket but: {error.strerror}") from None
    if not stat.S_ISREG(status.st_mode):
        raise BucketError(f"{path} is in the manifest of its bucket but is no file")
    if status.st_size != record.size:
        raise BucketError(f"{path} has {status.st_size} bytes, its manifest says {record.size}")
    return path


def keep_report(directory: Path, report: str, source: Path) -> str:
    """A report rejected as a whole lies whole among what is rejected: a hard link, no second copy.

    It is called as the report is, with its file's own ending. Returns that name.
    """
    ending = _ENDING.search(source.name).group()  # type: ignore[union-attr]  # it matches nothing too
    name = report if report.endswith(ending) else report + ending
    directory.mkdir(parents=True, exist_ok=True)
    link_or_copy(source, directory / name)
    return name


def _there(paths: Iterable[Path]) -> int:
    """The bytes of those files that are there already: they are about to be replaced."""
    return sum(path.stat().st_size for path in paths if path.exists())


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _job(layout: Layout, stage: Stage, above: Stage, bucket_date: dt.date, record: ReportRecord) -> Job:
    return Job(
        report=record.report,
        bucket_date=bucket_date.isoformat(),
        source=checked_file(layout.bucket(above, bucket_date), record),
        destination=layout.bucket(stage, bucket_date) / f"{record.report}.json",
        rejected=layout.rejected(stage, bucket_date),
        held=layout.held(bucket_date),
    )


def _record(job: Job, outcome: Outcome, source: str) -> ReportRecord:
    return ReportRecord(
        report=job.report,
        name=job.destination.name if outcome.digest else None,
        size=outcome.size,
        digest=outcome.digest,
        source=source,
        counts=outcome.counts,
        rejected=outcome.rejected,
        detail=outcome.detail,
    )


def _keep_rejected(directory: Path, outcomes: list[tuple[Job, Outcome]]) -> None:
    names = set()
    for job, outcome in outcomes:
        if outcome.rejected:
            job.destination.unlink(missing_ok=True)
            names.add(keep_report(directory, job.report, job.source))
        elif outcome.counts.rejected:
            names.add(f"{job.report}.jsonl")
    only(directory, names)


def _carried_over(
    layout: Layout, stage: Stage, bucket_date: dt.date, version: str, decisions: Mapping[str, str]
) -> dict[str, ReportRecord]:
    """The reports of a forgotten proof that need not be done again."""
    path = layout.forgotten(stage, bucket_date)
    if not path.exists():
        return {}
    try:
        old = Manifest.read(path)
    except BucketError:
        old = None
    if old is None or old.version != version:
        # Its files are about to be overwritten: no later run may take them for what it says.
        path.unlink()
        return {}
    return still_good(old, layout.bucket(stage, bucket_date), decisions)


def still_good(old: Manifest, directory: Path, decisions: Mapping[str, str]) -> dict[str, ReportRecord]:
    """The reports of a proof of this version, with its files in ``directory``, that another run would leave
    as they are where what they are made from is the same."""
    decided = old.facts.get(DECISIONS, {})
    kept = {}
    for record in old.reports:
        if decided.get(record.report) != decisions.get(record.report):
            continue
        # An entry that was dropped as the duplicate of another must come back when that one goes; and what
        # killed a process for want of memory may have room today.
        if record.counts.duplicate or record.rejected == _KILLED:
            continue
        try:
            if record.name is not None:
                checked_file(directory, record)
        except BucketError:
            continue
        kept[record.report] = record
    return kept
