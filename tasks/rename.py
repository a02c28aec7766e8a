"""RenameReports: stage 2, on the collector's machine, by cron at 00:30 (deploy/cron/ooni-collector)."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import luigi

from ooni_pipeline.collector.rename import Renamed, is_done, rename_reports
from ooni_pipeline.collector.renames import RENAMED, list_path, proof_path
from ooni_pipeline.errors import BucketError
from tasks import config
from tasks.base import BucketTask, Progress, logger, unquoted, utc_now


class RenamesTarget(luigi.Target):
    """The proof of RenameReports for one bucket."""

    def __init__(self, bucket_date: dt.date) -> None:
        self.bucket_date = bucket_date

    def exists(self) -> bool:
        return proof_path(config.collector_layout(), self.bucket_date).exists()


class RenameReports(BucketTask):
    """What the collector finalised until 00:30 UTC of the bucket's date gets the name and the place under
    which FetchReports finds it. It may be run before 00:30, and again: then it takes what came since."""

    #: Whether this process has just done the work: what was finalised since is for the next run.
    _worked = False

    @property
    def lock(self) -> Path:
        """One for all dates: they take from the same archive."""
        return config.collector_layout().renames / ".lock"

    def prepare(self) -> None:
        """Nothing: the lock makes its own directory, and this machine has no private tree."""

    def output(self) -> luigi.Target:
        return RenamesTarget(self.bucket_date)

    def complete(self) -> bool:
        with unquoted():
            if self._worked:  # luigi asks right afterwards, while the collector goes on
                self._worked = False
                return bool(self.output().exists())
            return is_done(config.collector_layout(), self.bucket_date, _seconds(utc_now()))

    def work(self, progress: Progress) -> None:
        now = utc_now()
        if self.bucket_date > now.date() + dt.timedelta(days=1):
            raise BucketError(f"bucket {self.bucket_date} is in the future: it is {now.date()} (UTC)")
        layout = config.collector_layout()
        done = rename_reports(layout, self.bucket_date, _seconds(now), progress)
        self._worked = True
        _tell(done, layout.errored, list_path(layout, self.bucket_date))


def _seconds(now: dt.datetime) -> float:
    return now.replace(tzinfo=dt.timezone.utc).timestamp()


def _tell(done: Renamed, errored: Path, listed: Path) -> None:
    """What the operator must hear. No file is named: what a report was called before may be anything."""
    proof = done.proof
    date = proof.bucket_date
    waiting = f"{proof.waiting} wait for a later bucket, {proof.being_written} are being written"
    logger.info("bucket %s: %d reports renamed; %s", date, done.files[RENAMED], waiting)
    aside = {kind: number for kind, number in sorted(done.files.items()) if kind != RENAMED}
    if aside:
        logger.warning(
            "bucket %s: %d reports were set aside (%s; why: %s). They lie in %s, and %s says what each was; "
            "one that is mended goes back into the archive by hand, and comes with the next bucket",
            date,
            sum(aside.values()),
            _counted(aside),
            _counted(dict(sorted(done.reasons.items()))),
            errored,
            listed,
        )
    for fault in sorted(done.unforeseen):
        logger.warning("bucket %s: a report was set aside for a fault of ours: %s", date, fault)
    if proof.other:
        logger.warning(
            "bucket %s: %d files in %s end neither with .json nor with .yaml or .yamloo, and stay there: "
            "rename them, or move them elsewhere",
            date,
            proof.other,
            config.collector_layout().archive,
        )


def _counted(numbers: dict[str, int]) -> str:
    return ", ".join(f"{number} {what}" for what, number in numbers.items())
