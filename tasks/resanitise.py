"""``python -m tasks.resanitise``: what was sanitised with an older bridge table or other rules is found, and
what it matters for is done again."""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import itertools
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ooni_pipeline.bucket.forget import renew_proof
from ooni_pipeline.bucket.known_bridges import FACT
from ooni_pipeline.bucket.layout import Layout, Stage
from ooni_pipeline.bucket.lock import one_writer
from ooni_pipeline.bucket.manifest import Manifest, read_proof
from ooni_pipeline.bucket.pool import run_all
from ooni_pipeline.errors import BucketError
from ooni_pipeline.sanitise.bridges import BridgeTable
from ooni_pipeline.sanitise.newly_listed import Sanitised, names_a_bridge
from tasks import config
from tasks.base import waiting
from tasks.command import command, date, days
from tasks.forget import forget
from tasks.load import LoadMeasurements
from tasks.publish import PublishReports
from tasks.redo import redo, refresh
from tasks.refresh import RefreshViews
from tasks.sanitise import SanitiseReports, known_bridges, sanitise_version, usable_bridge_table

#: Buckets that are searched by one pool of processes, and then redone, before the next are looked at.
_AT_ONCE = 31
_TABLE = ", bridge table "


@dataclass
class Bucket:
    """A bucket that was sanitised once. ``proof`` is None where it is forgotten already; ``hits`` are the
    reports that name a bridge of today's table."""

    bucket_date: dt.date
    proof: Manifest | None
    hits: set[str] = field(default_factory=set)

    def made_by(self) -> str:
        """The rules and settings without the table."""
        return self.proof.version.rpartition(_TABLE)[0] if self.proof else ""

    def held(self) -> str:
        held = sum(1 for record in self.proof.reports if record.counts.held) if self.proof else 0
        return f"; {held} reports stay held" if held else ""


def sanitised_once(layout: Layout, bucket_date: dt.date) -> Bucket | None:
    """The bucket, when it may ever have been sanitised: there is a proof of it, or what it leaves behind when
    it was forgotten and somebody died before it was done again."""
    if layout.manifest(Stage.SANITISED, bucket_date).exists():
        return Bucket(bucket_date, read_proof(layout, Stage.SANITISED, bucket_date))
    left = (
        layout.forgotten(Stage.SANITISED, bucket_date),
        layout.bucket(Stage.PUBLISHED, bucket_date),
        layout.manifest(Stage.NORMALISED, bucket_date),
    )
    return Bucket(bucket_date, None) if any(path.exists() for path in left) else None


def search(layout: Layout, buckets: list[Bucket], path: Path, table: BridgeTable) -> None:
    """Look into the sanitised reports of buckets for every private bridge of the table."""
    jobs = [
        Sanitised(
            str(bucket.bucket_date),
            record.report,
            directory / record.name if record.name else None,
            record.digest,
        )
        for bucket in buckets
        if (directory := layout.bucket(Stage.SANITISED, bucket.bucket_date)) and bucket.proof
        for record in bucket.proof.reports
        if not record.rejected
    ]
    hits = defaultdict(set)
    work = partial(names_a_bridge, table=path, digest=table.digest)
    for job, hit in run_all(jobs, work, config.process_count()):
        if hit is not False:  # None: it kills whatever reads it
            hits[job.bucket_date].add(job.report)
    for bucket in buckets:
        bucket.hits = hits[str(bucket.bucket_date)]


