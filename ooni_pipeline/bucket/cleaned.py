"""Buckets whose raw files were freed: they are in the backup alone, and their proofs say all else."""

from __future__ import annotations

import datetime as dt
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.manifest import Manifest, ReportRecord, timestamp
from ooni_pipeline.errors import BucketError


@dataclass(frozen=True)
class Freed:
    """What freeing a bucket would give, or gave: files, the bytes that the disk gets back, and those that it
    does not, because the same bytes are kept among what was rejected. ``changed`` files stay."""

    files: int = 0
    freed: int = 0
    kept: int = 0
    changed: int = 0


def freeable(layout: Layout, raw: Manifest) -> Freed:
    """What :func:`free_bucket` would do."""
    return _sum(path.lstat() for path, record in _here(layout, raw) if _is_it(path, record))


def free_bucket(layout: Layout, raw: Manifest, now: dt.datetime) -> Freed:
    """Delete the raw files that the manifest names, by name. The caller has made sure of the backup.

    The mark that they are in the backup alone is written first: whoever dies between is gone on with. A file
    that has another size than the manifest says stays, and so does what it does not name.
    """
    todo = freeable(layout, raw)
    facts = {"files": todo.files, "bytes": todo.freed + todo.kept}
    mark = Manifest("cleaned", raw.bucket_date, timestamp(now), facts=facts)
    mark.write(layout.cleaned(raw.bucket_date))
    found, changed = [], 0
    for path, record in _here(layout, raw):
        if _is_it(path, record):
            found.append(path.lstat())
            path.unlink()
        else:
            changed += 1
    done = _sum(found)
    return Freed(done.files, done.freed, done.kept, changed)


def is_cleaned(layout: Layout, bucket_date: dt.date) -> bool:
    """Whether raw files of this bucket may be in the backup alone."""
    return layout.cleaned(bucket_date).exists()


def lacks_files(layout: Layout, raw: Manifest) -> bool:
    """Whether a file that the raw manifest names is not here."""
    directory = layout.bucket(Stage.RAW, raw.bucket_date)
    return any(one.name is not None and not os.path.lexists(directory / one.name) for one in raw.reports)


def refuse_cleaned(layout: Layout, raw: Manifest) -> None:
    """Raise BucketError, with the command to type, where files of the bucket are in the backup alone."""
    if is_cleaned(layout, raw.bucket_date) and lacks_files(layout, raw):
        raise BucketError(
            f"the raw files of bucket {raw.bucket_date} are in the backup alone. To bring them back: luigi "
            f"--module tasks.restore RestoreReports --bucket-date {raw.bucket_date}"
        )


def _here(layout: Layout, raw: Manifest) -> Iterable[tuple[Path, ReportRecord]]:
    directory = layout.bucket(Stage.RAW, raw.bucket_date)
    for record in raw.reports:
        if record.name is not None and os.path.lexists(directory / record.name):
            yield directory / record.name, record


def _is_it(path: Path, record: ReportRecord) -> bool:
    status = path.lstat()
    return stat.S_ISREG(status.st_mode) and status.st_size == record.size


def _sum(found: Iterable[os.stat_result]) -> Freed:
    files = freed = kept = 0
    for status in found:
        files += 1
        if status.st_nlink > 1:
            kept += status.st_size
        else:
            freed += status.st_size
    return Freed(files, freed, kept)
