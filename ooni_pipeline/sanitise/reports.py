"""One normalised report becomes one file of publishable entries."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ooni_pipeline.errors import RejectReason
from ooni_pipeline.report.tally import Tally
from ooni_pipeline.report.work import Job, Outcome
from ooni_pipeline.report.writer import LinesWriter, RejectedWriter
from ooni_pipeline.sanitise import Sanitiser
from ooni_pipeline.sanitise.bridges import load_bridge_table

_CHUNK = 1024 * 1024


def sanitise_report(job: Job, *, table: Path, digest: str) -> Outcome:
    """Sanitise every entry; lines in which nothing needs a look are copied as they are.

    ``table`` is the bridge table and ``digest`` the state of it that the stage began with.
    """
    sanitiser = _sanitiser(table, digest)
    if sanitiser.names_a_bridge(job.report):
        return _held_whole(job)
    tally = Tally()
    with (
        job.source.open("rb") as source,
        RejectedWriter(job.held, job.report, job.source.name) as held,
        LinesWriter(job.destination) as lines,
    ):
        offset = 0
        for chunk in whole_lines(source):
            done = 0
            while True:
                place = sanitiser.wants(chunk, done)
                start = chunk.rfind(b"\n", 0, place[0]) + 1 if place else len(chunk)
                untouched = chunk[done:start]
                count = untouched.count(b"\n")
                lines.write_lines(untouched, count)
                tally.taken += count
                tally.out += count
                if place is None:
                    break
                done = chunk.index(b"\n", place[0]) + 1
                line = chunk[start : done - 1]
                tally.taken += 1
                clean, detail = None, ""
                try:
                    clean = sanitiser.sanitise_line(line, tally.notes)
                except Exception as error:  # nobody knows what stands in it, so nobody gets it
                    detail = type(error).__name__
                if clean is None:
                    tally.held += 1
                    held.keep_bytes(RejectReason.STILL_LEAKS, offset + start, line, detail)
                else:
                    tally.out += 1
                    lines.write(clean)
            offset += len(chunk)
    if not tally.out:
        job.destination.unlink()
        return Outcome(tally)
    return Outcome(tally, lines.size, lines.digest)


def _held_whole(job: Job) -> Outcome:
    """Every entry of a report goes to those that are held: its name, which cannot be cut, says a bridge."""
    tally, offset = Tally(), 0
    with job.source.open("rb") as source, RejectedWriter(job.held, job.report, job.source.name) as held:
        for line in source:
            held.keep_bytes(RejectReason.STILL_LEAKS, offset, line.rstrip(b"\n"), "the report's name")
            offset += len(line)
            tally.taken += 1
            tally.held += 1
    return Outcome(tally)


def whole_lines(source: IO[bytes]) -> Iterator[bytes]:
    """Chunks of about a megabyte, or of one longer line, that end where a line ends."""
    while chunk := source.read(_CHUNK):
        if chunk[-1:] != b"\n":
            chunk += source.readline()
        yield chunk if chunk[-1:] == b"\n" else chunk + b"\n"


@functools.lru_cache(maxsize=1)
def _sanitiser(table: Path, digest: str) -> Sanitiser:
    return Sanitiser(load_bridge_table(table, digest))