class Resanitise:
    """One run of the command over some buckets, with one bridge table."""

    def __init__(self, path: Path, table: BridgeTable, *, dry_run: bool) -> None:
        self.layout = config.layout()
        self.path, self.table, self.dry_run = path, table, dry_run
        self.version = sanitise_version(table.digest)
        self.rules = self.version.rpartition(_TABLE)[0]
        self.failed = self.to_do = False
        self.done: set[dt.date] = set()

    def look_at(self, buckets: list[Bucket]) -> None:
        """Search what has to be searched, say what there is to do, and do it."""
        same_rules = [bucket for bucket in buckets if bucket.made_by() == self.rules]
        older = [bucket for bucket in same_rules if bucket.proof and bucket.proof.version != self.version]
        search(self.layout, older, self.path, self.table)
        dates = [bucket.bucket_date for bucket in buckets]
        self.done = {*PublishReports.bulk_complete(dates)} & {*LoadMeasurements.bulk_complete(dates)}
        for bucket in buckets:
            try:
                self.bring_up_to_date(bucket, searched=bucket in older)
            except BucketError as error:
                print(f"error: {bucket.bucket_date}: {error}", file=sys.stderr)
                self.failed = True

    def bring_up_to_date(self, bucket: Bucket, *, searched: bool) -> None:
        day, proof = bucket.bucket_date, bucket.proof
        if proof is None:
            self.say(day, "is not sanitised now: done", to_do=True)
        elif bucket.made_by() != self.rules:
            self.say(
                day,
                f"{bucket.made_by() or 'unknown rules'} then, {self.rules} now: done again as a whole",
                to_do=True,
            )
            if not self.dry_run:
                forget(Stage.SANITISED, day, None)
        elif not searched:
            self.say(day, f"sanitised with this table{bucket.held()}")
        elif bucket.hits:
            self.say(
                day,
                f"{len(proof.reports)} reports searched, {len(bucket.hits)} name a bridge of today's table "
                f"(or are not what was proven): done again{bucket.held()}",
                to_do=True,
            )
            if not self.dry_run:
                forget(Stage.SANITISED, day, bucket.hits.__contains__, searched=proof, version=self.version)
        else:
            self.say(
                day,
                f"{len(proof.reports)} reports searched, none names a bridge of today's table{bucket.held()}",
            )
            if not self.dry_run:
                self.renew(day, proof)
        if day not in self.done and not self.dry_run and not redo(day):
            self.failed = True

    def say(self, day: dt.date, what: str, *, to_do: bool = False) -> None:
        if to_do:
            self.to_do = True
            self.done.discard(day)
        print(f"{day}  {what}", flush=True)

    def renew(self, day: dt.date, proof: Manifest) -> None:
        """What was searched with this table is as good as made with it."""
        known_bridges().remember(self.table.names)
        waits = waiting(f"resanitise of bucket {day}")
        with contextlib.ExitStack() as locks:
            for task in (SanitiseReports, PublishReports, LoadMeasurements):  # in this order, as forget does
                locks.enter_context(one_writer(task(bucket_date=day).lock, waits))
            renew_proof(self.layout, proof, self.version, {FACT: str(len(self.table.names))})


def batches(buckets: Iterator[Bucket]) -> Iterator[list[Bucket]]:
    while batch := list(itertools.islice(buckets, _AT_ONCE)):
        yield batch


@command
def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tasks.resanitise",
        description="Search what is published for bridges that the bridge table did not know then, and do "
        "again, at once, the reports that name one: on the mirror, in the rows and in the views. A bucket "
        "that was sanitised by other rules or settings is done again as a whole. Exits with 1 where "
        "something failed; with --dry-run where there is something to do.",
        epilog="Examples: python -m tasks.resanitise 2016-08-01 2016-08-07; "
        "python -m tasks.resanitise --dry-run 2012-12-05 2016-08-07",
    )
    parser.add_argument("first", type=date, help="first bucket_date")
    parser.add_argument("last", type=date, help="last bucket_date")
    parser.add_argument(
        "--dry-run", action="store_true", help="search, say what there is to do, change nothing"
    )
    parser.add_argument(
        "--accept-smaller-bridge-table",
        action="store_true",
        help="go on with a bridge table that lacks bridges which it once had",
    )
    arguments = parser.parse_args()
    wanted = list(days(parser, arguments.first, arguments.last))
    path = config.bridge_table()
    table = usable_bridge_table(
        path,
        accept=arguments.accept_smaller_bridge_table,
        anyway=f"python -m tasks.resanitise {arguments.first} {arguments.last} --accept-smaller-bridge-table",
        dry_run=arguments.dry_run,
    )
    run = Resanitise(path, table, dry_run=arguments.dry_run)
    found = (bucket for day in wanted if (bucket := sanitised_once(run.layout, day)))
    done: list[dt.date] = []
    for batch in batches(found):
        run.look_at(batch)
        done += [bucket.bucket_date for bucket in batch]
    if arguments.dry_run:
        return 1 if run.to_do else 0
    shown = set(RefreshViews.bulk_complete(done))
    loaded = LoadMeasurements.bulk_complete(done)
    refreshed = refresh([day for day in loaded if day not in shown])
    print(f"{len(done)} buckets looked at")
    return 1 if run.failed or not refreshed else 0


if __name__ == "__main__":
    sys.exit(main())
