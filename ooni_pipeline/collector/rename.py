"""RenameReports: what was finalised until 00:30 goes from the archive to where the pipeline fetches it.

Streaming: no list of the archive is ever held. Killed at any moment and run again, every file is there
exactly once. Source: reference/collector.md, 1.6 and 7.
"""

from __future__ import annotations

import datetime as dt
import errno
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ooni_pipeline.bucket.files import flush_file_system
from ooni_pipeline.collector.archived import Archived, Kind, walk, what_it_says
from ooni_pipeline.collector.layout import CollectorLayout
from ooni_pipeline.collector.outgoing import (
    make_directories,
    make_readable,
    move,
    outgoing_names,
    set_aside_names,
)
from ooni_pipeline.collector.outgoing_name import SetAside, outgoing_name
from ooni_pipeline.collector.renames import (
    RENAMED,
    RenamesList,
    RenamesProof,
    end_what_the_last_run_left,
    proof_path,
)
from ooni_pipeline.errors import BucketError, told

#: A bucket has what was finalised until then (UTC).
CUT_OFF = dt.time(0, 30)
#: So many names of files that change while they are looked at are kept.
_MOST_CHANGING = 1000


@dataclass
class Renamed:
    """What one run did: files by what became of them (renamed, empty, invalid, failed), those set aside by
    why, and what unforeseen faults there were; ``proof`` counts the date's other runs too."""

    proof: RenamesProof
    files: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    unforeseen: set[str] = field(default_factory=set)


def cut_off(bucket_date: dt.date) -> dt.datetime:
    """The end of a bucket, in UTC."""
    return dt.datetime.combine(bucket_date, CUT_OFF, dt.timezone.utc)


def due(layout: CollectorLayout, bucket_date: dt.date, now: float) -> Iterator[Archived]:
    """What is in the archive and belongs to the bucket, or to an earlier one. ``now``: seconds since 1970."""
    end = cut_off(bucket_date).timestamp()
    for found in walk(layout.archive):
        if found.kind is Kind.REPORT and found.finalised(now) < end:
            yield found


def is_done(layout: CollectorLayout, bucket_date: dt.date, now: float) -> bool:
    """Whether the proof is there and nothing was finalised since that belongs to the bucket. What somebody
    was writing while it was looked at comes with a later one."""
    proof = RenamesProof.read(proof_path(layout, bucket_date))
    if proof is None or proof.unreadable:
        return False
    try:
        return all(found.name in proof.changing for found in due(layout, bucket_date, now))
    except OSError:
        return False


def rename_reports(
    layout: CollectorLayout,
    bucket_date: dt.date,
    now: float,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Renamed:
    """Rename what is due, set aside what cannot be, write the proof. ``now`` is in seconds since 1970.

    One at a time (see tasks.rename for the lock). Raises BucketError: the text names directories, never a
    file, whose name may hold anything.
    """
    try:
        return _rename(layout, bucket_date, now, progress)
    except OSError as error:
        where = next((place for place in _places(layout) if str(error.filename).startswith(f"{place}/")), "")
        raise BucketError(
            f"bucket {bucket_date}: {where or layout.directory}: {error.strerror or type(error).__name__}; "
            "what is not renamed stays in the archive: mend it and run RenameReports again"
        ) from None


def _places(layout: CollectorLayout) -> tuple[Path, ...]:
    return layout.archive, layout.renamed, layout.errored, layout.renames


def _rename(
    layout: CollectorLayout, bucket_date: dt.date, now: float, progress: Callable[[int, int], None]
) -> Renamed:
    if not layout.archive.is_dir():
        raise BucketError(
            f"bucket {bucket_date}: there is no {layout.archive}: is [collector] directory in luigi.cfg that "
            "of the collector?"
        )
    make_directories(layout)
    end = cut_off(bucket_date)
    done = Renamed(RenamesProof(bucket_date.isoformat(), f"{end:%Y-%m-%dT%H:%M:%SZ}"))
    proof = done.proof
    end_what_the_last_run_left(layout)
    total = sum(1 for _ in due(layout, bucket_date, now))
    with RenamesList(layout, bucket_date) as renames:
        for found in walk(layout.archive):
            if found.kind is Kind.BEING_WRITTEN:
                proof.being_written += 1
            elif found.kind is Kind.OTHER:
                proof.other += 1
            elif found.kind is Kind.UNREADABLE:
                proof.unreadable += 1
            elif found.finalised(now) >= end.timestamp():
                proof.waiting += 1
            else:
                _take(layout, found, renames, done)
                progress(done.files.total(), max(total, done.files.total()))
        flush_file_system(layout.directory)
        kinds, reasons = renames.counts()
        proof.files, proof.reasons, proof.recorded = dict(kinds), dict(reasons), renames.size
    proof.write(proof_path(layout, bucket_date))
    if proof.unreadable:
        raise BucketError(
            f"bucket {bucket_date}: this account may not read or change {proof.unreadable} files or "
            f"directories of {layout.archive}, which stay there: run RenameReports as the account of the "
            "collector, or give them to it (chown -R)"
        )
    return done


def _take(layout: CollectorLayout, found: Archived, renames: RenamesList, done: Renamed) -> None:
    """Rename one report, or set it aside; leave it where somebody writes it, or where we may not."""
    proof = done.proof
    try:
        kind, why = RENAMED, ""
        directory = layout.renamed
        try:
            extension, compressed = found.ending
            said = _asked(found, done)
            names = outgoing_names(outgoing_name(said, found.name, extension, compressed))
        except SetAside as aside:
            kind, why, directory = aside.kind, aside.why, layout.errored_for(aside.kind)
            names = set_aside_names(found.path.name)
        if not found.is_unchanged():
            proof.being_written += 1
            proof.changing = [*proof.changing, found.name][:_MOST_CHANGING]
            return
        if kind == RENAMED:
            make_readable(found.path, layout.renamed)
        _move(found, (directory / name for name in names), kind, why, renames)
    except FileNotFoundError:
        if os.path.lexists(found.path):
            raise  # it is another that is gone: a directory of ours
        return
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM):
            raise
        proof.unreadable += 1
        return
    done.files[kind] += 1
    if why:
        done.reasons[why] += 1


def _asked(found: Archived, done: Renamed) -> dict[str, object]:
    try:
        return what_it_says(found.path)
    except (SetAside, OSError, MemoryError):
        raise
    except Exception as error:  # one report must not stop the others for ever
        done.unforeseen.add(told(error))
        raise SetAside("failed", "unforeseen") from None


def _move(found: Archived, destinations: Iterator[Path], kind: str, why: str, renames: RenamesList) -> None:
    for destination in destinations:
        if os.path.lexists(destination):
            continue
        renames.intend(kind, found.name, destination, why)
        try:
            move(found.path, destination)
        except FileExistsError:
            renames.retract()
        except OSError:
            renames.retract()
            raise
        else:
            return
