"""Cutting entries that were withdrawn out of a raw report, whose other entries stay as they are."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path

from ooni_pipeline.bucket.files import file_digest, whole_file
from ooni_pipeline.bucket.manifest import ReportRecord
from ooni_pipeline.bucket.withdrawn import Tombstones
from ooni_pipeline.errors import BucketError
from ooni_pipeline.report.content import content_digest
from ooni_pipeline.report.cutting import Cut, cuttable_entries, write_without
from ooni_pipeline.report.entry import BadReport, RawEntry
from ooni_pipeline.report.measurement_id import measurement_id


def cut_out(directory: Path, record: ReportRecord, stones: Tombstones) -> ReportRecord:
    """Cut the entries that have tombstones out of a raw report's file, and return its record as it is then.

    The others keep their bytes, which is seen to before the file takes the place of the former. Raises
    BucketError where the file is not here or not what the record says, and where it would come out otherwise
    than it should: then it stays as it is.
    """
    path = directory / str(record.name)
    if not path.is_file():
        raise BucketError(
            f"{path} is not here, so nothing can be cut out of it: bring the bucket back from the backup "
            f"(luigi --module tasks.restore RestoreReports --bucket-date {directory.name}) and type it again"
        )
    cuts: list[Cut] = []
    expected, entries = _sequence(path, path.name, stones, cuts.append)
    if not entries:
        raise BucketError(f"{path} would have no entry left: withdraw the whole report")
    if cuts:
        if file_digest(path) != record.digest:
            raise BucketError(f"{path} is no longer what was fetched; nothing is cut out of it")
        with whole_file(path) as part:
            write_without(path, part, cuts)
            if _sequence(part, path.name, stones, _no_cut) != (expected, entries):
                raise BucketError(f"{path} would lose more than was asked for: withdraw the whole report")
    elif file_digest(path) != record.digest and not stones.former(record.content):
        raise BucketError(f"{path} is no longer what was fetched; nothing is cut out of it")
    changed = dataclasses.replace(record, size=path.stat().st_size, digest=file_digest(path))
    changed.content = content_digest(path, changed.digest)
    return changed


def _no_cut(cut: Cut) -> None:
    raise BucketError("an entry that was cut out of a report is still there")


def _sequence(
    path: Path,
    named: str,
    stones: Tombstones,
    gone: Callable[[Cut], None],
) -> tuple[str, int]:
    """One digest over all entries that stay, in order, and how many they are; the others go to ``gone``."""
    digest, entries = hashlib.sha256(), 0
    try:
        for one in cuttable_entries(path, named):
            if isinstance(one.item, RawEntry):
                told = measurement_id(stones.marks.key, one.header.raw, one.item.raw)
                is_gone = stones.entry(told)
            else:
                told = one.item.digest
                is_gone = stones.piece(told)
            if is_gone:
                gone(one.cut)
            else:
                digest.update(told.encode())
                entries += 1
    except BadReport as bad:
        raise BucketError(f"{path} cannot be read: {bad.reason.value}") from None
    return digest.hexdigest(), entries
