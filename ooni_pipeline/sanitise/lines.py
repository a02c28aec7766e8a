"""The passes over the lines of one normalised report.

One is enough for most: what a line reveals of the volunteer must go from the lines before it too, so a line
that reveals something new ends a pass, and the next one begins again and knows it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

from ooni_pipeline.errors import RejectReason
from ooni_pipeline.report.json_lines import loads
from ooni_pipeline.report.tally import Tally
from ooni_pipeline.report.work import Job, Outcome
from ooni_pipeline.report.writer import LinesWriter, RejectedWriter
from ooni_pipeline.sanitise import MustBeHeld, ReportSanitiser, Sanitiser
from ooni_pipeline.sanitise.own import reveal
from ooni_pipeline.sanitise.probe_ip import RULE, count_in_lines, withhold_in_lines
from ooni_pipeline.sanitise.search import MAX_OWN

_CHUNK = 1024 * 1024
#: So many passes may end before one looks for nothing but what the report reveals.
_PASSES = 2


class KnownLeaker(Exception):  # noqa: N818 - a fact about a report, not a fault of ours
    """The report is of a client that sent what it should not."""


class _RevealsMore(Exception):  # noqa: N818 - as above
    def __init__(self, addresses: set[str]) -> None:
        super().__init__("an address")
        self.addresses = addresses


def sanitise_lines(job: Job, sanitiser: Sanitiser, *, released: bool) -> tuple[Outcome, bool]:
    """Write the publishable lines; also whether a line named a bridge of the table.

    Raises KnownLeaker, and MustBeHeld where the report as a whole must be held.
    """
    own: set[str] = set()
    for number in range(_PASSES + 1):
        if number == _PASSES:
            own = _all_own_addresses(job, sanitiser)
        report = sanitiser.of_report(own, released=released)
        try:
            return _one_pass(job, sanitiser, report, own, look=number < _PASSES), report.names_a_bridge
        except _RevealsMore as more:
            own |= more.addresses
            _hold_too_many(own)
    raise AssertionError  # the last pass does not look


def _one_pass(
    job: Job, sanitiser: Sanitiser, report: ReportSanitiser, own: set[str], *, look: bool
) -> Outcome:
    """Write the lines. With ``look`` raises _RevealsMore at one that reveals another address than ``own``."""
    tally = Tally()
    with (
        job.source.open("rb") as source,
        RejectedWriter(job.held, job.report, job.source.name) as held,
        LinesWriter(job.destination) as lines,
    ):
        offset = 0
        for original in whole_lines(source):
            chunk, done = withhold_in_lines(original, own), 0
            for start, end in report.wanted(chunk):
                _copy(chunk[done:start], lines, tally)
                line, done = chunk[start:end], end + 1
                if look and (more := _revealed(line, sanitiser) - own):
                    raise _RevealsMore(more)
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
    tally.notes[RULE] += count_in_lines(untouched)


def _line(chunk: bytes, number: int) -> tuple[int, bytes]:
    """Where a line of a chunk begins, and the line; the first has number 0."""
    start = 0
    for _ in range(number):
        start = chunk.index(b"\n", start) + 1
    return start, chunk[start : chunk.index(b"\n", start)]


def _all_own_addresses(job: Job, sanitiser: Sanitiser) -> set[str]:
    """What any line of a report reveals."""
    own: set[str] = set()
    with job.source.open("rb") as source:
        for chunk in whole_lines(source):
            done = 0
            while place := sanitiser.reveals(chunk, done):
                start, done = chunk.rfind(b"\n", 0, place[0]) + 1, chunk.index(b"\n", place[0])
                own |= _revealed(chunk[start:done], sanitiser)
                _hold_too_many(own)
    return own


def _hold_too_many(own: set[str]) -> None:
    """No volunteer has so many addresses: somebody wants to keep us busy, or to have evidence erased."""
    if len(own) > MAX_OWN:
        raise MustBeHeld(RejectReason.STILL_LEAKS)


def _revealed(line: bytes, sanitiser: Sanitiser) -> set[str]:
    """The volunteer's own addresses that a line reveals."""
    if not sanitiser.reveals(line, 0):
        return set()
    if sanitiser.is_of_a_known_leaker(line):
        raise KnownLeaker
    try:
        return reveal(loads(line), sanitiser.settings)
    except Exception:  # nobody knows what it would have revealed
        raise MustBeHeld(RejectReason.STILL_LEAKS) from None


def whole_lines(source: IO[bytes]) -> Iterator[bytes]:
    """Chunks of about a megabyte, or of one longer line, that end where a line ends."""
    while chunk := source.read(_CHUNK):
        if chunk[-1:] != b"\n":
            chunk += source.readline()
        yield chunk if chunk[-1:] == b"\n" else chunk + b"\n"
