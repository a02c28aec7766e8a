"""One normalised report becomes one file of publishable entries, waits whole for a person, or is refused."""

from __future__ import annotations

import functools
from pathlib import Path

from ooni_pipeline.errors import RejectReason
from ooni_pipeline.report.tally import Tally
from ooni_pipeline.report.work import Job, Outcome
from ooni_pipeline.report.writer import RejectedWriter
from ooni_pipeline.sanitise import MustBeHeld, Sanitiser
from ooni_pipeline.sanitise.bridges import load_bridge_table
from ooni_pipeline.sanitise.expected import names_more_than
from ooni_pipeline.sanitise.lines import KnownLeaker, sanitise_lines
from ooni_pipeline.sanitise.settings import Settings


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
    is_released = job.report in released
    try:
        if sanitiser.names_a_bridge(job.report):  # a name cannot be cut
            raise MustBeHeld(RejectReason.BRIDGE_IN_ITS_NAME)
        outcome, names_a_bridge = sanitise_lines(job, sanitiser, released=is_released)
        if names_a_bridge and not is_released:
            with job.source.open("rb") as source:
                if names_more_than(settings.max_addresses_beside_hit, source):
                    raise MustBeHeld(RejectReason.ADDRESSES_BESIDE_BRIDGE)
    except KnownLeaker:
        job.destination.unlink(missing_ok=True)
        return _rejected(job, RejectReason.KNOWN_LEAKER)
    except MustBeHeld as held:
        job.destination.unlink(missing_ok=True)
        return _held(job, held.reason)
    return outcome


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


@functools.lru_cache(maxsize=1)
def _sanitiser(table: Path, digest: str, settings: Settings) -> Sanitiser:
    return Sanitiser(load_bridge_table(table, digest), settings)
