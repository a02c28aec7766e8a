"""A report that was withdrawn and comes again is not taken: its tombstone is all that stays of it."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from pathlib import Path

from ooni_pipeline.bucket.keys import read_key
from ooni_pipeline.bucket.layout import Layout
from ooni_pipeline.bucket.manifest import ReportRecord
from ooni_pipeline.bucket.withdrawn import Tombstones, tombstones
from ooni_pipeline.errors import RejectReason
from ooni_pipeline.transfer.cut_out import cut_out

#: How the name of such a report begins: its own says from where and by whom it is.
_NAMELESS = "withdrawn_"


def known_tombstones(layout: Layout) -> Tombstones | None:
    """The tombstones of a pipeline; None where nothing was ever withdrawn. Raises BucketError where they, or
    the key that they were made with, cannot be read."""
    if not layout.withdrawn().is_dir():
        return None
    return tombstones(layout, read_key(layout.id_key())) or None


def is_withdrawn(record: ReportRecord, stones: Tombstones | None) -> bool:
    """Whether a raw report was withdrawn, or is one as it was before entries were cut out of it."""
    if stones is None or not record.content:
        return False
    return stones.report(record.content) or stones.former(record.content)


def refuse_withdrawn(
    directory: Path, records: Iterable[ReportRecord], stones: Tombstones | None
) -> tuple[list[ReportRecord], list[ReportRecord]]:
    """Sort out what was withdrawn among the records of a raw bucket: a report that was withdrawn as a whole
    is deleted, one from which entries were cut out since is cut again.

    Returns what the bucket holds, where a record without a name stands for each that is refused; and those
    that are refused or cut, as they came: they may still lie on their collectors. Raises BucketError as
    :func:`cut_out`.
    """
    taken, refused = [], []
    for record in records:
        if stones is not None and record.content and stones.report(record.content):
            if record.name is not None:
                (directory / record.name).unlink(missing_ok=True)
            refused.append(record)
            taken.append(without_name(record, stones))
        elif stones is not None and record.name and record.content and stones.former(record.content):
            refused.append(record)
            taken.append(cut_out(directory, record, stones))
        else:
            taken.append(record)
    return taken, refused


def without_name(record: ReportRecord, stones: Tombstones) -> ReportRecord:
    """What stays in a raw proof of a report that was withdrawn: that there was one."""
    return ReportRecord(
        _nameless(record, stones),
        rejected=RejectReason.WITHDRAWN.value,
        collector=record.collector,
        fetched=record.fetched,
    )


def _nameless(record: ReportRecord, stones: Tombstones) -> str:
    """What the report is called from now on: nobody can tell from it what it was, and it is like no other."""
    told = "\0".join((record.collector, record.path, record.report, record.digest))
    digest = hmac.new(stones.marks.key, told.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
    return _NAMELESS + digest[:16]
