"""One raw report becomes one file of normalised entries."""

from __future__ import annotations

import datetime as dt

from ooni_pipeline.errors import RejectReason
from ooni_pipeline.normalise import normalise_entry
from ooni_pipeline.normalise.source import ReportContext
from ooni_pipeline.report.entry import BadEntry, BadReport
from ooni_pipeline.report.json_lines import dump_entry
from ooni_pipeline.report.names import parse_report_name
from ooni_pipeline.report.reader import open_report
from ooni_pipeline.report.tally import Tally
from ooni_pipeline.report.work import Job, Outcome
from ooni_pipeline.report.writer import LinesWriter, RejectedWriter


def normalise_report(job: Job, *, key: bytes) -> Outcome:
    """Read the report, normalise every entry, keep what cannot be taken with its reason.

    ``key`` is the secret that ids are made with. A bad entry costs that entry, a bad header the report.
    """
    tally, ids = Tally(), bytearray()
    try:
        with (
            open_report(job.source) as report,
            RejectedWriter(job.rejected, job.report, job.source.name) as rejected,
            LinesWriter(job.destination) as lines,
        ):
            context = ReportContext(
                job.report,
                dt.date.fromisoformat(job.bucket_date),
                key,
                report.header,
                _named_time(job.report),
            )
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
                if item.nonfinite:
                    tally.notes["nonfinite"] += item.nonfinite
                ids += bytes.fromhex(entry["id"].replace("-", ""))
                lines.write(line)
    except BadReport as bad:
        return Outcome(Tally(), rejected=bad.reason.value, detail=bad.detail)
    if not tally.out:
        job.destination.unlink()
        return Outcome(tally)
    return Outcome(tally, lines.size, lines.digest, ids=bytes(ids))


def _named_time(report: str) -> dt.datetime | None:
    try:
        return parse_report_name(f"{report}.json").start_time
    except BadReport:
        return None
