"""One normalised report becomes one file of publishable entries, or waits whole for a person."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ooni_pipeline.errors import RejectReason
from ooni_pipeline.report.json_lines import loads
from ooni_pipeline.report.tally import Tally
from ooni_pipeline.report.work import Job, Outcome
from ooni_pipeline.report.writer import LinesWriter, RejectedWriter
from ooni_pipeline.sanitise import KNOWN_LEAKER, MustBeHeld, ReportSanitiser, Sanitiser
from ooni_pipeline.sanitise.addresses import addresses_in
from ooni_pipeline.sanitise.bridges import load_bridge_table
from ooni_pipeline.sanitise.expected import names_more_than
from ooni_pipeline.sanitise.own import reveal
from ooni_pipeline.sanitise.probe_ip import TO_WITHHOLD, count_in_lines, withhold_in_lines
from ooni_pipeline.sanitise.search import Search
from ooni_pipeline.sanitise.settings import Settings

_CHUNK = 1024 * 1024
_LEAKER = re.compile(KNOWN_LEAKER, re.IGNORECASE)
#: The common case of a probe_ip: an address as a string, to be had without parsing the line.
_PROBE_IP = re.compile(TO_WITHHOLD[: TO_WITHHOLD.index(b"(")] + rb'"([0-9.]{7,15})"', re.IGNORECASE)


def sanitise_report(
    job: Job,
    *,
    table: Path,
    digest: str,
    settings: Settings | None = None,
    released: frozenset[str] = frozenset(),
    dropped: frozenset[str] = frozenset(),
) -> Outcome:
    """Sanitise every entry; lines in which nothing needs a look are copied as they are.

    ``table`` is the bridge table and ``digest`` the state of it that the stage began with. ``released``
    and ``dropped`` name reports that a person has seen: the former are published with their bridges cut,
    the latter never.
    """
    settings = settings or Settings()
    sanitiser = _sanitiser(table, digest, settings)
    if job.report in dropped:
        return _rejected(job, RejectReason.DROPPED_BY_A_PERSON)
    if sanitiser.names_a_bridge(job.report):
        return _held(job, RejectReason.BRIDGE_IN_ITS_NAME)
    is_released = job.report in released
    try:
        try:
            report = sanitiser.of_report(released=is_released)
            outcome = _sanitise_lines(job, report, sanitiser.reveals)
        except _Reveals:  # as few do today: now look for what, in all of it, and do it again
            job.destination.unlink(missing_ok=True)
            own = _own_addresses(job.source, sanitiser)
            if own is None:
                return _rejected(job, RejectReason.KNOWN_LEAKER)
            report = sanitiser.of_report(own, released=is_released)
            outcome = _sanitise_lines(job, report)
        if report.names_a_bridge and not is_released:
            with job.source.open("rb") as source:
                if names_more_than(settings.max_addresses_beside_hit, source):
                    raise MustBeHeld(RejectReason.ADDRESSES_BESIDE_BRIDGE)
    except MustBeHeld as held:
        job.destination.unlink(missing_ok=True)
        return _held(job, held.reason)
    return outcome


class _Reveals(Exception):  # noqa: N818 - a fact about a report
    """A line may say who the volunteer is, or which client wrote the report."""


def _sanitise_lines(job: Job, report: ReportSanitiser, reveals: Search | None = None) -> Outcome:
    """Write the publishable lines. Raises _Reveals at the first line in which ``reveals`` finds something."""
    tally = Tally()
    with (
        job.source.open("rb") as source,
        RejectedWriter(job.held, job.report, job.source.name) as held,
        LinesWriter(job.destination) as lines,
    ):
        offset = 0
        for original in whole_lines(source):
            chunk, done = original if reveals else withhold_in_lines(original), 0
            for start, end in report.wanted(chunk):
                _copy(chunk[done:start], lines, tally)
                line, done = chunk[start:end], end + 1
                if reveals and reveals(line, 0):
                    raise _Reveals
                tally.taken += 1
                clean, detail = None, ""
                try:
                    clean = report.sanitise_line(line, tally.notes)
                except MustBeHeld:
                    raise
                except Exception as error:  # nobody knows what stands in it, so nobody gets it
                    detail = type(error).__name__
                if clean is None:
                    tally.held += 1
                    where, line = _line(original, chunk.count(b"\n", 0, start))
                    held.keep_bytes(RejectReason.STILL_LEAKS, offset + where, line, detail)
                else:
                    tally.out += 1
                    lines.write(clean)
            _copy(chunk[done:], lines, tally)
            offset += len(original)
    tally.notes = +tally.notes
    if not tally.out:
        job.destination.unlink()
        return Outcome(tally)
    return Outcome(tally, lines.size, lines.digest)


def _copy(untouched: bytes, lines: LinesWriter, tally: Tally) -> None:
    """Write whole lines as they are."""
    count = untouched.count(b"\n")
    lines.write_lines(untouched, count)
    tally.taken += count
    tally.out += count
    tally.notes["probe_ip"] += count_in_lines(untouched)


def _line(chunk: bytes, number: int) -> tuple[int, bytes]:
    """Where a line of a chunk begins, and the line; the first has number 0."""
    start = 0
    for _ in range(number):
        start = chunk.index(b"\n", start) + 1
    return start, chunk[start : chunk.index(b"\n", start)]


def _own_addresses(path: Path, sanitiser: Sanitiser) -> set[str] | None:
    """The volunteer's own addresses that a report reveals anywhere; None for one of a known leaker."""
    own: set[str] = set()
    with path.open("rb") as source:
        for chunk in whole_lines(source):
            done = 0
            while place := sanitiser.reveals(chunk, done):
                if _LEAKER.match(chunk, place[0]):
                    return None
                if found := _PROBE_IP.match(chunk, place[0]):
                    own.update(addresses_in(found[1].decode("ascii")))
                    done = found.end()
                    continue
                start, end = chunk.rfind(b"\n", 0, place[0]) + 1, chunk.index(b"\n", place[0])
                line = chunk[start:end]
                if _LEAKER.search(line):
                    return None
                try:
                    own |= reveal(loads(line), sanitiser.settings)
                except Exception:  # nobody knows what it would have revealed
                    raise MustBeHeld(RejectReason.STILL_LEAKS) from None
                done = end
    return own


def _held(job: Job, reason: RejectReason) -> Outcome:
    """Every entry of a report goes to those that are held, for a reason that the proof keeps."""
    tally, offset = Tally(), 0
    with job.source.open("rb") as source, RejectedWriter(job.held, job.report, job.source.name) as held:
        for line in source:
            held.keep_bytes(reason, offset, line.rstrip(b"\n"), "")
            offset += len(line)
            tally.taken += 1
            tally.held += 1
    return Outcome(tally, detail=reason.value)


def _rejected(job: Job, reason: RejectReason) -> Outcome:
    """The whole report is refused; its entries are counted."""
    tally = Tally()
    with job.source.open("rb") as source:
        tally.reject(reason, sum(1 for _ in source))
    return Outcome(tally, rejected=reason.value)


def whole_lines(source: IO[bytes]) -> Iterator[bytes]:
    """Chunks of about a megabyte, or of one longer line, that end where a line ends."""
    while chunk := source.read(_CHUNK):
        if chunk[-1:] != b"\n":
            chunk += source.readline()
        yield chunk if chunk[-1:] == b"\n" else chunk + b"\n"


@functools.lru_cache(maxsize=1)
def _sanitiser(table: Path, digest: str, settings: Settings) -> Sanitiser:
    return Sanitiser(load_bridge_table(table, digest), settings)
