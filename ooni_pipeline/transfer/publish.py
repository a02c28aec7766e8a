"""The public copy of a bucket: compressed reports, an index for people, one for programs, digests.

The directory appears whole: it is made beside its place under a hidden name and then moved there, in
exchange for the former one where there is one. The same reports give the same bytes at every run.
"""

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ooni_pipeline.bucket.files import file_digest, flush, link_or_copy
from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.manifest import Manifest, ReportRecord, moment, read_proof, timestamp
from ooni_pipeline.bucket.pool import PoolFactory, Progress, process_pool, run_all
from ooni_pipeline.bucket.replace import make_public, open_to_everybody, put_in_place
from ooni_pipeline.bucket.room import Room, needed
from ooni_pipeline.bucket.stage import checked_file, upstream_kept
from ooni_pipeline.errors import BucketError, TransferError
from ooni_pipeline.report.tally import Tally
from ooni_pipeline.site.bucket_page import read_index, write_index

_CHUNK = 1024 * 1024


@dataclass(frozen=True)
class _Compression:
    record: ReportRecord
    source: Path
    destination: Path


def publish_bucket(
    layout: Layout,
    bucket_date: dt.date,
    now: dt.datetime,
    *,
    workers: int = 1,
    pool: PoolFactory = process_pool,
    progress: Progress = lambda done, total: None,
    room: Room = Room(),  # noqa: B008  # it is frozen
    withdrawn: tuple[int, int] = (0, 0),
) -> Manifest:
    """Publish what the sanitised manifest names, as one whole, and write the proof. ``withdrawn`` are how
    many reports and measurements were withdrawn from the bucket.

    Raises BucketError for a sanitised file whose bytes are not those that its manifest proves (nothing
    that the leak check has not passed is published) and where there is no ``room``, TransferError for one
    that cannot be compressed.
    """
    directory = layout.bucket(Stage.PUBLISHED, bucket_date)
    make_public(layout.public)
    fresh, former = _beside(directory)
    fresh.mkdir()
    with upstream_kept(layout, Stage.SANITISED, bucket_date) as sanitised:
        source = layout.bucket(Stage.SANITISED, bucket_date)
        jobs = [
            _Compression(record, checked_file(source, record), fresh / f"{record.name}.gz")
            for record in sanitised.usable().values()
            if record.digest  # a report of which no entry was left has no file
        ]
        needs = needed(Stage.PUBLISHED, (job.record for job in jobs))
        room.check(f"bucket {bucket_date}, {Stage.PUBLISHED.value},", layout.public, needs)
        records = []
        for job, done in run_all(sorted(jobs, key=lambda job: -job.record.size), _compress, workers, pool):
            if done is None:
                raise TransferError(f"{job.source} kills whatever compresses it")
            records.append(done)
            progress(len(records), len(jobs))
        records.sort(key=lambda record: record.report)
        write_index(fresh, bucket_date, records, withdrawn)
        open_to_everybody(fresh)
        flush(fresh)
    put_in_place(fresh, directory, former)
    version = sanitised.version
    manifest = Manifest(Stage.PUBLISHED.value, bucket_date, timestamp(now), version, reports=records)
    manifest.write(layout.manifest(Stage.PUBLISHED, bucket_date))
    return manifest


def take_off_mirror(
    layout: Layout, bucket_date: dt.date, reports: Iterable[str], withdrawn: tuple[int, int]
) -> None:
    """Publish a bucket without these reports, now: neither they nor their names are on the mirror any more,
    whatever becomes of the stages that are to make it again. What a run that died left beside it goes too.

    Raises TransferError where the disk does not take the new index: the files are gone all the same. The
    proof stays as it is: it is to be forgotten, and the bucket published anew.
    """
    directory = layout.bucket(Stage.PUBLISHED, bucket_date)
    fresh, former = _beside(directory)
    if not directory.is_dir():
        return
    names = {f"{report}.json.gz" for report in reports}
    known = read_index(directory)
    kept = [
        record for record in known if record.name not in names and (directory / str(record.name)).exists()
    ]
    there = {path.name for path in directory.glob("*.json.gz")}
    if not known and there:  # without an index that can be read nobody knows what the others are
        for name in names & there:
            (directory / name).unlink()
        return
    if len(kept) == len(known) and not names & there:
        return
    try:
        fresh.mkdir()
        for record in kept:
            link_or_copy(directory / str(record.name), fresh / str(record.name))
        write_index(fresh, bucket_date, kept, withdrawn)
        open_to_everybody(fresh)
        flush(fresh)
        put_in_place(fresh, directory, former)
    except OSError as error:  # a full disk: then its index still names what is not there
        shutil.rmtree(fresh, ignore_errors=True)
        for name in names & there:
            (directory / name).unlink(missing_ok=True)
        raise TransferError(f"{directory} is not made again without them: {error.strerror}") from None


def _beside(directory: Path) -> tuple[Path, Path]:
    """Where a bucket is made, and where its former state goes; what a run that died left there is deleted."""
    fresh, former = (directory.with_name(f".{directory.name}.{what}") for what in ("new", "old"))
    for left in (fresh, former):
        shutil.rmtree(left, ignore_errors=True)
    return fresh, former


def waits_until(
    layout: Layout, bucket_date: dt.date, hold: dt.timedelta, now: dt.datetime
) -> dt.datetime | None:
    """Until when (UTC) a sanitised bucket waits for somebody's veto; None when it may be published now.

    It waits ``hold`` from when it was sanitised. What is on the mirror already is replaced at once: to wait
    would leave up what it is made again for. Raises BucketError where the sanitised manifest is damaged.
    """
    if not hold or layout.bucket(Stage.PUBLISHED, bucket_date).exists():
        return None
    until = moment(read_proof(layout, Stage.SANITISED, bucket_date).made) + hold
    return until if now < until else None


def _compress(job: _Compression) -> ReportRecord:
    read = hashlib.sha256()
    with (
        job.source.open("rb") as plain,
        job.destination.open("wb") as file,
        gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=file, mtime=0) as packed,
    ):
        while chunk := plain.read(_CHUNK):
            read.update(chunk)
            packed.write(chunk)
    record = job.record
    if read.hexdigest() != record.digest:
        raise BucketError(
            f"{job.source} is not what its manifest proves and is not published; python -m tasks.forget "
            f"sanitise {job.source.parent.name} {job.source.parent.name} has it made again"
        )
    flush(job.destination)
    counts = Tally(taken=record.counts.out, out=record.counts.out)
    size = job.destination.stat().st_size
    name, digest = job.destination.name, file_digest(job.destination)
    return ReportRecord(record.report, name, size, digest, source=record.digest, counts=counts)
