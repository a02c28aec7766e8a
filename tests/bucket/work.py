"""A raw bucket made by hand, and stages that do little: what the tests of process_bucket work with."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import signal

from ooni_pipeline.bucket.files import file_digest
from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.manifest import Manifest, ReportRecord
from ooni_pipeline.errors import RejectReason
from ooni_pipeline.report.tally import Tally
from ooni_pipeline.report.work import Job, Outcome
from ooni_pipeline.report.writer import LinesWriter, RejectedWriter

DATE = dt.date(2016, 8, 1)
NOW = dt.datetime(2016, 8, 1, 4)


def raw_bucket(layout: Layout, reports: dict[str, str], date: dt.date = DATE) -> Manifest:
    """Files of these names with these texts, and their proof."""
    directory = layout.bucket(Stage.RAW, date)
    directory.mkdir(parents=True, exist_ok=True)
    manifest = Manifest("raw", date, "2016-08-01T04:00:00Z")
    for name, text in reports.items():
        path = directory / name
        path.write_text(text)
        digest = file_digest(path)
        manifest.reports.append(
            ReportRecord(name.partition(".")[0], name, len(text), digest, content=digest, collector="c")
        )
    manifest.write(layout.manifest(Stage.RAW, date))
    return manifest


def upper(job: Job) -> Outcome:
    """Every line in capitals; a line ``bad`` is rejected, a report ``rubbish`` rejected as a whole, and a
    report ``killer`` kills whatever reads it."""
    lines = job.source.read_bytes().splitlines()
    if lines == [b"rubbish"]:
        return Outcome(Tally(), rejected=RejectReason.BAD_HEADER.value, detail="it says so")
    tally = Tally()
    with (
        RejectedWriter(job.rejected, job.report, job.source.name) as rejected,
        LinesWriter(job.destination) as out,
    ):
        for line in lines:
            if line == b"killer":
                os.kill(os.getpid(), signal.SIGKILL)
            if line == b"bad":
                tally.reject(RejectReason.NOT_JSON)
                rejected.keep_bytes(RejectReason.NOT_JSON, 0, line, "")
                continue
            tally.taken += 1
            tally.out += 1
            out.write(line.upper())
    if not tally.out:
        job.destination.unlink()
        return Outcome(tally)
    return Outcome(tally, out.size, out.digest)


def must_not_run(job: Job) -> Outcome:
    raise AssertionError(f"{job.report} is done already")


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
