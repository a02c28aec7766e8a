"""One raw report becomes one file of normalised entries."""

from __future__ import annotations

import datetime as dt

from ooni_pipeline.errors import RejectReason
from ooni_pipeline.normalise import normalise_entry
from ooni_pipeline.normalise.duplicates import IdsAndCrc
from ooni_pipeline.normalise.source import ReportContext
from ooni_pipeline.normalise.values import textual
from ooni_pipeline.report.entry import BadEntry, BadReport, ReportHeader
from ooni_pipeline.report.json_lines import dump_entry, dumps
from ooni_pipeline.report.names import parse_report_name
from ooni_pipeline.report.reader import open_report
from ooni_pipeline.report.tally import Tally
from ooni_pipeline.report.work import Job, Outcome
from ooni_pipeline.report.writer import LinesWriter, RejectedWriter

#: Every entry repeats its header, so a long one would fill the disk. Those of probes have about 1 kB.
MAX_HEADER_BYTES = 64 * 1024


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
            for item in report:
                if isinstance(item, BadEntry):
                    tally.reject(item.reason)
                    rejected.keep(item)
                    continue
                try:
                    entry = normalise_entry(item, context)
                    line = dump_entry(entry)
                except Exception as error:
                    # Whatever a hostile entry can make fail costs that entry; a fault of ours shows as a
                    # count in the ledger and its bytes are there to try again.
                    tally.reject(RejectReason.CANNOT_BE_NORMALISED)
                    name = type(error).__name__
                    rejected.keep_bytes(RejectReason.CANNOT_BE_NORMALISED, item.offset, item.raw, name)
                    continue
                tally.taken += 1
                tally.out += 1
                tally.notes["nonfinite"] += item.nonfinite
                tally.notes["duplicate_keys"] += item.duplicate_keys
                checksum.ids += bytes.fromhex(entry["id"].replace("-", ""))
                lines.write(line)
    except BadReport as bad:
        return Outcome(Tally(), rejected=bad.reason.value, detail=bad.detail)
    if not tally.out:
        job.destination.unlink()
        return Outcome(tally)
    tally.notes = +tally.notes  # without what did not happen
    return Outcome(tally, lines.size, lines.digest, ids=bytes(checksum.ids))


def _checked_header(header: ReportHeader) -> ReportHeader:
    """The header with text for bytes. Raises BadReport BAD_HEADER when it is longer than any of a probe."""
    textual(header.value)
    if len(dumps(header.value)) > MAX_HEADER_BYTES:
        raise BadReport(RejectReason.BAD_HEADER, f"over {MAX_HEADER_BYTES} bytes as JSON")
    return header


def _named_time(report: str) -> dt.datetime | None:
    try:
        return parse_report_name(f"{report}.json").start_time
    except BadReport:
        return None
