"""SanitiseReports: what must not be public goes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import luigi
from luigi.notifications import send_error_email

from ooni_pipeline.bucket.decisions import DROP, RELEASE, Case, decided, note_held, read_cases
from ooni_pipeline.bucket.forget import forget_bucket
from ooni_pipeline.bucket.keys import id_key
from ooni_pipeline.bucket.known_bridges import FACT, KnownBridges
from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.manifest import Manifest, read_proof
from ooni_pipeline.bucket.stage import Finish, process_bucket
from ooni_pipeline.errors import BucketError
from ooni_pipeline.normalise.holding import holding
from ooni_pipeline.report.work import Job, Outcome
from ooni_pipeline.sanitise import VERSION
from ooni_pipeline.sanitise.bridges import BridgeTable, load_bridge_table
from ooni_pipeline.sanitise.reports import sanitise_report
from ooni_pipeline.transfer.refuse import known_tombstones
from tasks import config
from tasks.base import BucketTask, Progress, logger, utc_now
from tasks.normalise import NormaliseReports
from tasks.targets import ManifestTarget


def sanitise_version(table: str) -> str:
    """What the manifest says of how it was made (``table``: the digest of the bridge table); another one is
    a reason to do it again."""
    return f"sanitise {VERSION}, settings {config.sanitise_settings().digest}, bridge table {table}"


def known_bridges() -> KnownBridges:
    """The memory of the bridges that buckets were sanitised with."""
    layout = config.layout()
    return KnownBridges(layout, id_key(layout.id_key()))


def usable_bridge_table(path: Path, *, accept: bool, anyway: str, dry_run: bool = False) -> BridgeTable:
    """The bridge table, when it lacks no bridge that a bucket was sanitised with, or somebody accepts that
    it does. Raises BridgeTableError, which names the command that goes on ``anyway``."""
    table, known = load_bridge_table(path), known_bridges()
    if not accept:
        known.check(table.names, path, anyway)
    elif not dry_run:
        names = len(table.names)
        logger.warning("the bridge table %s is accepted as it is: %d addresses and fingerprints", path, names)
        known.replace(table.names)
    return table


def decisions_of(cases: Mapping[str, Case]) -> dict[str, str]:
    """What persons decided on held reports, as a proof keeps it: report -> decision."""
    return {report: case.decision for report, case in cases.items() if case.decision}


def sanitise_bucket(
    layout: Layout,
    bucket_date: dt.date,
    path: Path,
    table: BridgeTable,
    cases: Mapping[str, Case],
    now: dt.datetime,
    progress: Progress,
    finish: Finish = lambda outcomes: None,
) -> Manifest:
    """The stage, with today's code and settings and the bridge ``table`` in ``path``, in the pipeline's own
    tree or in a scratch one."""
    return process_bucket(
        layout,
        Stage.SANITISED,
        Stage.NORMALISED,
        bucket_date,
        partial(
            sanitise_report,
            table=path,
            digest=table.digest,
            settings=config.sanitise_settings(),
            released=decided(cases, RELEASE),
            dropped=decided(cases, DROP),
        ),
        version=sanitise_version(table.digest),
        now=now,
        facts={FACT: str(len(table.names))},
        decisions=decisions_of(cases),
        workers=config.process_count(),
        progress=progress,
        finish=finish,
        room=config.room(),
    )


class SanitiseReports(BucketTask):
    """Normalised reports into publishable ones. No readable bridge table, no sanitised bucket; one that
    lost a bridge neither, until somebody accepts it."""

    accept_smaller_bridge_table = luigi.BoolParameter(
        significant=False, description="go on with a bridge table that lacks bridges which it once had"
    )

    def requires(self) -> luigi.Task:
        return NormaliseReports(bucket_date=self.bucket_date)

    def output(self) -> luigi.Target:
        return ManifestTarget(Stage.SANITISED, self.bucket_date)

    def work(self, progress: Progress) -> None:
        refuse_withdrawn_since(self.layout, self.bucket_date)
        path, known = config.bridge_table(), known_bridges()
        table = usable_bridge_table(
            path,
            accept=self.accept_smaller_bridge_table,
            anyway=f"luigi --module tasks.sanitise SanitiseReports --bucket-date {self.bucket_date} "
            "--accept-smaller-bridge-table",
        )
        cases, now = read_cases(self.layout, self.bucket_date), utc_now()

        def before_the_proof(outcomes: list[tuple[Job, Outcome]]) -> None:
            known.remember(table.names)
            held = {job.report for job, outcome in outcomes if outcome.counts.held}
            if new := held - cases.keys():
                alarm(self.bucket_date, len(new))
            note_held(self.layout, self.bucket_date, held, now)

        sanitise_bucket(self.layout, self.bucket_date, path, table, cases, now, progress, before_the_proof)


def refuse_withdrawn_since(layout: Layout, bucket_date: dt.date) -> None:
    """Raise BucketError where the normalised bucket holds what was withdrawn since; those reports are
    forgotten, so that the next run normalises them again, without it. A withdrawal finds what is loaded: of
    the same entry in a report that is held, or rejected, no row tells."""
    stones = known_tombstones(layout)
    if stones is None:
        return
    directory = layout.bucket(Stage.NORMALISED, bucket_date)
    normalised = read_proof(layout, Stage.NORMALISED, bucket_date)
    named = {directory / record.name: record.report for record in normalised.reports if record.name}
    again = {named[path] for path in holding(named, stones.entry)}
    if again:
        forget_bucket(layout, Stage.NORMALISED, bucket_date, again.__contains__)
        raise BucketError(
            f"bucket {bucket_date}: something in {len(again)} of its normalised reports was withdrawn since. "
            f"They are normalised again, without it: luigi --module tasks.nightly Nightly --bucket-date "
            f"{bucket_date}"
        )


def alarm(bucket_date: dt.date, reports: int) -> None:
    """Tell a person that reports wait: in the log, and by mail where luigi.cfg has [email] receiver."""
    subject = f"bucket {bucket_date}: {reports} reports are held for a person"
    command = f"python -m tasks.held list {bucket_date} {bucket_date}"
    logger.error("%s: %s", subject, command)
    try:
        send_error_email(
            subject, f"They are not published before somebody has looked at them:\n\n{command}\n"
        )
    except Exception as error:  # whatever the mail's library raises: the line in the log is there
        logger.warning("no mail of it could be sent (%s)", type(error).__name__)
