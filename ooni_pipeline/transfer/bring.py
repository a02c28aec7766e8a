"""Copying planned files from one collector, many at a time; those that arrived whole get a place."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ooni_pipeline.bucket.files import file_digest, flush_file_system, settle_flushed
from ooni_pipeline.errors import TransferError
from ooni_pipeline.report.writer import part_of
from ooni_pipeline.transfer.collectors import Collector
from ooni_pipeline.transfer.plan import Planned

#: A batch ends with so many files or bytes: one connection and one flush for all of it, and no more than
#: that to be copied again after a crash.
MOST_FILES, MOST_BYTES = 5000, 2 * 1024**3

#: A planned file and its place in the bucket.
Wanted = tuple[Planned, Path]


@dataclass
class Brought:
    """What became of planned files, by their places: ``here``, or ``changed`` on the collector since they
    were planned. The others did not come, and ``trouble`` says why."""

    here: set[Path] = field(default_factory=set)
    changed: set[Path] = field(default_factory=set)
    trouble: str = ""


def bring(collector: Collector, wanted: Sequence[Wanted], step: Callable[[int], None]) -> Brought:
    """Copy the planned bytes to their places, never over anything. Calls ``step`` with the files done.

    Nothing has a place before its digest is right and its bytes are on the disk. Raises OSError where it is
    our disk that does not take them.
    """
    brought = Brought()
    done = 0
    for batch in _batches(wanted):
        try:
            again = _bring_batch(collector, batch, brought)
            if again and _bring_batch(collector, again, brought):
                raise TransferError(
                    f"{again[0][0].path!r} of collector {collector.name} did not arrive as it was sent"
                )
        except TransferError as error:
            left = [planned for planned, path in wanted if path not in brought.here | brought.changed]
            _must_be_writable(batch[0][1].parent, sum(planned.size for planned in left))
            brought.trouble = str(error)
            break
        done += len(batch)
        step(done)
    return brought


def _batches(wanted: Sequence[Wanted]) -> Iterator[list[Wanted]]:
    batch: list[Wanted] = []
    size = 0
    for planned, path in wanted:
        if batch and (len(batch) >= MOST_FILES or size + planned.size > MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append((planned, path))
        size += planned.size
    if batch:
        yield batch


def _bring_batch(collector: Collector, batch: Sequence[Wanted], brought: Brought) -> list[Wanted]:
    """Copy a batch. Returns what did not arrive although the collector still has it as it was planned."""
    parts = {planned.path: part_of(path) for planned, path in batch}
    try:
        try:
            collector.copy(parts)
        finally:
            _settle(batch, parts, brought)
        left = [one for one in batch if one[1] not in brought.here]
        there = collector.digests([planned.path for planned, _ in left]) if left else {}
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)
    again = [one for one in left if there.get(one[0].path) == one[0].digest]
    brought.changed.update(path for planned, path in left if there.get(planned.path) != planned.digest)
    return again


def _settle(batch: Sequence[Wanted], parts: dict[str, Path], brought: Brought) -> None:
    arrived = {path: file_digest(part) for path, part in parts.items() if os.path.lexists(part)}
    whole = [one for one in batch if arrived.get(one[0].path) == one[0].digest]
    if whole:
        flush_file_system(whole[0][1].parent)
    for planned, path in whole:
        settle_flushed(parts[planned.path], path)
        brought.here.add(path)


def _must_be_writable(directory: Path, size: int) -> None:
    """Raise OSError where it is our disk that is full or broken: then no collector is to blame."""
    probe = part_of(directory / "probe")
    try:
        with probe.open("wb") as file:
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
    finally:
        probe.unlink(missing_ok=True)
    status = os.statvfs(directory)
    if status.f_blocks and status.f_bavail * status.f_frsize < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(directory))
