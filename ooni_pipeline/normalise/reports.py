"""One raw report becomes one file of normalised entries."""

from __future__ import annotations

import datetime as dt
from typing import Protocol

from ooni_pipeline.errors import RejectReason
from ooni_pipeline.normalise import Entry, normalise_entry
from ooni_pipeline.normalise.duplicates import IdsAndCrc
from ooni_pipeline.normalise.source import ReportContext
from ooni_pipeline.normalise.values import textual
from ooni_pipeline.report.entry import (
    MAX_WRITTEN_BYTES,
    BadEntry,
    BadReport,
    EntryRejected,
    RawEntry,
    ReportHeader,
)
from ooni_pipeline.report.json_lines import dump_entry, dumps
from ooni_pipeline.report.measurement_id import measurement_id
from ooni_pipeline.report.names import parse_report_name
from ooni_pipeline.report.pieces import bad_entry
from ooni_pipeline.report.reader import open_report
from ooni_pipeline.report.tally import Tally
from ooni_pipeline.report.work import Job, Outcome
from ooni_pipeline.report.writer import LinesWriter, RejectedWriter

#: Every entry repeats its header, so a long one would fill the disk. Those of probes have about 1 kB.
MAX_HEADER_BYTES = 64 * 1024
#: A report of few bytes must not fill the disk: repeated headers, aliases and gzip make a thousand of one.
#: It may become this many bytes, and this many more for each byte of its file, compressed as it is.
OUTPUT_FLOOR = 256 * 1024 * 1024
OUTPUT_RATIO = 256
#: Nor the night: whoever sends more bad entries than this in one report sends nothing else. Those that
#: unfold to their bound before they are rejected take seconds each, and count as so many.
MAX_BAD_ENTRIES = 1_000_000
OF_SECONDS = {RejectReason.TOO_MANY_NODES: 10_000, RejectReason.TOO_LARGE: 10_000}


class Withdrawn(Protocol):
    """Knows what was withdrawn: an entry by its id, one that cannot be read by the digest of its bytes."""

    def entry(self, measurement_id: str) -> bool: ...

    def piece(self, digest: str) -> bool: ...


def normalise_report(job: Job, *, key: bytes, withdrawn: Withdrawn | None = None) -> Outcome:
    """Read the report, normalise every entry, keep what cannot be taken with its reason.

    ``key`` is the secret that ids are made with. Entries that were ``withdrawn`` are counted and go nowhere,
    not even to those that are rejected. A bad entry costs that entry, a bad header the report.
    """
    tally, checksum = Tally(), IdsAndCrc()
    try:
        with (
            open_report(job.source) as report,
            RejectedWriter(job.rejected, job.report, job.source.name) as rejected,
            LinesWriter(job.destination, checksum) as lines,
        ):
            date, header = dt.date.fromisoformat(job.bucket_date), _checked_header(report.header)
            context = ReportContext(job.report, date, key, header, *_named(job.report))
            _count(tally, header)
            bad_entries = 0
            room = OUTPUT_FLOOR + OUTPUT_RATIO * job.source.stat().st_size
            for item in report:
                if lines.size > room or bad_entries >= MAX_BAD_ENTRIES:
                    why = f"over {room} bytes when normalised, or over {MAX_BAD_ENTRIES} bad entries"
                    item = bad_entry(RejectReason.REPORT_TOO_LARGE, item.offset, b"", why)
                done = _normalised(item, context)
                if withdrawn and _is_withdrawn(item, done, context, withdrawn):
                    tally.taken += 1
                    tally.withdrawn += 1
                    continue
                if isinstance(done, BadEntry):
                    bad_entries += OF_SECONDS.get(done.reason, 1)
                    tally.reject(done.reason)
                    rejected.keep(done)
                    if done.reason is RejectReason.REPORT_TOO_LARGE:
                        break
                    continue
                entry, line = done
                tally.taken += 1
                tally.out += 1
                _count(tally, item)
                checksum.ids += bytes.fromhex(entry["id"].replace("-", ""))
                lines.write(line)
    except BadReport as bad:
        return Outcome(Tally(), rejected=bad.reason.value, detail=bad.detail)
    tally.notes = +tally.notes  # without what did not happen
    if not tally.out:
        job.destination.unlink()
        return Outcome(tally)
    return Outcome(tally, lines.size, lines.digest, ids=bytes(checksum.ids))


def _checked_header(header: ReportHeader) -> ReportHeader:
    """The header with text for bytes. Raises BadReport BAD_HEADER when it is longer than any of a probe."""
    textual(header.value)
    if len(dumps(header.value)) > MAX_HEADER_BYTES:
        raise BadReport(RejectReason.BAD_HEADER, f"over {MAX_HEADER_BYTES} bytes as JSON")
    return header


def _normalised(item: RawEntry | BadEntry, context: ReportContext) -> tuple[Entry, bytes] | BadEntry:
    """An entry and its line, or why it cannot be taken.

    Whatever a hostile entry can make fail costs that entry; a fault of ours shows as a count in the ledger,
    and its bytes are there to try again.
    """
    if isinstance(item, BadEntry):
        return item
    try:
        entry = normalise_entry(item, context)
        line = dump_entry(entry)
        if len(line) <= MAX_WRITTEN_BYTES:
            return entry, line
        reason, detail = RejectReason.TOO_LARGE, f"over {MAX_WRITTEN_BYTES} bytes when normalised"
    except EntryRejected as rejected:
        reason, detail = rejected.reason, rejected.detail
    except Exception as error:
        reason, detail = RejectReason.CANNOT_BE_NORMALISED, type(error).__name__
    return bad_entry(reason, item.offset, item.raw, detail)


def _is_withdrawn(
    item: RawEntry | BadEntry,
    done: tuple[Entry, bytes] | BadEntry,
    context: ReportContext,
    withdrawn: Withdrawn,
) -> bool:
    if isinstance(item, BadEntry):
        return withdrawn.piece(item.digest)
    if isinstance(done, BadEntry):  # it can be read, and has an id all the same
        return withdrawn.entry(measurement_id(context.key, context.header.raw, item.raw))
    return withdrawn.entry(str(done[0]["id"]))


def _count(tally: Tally, read: ReportHeader | RawEntry | BadEntry) -> None:
    """Note what reading replaced, and the document that has no end."""
    for note in ("nonfinite", "duplicate_keys", "without_end"):
        tally.notes[note] += getattr(read, note, 0)


def _named(report: str) -> tuple[dt.datetime | None, str | None]:
    """The time and the report id in a report's name."""
    try:
        name = parse_report_name(f"{report}.json")
    except BadReport:
        return None, None
    return name.start_time, name.report_id
