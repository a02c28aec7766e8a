"""One raw report becomes one file of normalised entries."""

from __future__ import annotations

import datetime as dt

from ooni_pipeline.errors import RejectReason
from ooni_pipeline.normalise import normalise_entry
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
from ooni_pipeline.report.names import parse_report_name
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
#: Nor the night: whoever sends more bad entries than this in one report sends nothing else.
MAX_BAD_ENTRIES = 1_000_000


def normalise_report(job: Job, *, key: bytes) -> Outcome:
    """Read the report, normalise every entry, keep what cannot be taken with its reason.

    ``key`` is the secret that ids are made with. A bad entry costs that entry, a bad header the report.
    """
    tally, checksum = Tally(), IdsAndCrc()
    try:
        with (
            open_report(job.source) as report,
            RejectedWriter(job.rejected, job.report, job.source.name) as rejected,
            LinesWriter(job.destination, checksum) as lines,
        ):
            date, header = dt.date.fromisoformat(job.bucket_date), _checked_header(report.header)
            context = ReportContext(job.report, date, key, header, _named_time(job.report))
            _count(tally, header)
            room = OUTPUT_FLOOR + OUTPUT_RATIO * job.source.stat().st_size
            for item in report:
                if lines.size > room or sum(tally.rejected.values()) >= MAX_BAD_ENTRIES:
                    tally.reject(RejectReason.REPORT_TOO_LARGE)
                    what = f"over {room} bytes when normalised, or over {MAX_BAD_ENTRIES} bad entries"
                    rejected.keep_bytes(RejectReason.REPORT_TOO_LARGE, item.offset, b"", what)
                    break
                if isinstance(item, BadEntry):
                    tally.reject(item.reason)
                    rejected.keep(item)
                    continue
                try:
                    entry = normalise_entry(item, context)
                    line = _bounded(dump_entry(entry))
                except EntryRejected as bad:
                    tally.reject(bad.reason)
                    rejected.keep_bytes(bad.reason, item.offset, item.raw, bad.detail)
                    continue
                except Exception as error:
                    # Whatever a hostile entry can make fail costs that entry; a fault of ours shows as a
                    # count in the ledger and its bytes are there to try again.
                    tally.reject(RejectReason.CANNOT_BE_NORMALISED)
                    name = type(error).__name__
                    rejected.keep_bytes(RejectReason.CANNOT_BE_NORMALISED, item.offset, item.raw, name)
                    continue
                tally.taken += 1
                tally.out += 1
                _count(tally, item)
                tally.notes["without_end"] += item.without_end
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


def _count(tally: Tally, read: ReportHeader | RawEntry) -> None:
    """Note what reading replaced."""
    tally.notes["nonfinite"] += read.nonfinite
    tally.notes["duplicate_keys"] += read.duplicate_keys


def _bounded(line: bytes) -> bytes:
    if len(line) > MAX_WRITTEN_BYTES:
        raise EntryRejected(RejectReason.TOO_LARGE, f"over {MAX_WRITTEN_BYTES} bytes when normalised")
    return line


def _named_time(report: str) -> dt.datetime | None:
    try:
        return parse_report_name(f"{report}.json").start_time
    except BadReport:
        return None
